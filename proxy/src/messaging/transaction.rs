//! Transactions: their ids, and ending them.

use std::fmt;
use std::str::FromStr;

use types::broker::{EndTransaction, Resolution, TransactionError, TransactionPlace, TransactionPosition};
use types::{PhysicalOffset, QueueOffset, TopicName};

use super::Messaging;

/// What a producer presents to end a transaction: opaque to it, and all that any proxy needs to know, at any time.
///
/// Four or more fields separated by one blank; the message id is the rest, so it may hold anything:
/// `broker-a 12 8589934592 01AABBCCDDEEFF04D205C5D0A500000007`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionId {
    /// Where the half message is.
    pub place: TransactionPlace,
    /// The half message's id.
    pub message_id: String,
}

/// Why a transaction id means nothing here: it is not one of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction id {shown:?} is not one that this server gave out")]
pub struct IdError {
    /// The id, cut.
    shown: String,
}

impl IdError {
    /// Of this id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self { shown: crate::validate::cut(id) }
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransactionPlace { broker, position: TransactionPosition { queue_offset, physical_offset } } = &self.place;
        write!(f, "{broker} {queue_offset} {physical_offset} {}", self.message_id)
    }
}

impl FromStr for TransactionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut fields = text.splitn(4, ' ');
        let mut next = || fields.next().filter(|field| !field.is_empty());
        let mut parse = || {
            let broker = next()?.into();
            let queue_offset = QueueOffset(next()?.parse().ok()?);
            let physical_offset = PhysicalOffset(next()?.parse().ok()?);
            let position = TransactionPosition { queue_offset, physical_offset };
            Some(Self { place: TransactionPlace { broker, position }, message_id: next()?.to_owned() })
        };
        parse().ok_or_else(|| IdError::new(text))
    }
}

impl Messaging {
    /// Ends a transaction and says what became of it: unlike Apache's, this call is not one-way. `is_asked` says whether the
    /// producer answers a check.
    ///
    /// # Errors
    /// [`TransactionError`].
    pub async fn end_transaction(
        &self,
        topic: TopicName,
        id: TransactionId,
        resolution: Resolution,
        is_asked: bool,
    ) -> Result<(), TransactionError> {
        let TransactionId { place, message_id } = id;
        let request = EndTransaction { topic, place, message_id, resolution, is_asked };
        self.shared.broker.end_transaction(request).await
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
            let id = TransactionId { place: TransactionPlace { broker: broker.into(), position }, message_id };
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
            assert!(text.parse::<TransactionId>().is_err(), "{text:?}");
        }
    }
}
