//! Transactions: their ids, and ending them.

use std::fmt;
use std::str::FromStr;

use types::broker::{EndTransaction, Resolution, TransactionError, TransactionPosition};
use types::{PhysicalOffset, QueueOffset, TopicName};

use super::Messaging;

/// What a producer presents to end a transaction: opaque to it, and all that any proxy needs to know, at any time.
///
/// Four or more fields separated by one blank; the message id is the rest, so it may hold anything:
/// `broker-a 12 8589934592 01AABBCCDDEEFF04D205C5D0A500000007`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionId {
    /// The broker that keeps the half message.
    pub broker: String,
    /// Where it keeps it.
    pub position: TransactionPosition,
    /// The half message's id.
    pub message_id: String,
}

/// Why a transaction id means nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not one of ours.
    #[error("transaction id {shown:?} is not one that this server gave out")]
    Malformed {
        /// The id, cut.
        shown: String,
    },
    /// Of a broker that is not behind this proxy.
    #[error("transaction id is of broker {broker:?}, which is not behind this proxy")]
    OtherBroker {
        /// Its name.
        broker: String,
    },
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransactionPosition { queue_offset, physical_offset } = self.position;
        write!(f, "{} {queue_offset} {physical_offset} {}", self.broker, self.message_id)
    }
}

impl FromStr for TransactionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut fields = text.splitn(4, ' ');
        let mut next = || fields.next().filter(|field| !field.is_empty());
        let mut parse = || {
            let broker = next()?.to_owned();
            let queue_offset = QueueOffset(next()?.parse().ok()?);
            let physical_offset = PhysicalOffset(next()?.parse().ok()?);
            let message_id = next()?.to_owned();
            Some(Self { broker, position: TransactionPosition { queue_offset, physical_offset }, message_id })
        };
        parse().ok_or_else(|| IdError::Malformed { shown: crate::validate::cut(text) })
    }
}

impl Messaging {
    /// The id of a half message that this service's broker keeps.
    #[must_use]
    pub fn transaction_id(&self, position: TransactionPosition, message_id: &str) -> TransactionId {
        let broker = self.shared.broker.name().to_owned();
        TransactionId { broker, position, message_id: message_id.to_owned() }
    }

    /// Whether this service's broker keeps the half message.
    ///
    /// # Errors
    /// [`IdError::OtherBroker`].
    pub fn check_transaction(&self, id: &TransactionId) -> Result<(), IdError> {
        if id.broker == self.shared.broker.name() {
            Ok(())
        } else {
            Err(IdError::OtherBroker { broker: id.broker.clone() })
        }
    }

    /// Ends a transaction and says what became of it: unlike Apache's, this call is not one-way.
    ///
    /// # Errors
    /// [`TransactionError`].
    pub async fn end_transaction(
        &self,
        topic: TopicName,
        id: &TransactionId,
        resolution: Resolution,
    ) -> Result<(), TransactionError> {
        self.shared.broker.end_transaction(EndTransaction { topic, position: id.position, resolution }).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_survive_the_client(
            broker in "[^ ]{1,20}", queue_offset: u64, physical_offset: u64, message_id in ".{1,40}"
        ) {
            let position = TransactionPosition {
                queue_offset: QueueOffset(queue_offset),
                physical_offset: PhysicalOffset(physical_offset),
            };
            let id = TransactionId { broker, position, message_id };
            prop_assert_eq!(id.to_string().parse::<TransactionId>(), Ok(id));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<TransactionId>();
        }
    }

    #[test]
    fn ids_of_others_are_refused() {
        for text in ["", "01AABBCCDDEEFF04D205C5D0A500000007", "a b c d", "a 1 2", "a 1 2 ", " 1 2 d"] {
            assert!(matches!(text.parse::<TransactionId>(), Err(IdError::Malformed { .. })), "{text:?}");
        }
    }
}
