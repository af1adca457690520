//! Taking back a delayed message.

use types::broker::{LookupError, RecallError};
use types::{MessageType, TopicName, TopicType};

use super::Messaging;

/// Why a message was not taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The topic cannot be looked up.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The topic takes no delayed messages, so there is none to take back.
    #[error("topic {topic} takes {topic_type} messages, only DELAY messages can be recalled")]
    TypeMismatch {
        /// Its name.
        topic: TopicName,
        /// What it takes.
        topic_type: TopicType,
    },
    /// The broker did not.
    #[error(transparent)]
    Recall(#[from] RecallError),
}

impl Messaging {
    /// Takes back the delayed message that `handle` names and returns its message id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn recall(&self, topic: TopicName, handle: String) -> Result<String, Error> {
        let config = self.shared.broker.topic(&topic).await?;
        if !config.topic_type.accepts(MessageType::Delay) {
            return Err(Error::TypeMismatch { topic, topic_type: config.topic_type });
        }
        Ok(self.shared.broker.recall(topic, handle).await?)
    }
}
