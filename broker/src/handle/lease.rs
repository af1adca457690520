//! Ending and changing leases.

use tokio::sync::oneshot;
use types::broker::{ChangeInvisible, LeaseError, LeaseOwner, Unavailable};
use types::{QueueId, QueueOffset, ReceiptHandle};

use super::LocalBroker;
use crate::command::{ChangeCommand, Command, GiveUpCommand};

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

    /// Moves a message to its group's dead-letter topic that is named by its place in its queue. `false` when the group's pops say nothing
    /// of it, so that nothing was done; one that they have finished with is fine.
    pub(crate) async fn give_up(
        &self,
        owner: LeaseOwner,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<bool, LeaseError> {
        let (moved, answer) = oneshot::channel();
        let command = |is_popped| Command::GiveUp(GiveUpCommand { owner, queue, offset, is_popped, moved });
        if !self.ask(command).await? {
            return Ok(false);
        }
        answer.await.map_err(|_| Unavailable::Stopping)??;
        Ok(true)
    }

    fn check_handle(&self, handle: &ReceiptHandle) -> Result<(), LeaseError> {
        if handle.broker == self.inner.shared.name {
            return Ok(());
        }
        Err(LeaseError::Invalid { reason: "it is of another broker" })
    }
}
