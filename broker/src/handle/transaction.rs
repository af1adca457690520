//! Ending transactions and taking back delayed messages.

use bytes::Bytes;
use types::admin::AdminError;
use types::broker::{EndTransaction, LookupError, RecallError, TransactionError, TransactionPlace};
use types::{PhysicalOffset, TopicName};

use super::LocalBroker;
use crate::command::{Command, EndCommand};
use crate::timer::recall::{Handle, identity};

impl LocalBroker {
    /// The record of the half message that was first stored at a position, wherever retention has put it since. What waits no longer is
    /// looked for where it was; `None` when no record is there.
    ///
    /// # Errors
    /// [`AdminError::Lookup`].
    pub async fn half_record(&self, first: PhysicalOffset) -> Result<Option<Bytes>, AdminError> {
        let place = self.ask(|reply| Command::HalfPlace { first, reply }).await.map_err(LookupError::from)?;
        self.record_at(place.unwrap_or(first)).await
    }

    pub(super) async fn end(&self, request: EndTransaction) -> Result<(), TransactionError> {
        let EndTransaction { topic, place: TransactionPlace { broker, position }, resolution, .. } = request;
        if broker != self.inner.shared.name {
            return Err(TransactionError::OtherBroker { broker });
        }
        self.ask(|reply| Command::EndTransaction(EndCommand { topic, position, resolution, reply })).await?
    }

    pub(super) async fn recall_message(&self, topic: &TopicName, handle: &str) -> Result<String, RecallError> {
        let Handle { topic: named, broker, due, unique_key } = Handle::decode(handle)?;
        if named != topic.as_str() {
            return Err(RecallError::InvalidHandle { reason: "it is of another topic" });
        }
        if *broker != *self.inner.shared.name {
            return Err(RecallError::InvalidHandle { reason: "it is of another broker" });
        }
        let identity = identity(&named, &unique_key);
        self.ask(|reply| Command::Recall { due, identity, reply }).await??;
        Ok(unique_key)
    }
}
