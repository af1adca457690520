//! Ending transactions and taking back delayed messages.

use types::TopicName;
use types::broker::{EndTransaction, RecallError, TransactionError, TransactionPlace};

use super::LocalBroker;
use crate::command::{Command, EndCommand};
use crate::timer::recall::{Handle, identity};

impl LocalBroker {
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
