//! Ending and changing leases.

use types::ReceiptHandle;
use types::broker::{ChangeInvisible, LeaseError, LeaseOwner};

use super::LocalBroker;
use crate::command::{ChangeCommand, Command};

impl LocalBroker {
    pub(super) async fn ack_messages(
        &self,
        lease: LeaseOwner,
        mut handles: Vec<ReceiptHandle>,
    ) -> Vec<Result<(), LeaseError>> {
        let checked: Vec<_> = handles.iter().map(|handle| self.check_handle(handle)).collect();
        let mut is_ours = checked.iter().map(Result::is_ok);
        handles.retain(|_| is_ours.next().unwrap_or_default());
        let acked = if handles.is_empty() {
            Ok(Vec::new())
        } else {
            self.ask(|reply| Command::Ack { lease, handles, reply }).await
        };
        match acked {
            Ok(results) => {
                let mut results = results.into_iter();
                let gone = || LeaseError::Invalid { reason: "the broker did not say what became of it" };
                checked.into_iter().map(|ours| ours.and_then(|()| results.next().unwrap_or(Err(gone())))).collect()
            }
            Err(why) => checked.into_iter().map(|ours| ours.and(Err(why.clone().into()))).collect(),
        }
    }

    pub(super) async fn change_lease(
        &self,
        lease: LeaseOwner,
        handle: ReceiptHandle,
        change: ChangeInvisible,
    ) -> Result<ReceiptHandle, LeaseError> {
        self.check_handle(&handle)?;
        self.ask(|reply| Command::Change(Box::new(ChangeCommand { lease, handle, change, reply }))).await?
    }

    pub(super) async fn forward(&self, lease: LeaseOwner, handle: ReceiptHandle) -> Result<(), LeaseError> {
        self.check_handle(&handle)?;
        self.ask(|reply| Command::DeadLetter { lease, handle, reply }).await?
    }

    fn check_handle(&self, handle: &ReceiptHandle) -> Result<(), LeaseError> {
        if handle.broker == self.inner.shared.name {
            return Ok(());
        }
        Err(LeaseError::Invalid { reason: "it is of another broker" })
    }
}
