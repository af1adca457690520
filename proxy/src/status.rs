//! The one place where errors become the protocol's result codes: one exhaustive match an error type, no wildcard.
//!
//! The message is the error's own text. Source of the codes: facts/grpc.md §1.1 and its `=> G:` lines.

use std::fmt::Display;

use grpc::v2;
use grpc::v2::Code;
use types::broker::{
    KeyError, LeaseError, LookupError, PopError, PullError, RecallError, SendError, TransactionError, Unavailable,
};

use crate::messaging;
use crate::validate::Invalid;

/// An error with its result code.
pub trait HasCode: Display {
    /// The code that the client sees.
    fn code(&self) -> Code;
}

/// A request that ends with a status and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal(pub(crate) v2::Status);

impl<E: HasCode> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(of(error.code(), error.to_string()))
    }
}

/// A status.
pub(crate) fn of(code: Code, message: impl Into<String>) -> v2::Status {
    v2::Status { code: code.into(), message: message.into() }
}

/// The status of success.
pub(crate) fn ok() -> v2::Status {
    of(Code::Ok, "OK")
}

/// The status of several entries together: theirs if they agree. Clients act on it alone.
pub(crate) fn overall<'a>(mut entries: impl Iterator<Item = &'a v2::Status>) -> v2::Status {
    let Some(first) = entries.next() else {
        return of(Code::InternalServerError, "there is no result");
    };
    if entries.all(|entry| entry.code == first.code) {
        first.clone()
    } else {
        of(Code::MultipleResults, "the entries have different results")
    }
}

impl HasCode for Unavailable {
    fn code(&self) -> Code {
        match self {
            Self::Busy { .. } => Code::TooManyRequests,
            Self::DiskFull { .. }
            | Self::StoreFailed { .. }
            | Self::Stopping
            | Self::Slave
            | Self::Fenced
            | Self::Remote { .. }
            | Self::OwnerAway { .. } => Code::InternalServerError,
            Self::TooFewInSync { .. } => Code::HaNotAvailable,
            Self::NotServed { .. } => Code::NotImplemented,
            Self::TimedOut { .. } => Code::ProxyTimeout,
        }
    }
}

impl HasCode for LookupError {
    fn code(&self) -> Code {
        match self {
            Self::TopicNotFound { .. } => Code::TopicNotFound,
            Self::GroupNotFound { .. } => Code::ConsumerGroupNotFound,
            Self::QueueNotFound { .. } => Code::BadRequest,
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }
}

impl HasCode for SendError {
    fn code(&self) -> Code {
        match self {
            Self::TopicNotFound { .. } => Code::TopicNotFound,
            Self::NotWritable { .. } => Code::Forbidden,
            Self::QueueNotFound { .. } => Code::BadRequest,
            Self::BodyTooLarge { .. } => Code::MessageBodyTooLarge,
            Self::PropertiesTooLarge { .. } => Code::MessagePropertiesTooLarge,
            Self::DelayTooLong { .. } => Code::IllegalDeliveryTime,
            Self::Unsupported { .. } => Code::NotImplemented,
            Self::Key(key) => key.code(),
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }
}

impl HasCode for KeyError {
    fn code(&self) -> Code {
        match self {
            Self::Taken { .. } => Code::PreconditionFailed,
            Self::TooMany { .. } => Code::TooManyRequests,
            Self::TooLong { .. } => Code::BadRequest,
        }
    }
}

impl HasCode for messaging::send::Error {
    fn code(&self) -> Code {
        match self {
            Self::Lookup(lookup) => lookup.code(),
            Self::NotWritable { .. } => Code::Forbidden,
            Self::TypeMismatch { .. } => Code::MessagePropertyConflictWithType,
        }
    }
}

impl HasCode for messaging::recall::Error {
    fn code(&self) -> Code {
        match self {
            Self::Lookup(lookup) => lookup.code(),
            Self::TypeMismatch { .. } => Code::MessagePropertyConflictWithType,
            Self::Recall(recall) => recall.code(),
        }
    }
}

impl HasCode for PopError {
    fn code(&self) -> Code {
        match self {
            Self::Lookup(lookup) => lookup.code(),
            Self::NotReadable { .. } | Self::GroupDisabled { .. } | Self::QueuesLocked { .. } => Code::Forbidden,
            Self::TooManyWaiting { .. } => Code::TooManyRequests,
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }
}

impl HasCode for PullError {
    fn code(&self) -> Code {
        match self {
            Self::OffsetOutOfRange { .. } => Code::IllegalOffset,
            Self::Pop(pop) => pop.code(),
        }
    }
}

impl HasCode for LeaseError {
    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } => Code::InvalidReceiptHandle,
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }
}

impl HasCode for types::receipt_handle::Error {
    fn code(&self) -> Code {
        match self {
            // Anything but this code makes clients repeat their acknowledgement for ever.
            Self::FieldCount { .. } | Self::Field { .. } => Code::InvalidReceiptHandle,
        }
    }
}

impl HasCode for TransactionError {
    fn code(&self) -> Code {
        match self {
            // What Apache's proxy says of a transaction it does not know.
            Self::NotFound { .. } => Code::InternalServerError,
            Self::OtherBroker { .. } => Code::InvalidTransactionId,
            Self::AlreadyEnded { .. } | Self::TooLate => Code::PreconditionFailed,
            Self::Send(send) => send.code(),
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }
}

impl HasCode for messaging::transaction::IdError {
    fn code(&self) -> Code {
        Code::InvalidTransactionId
    }
}

impl HasCode for RecallError {
    fn code(&self) -> Code {
        match self {
            Self::InvalidHandle { .. } => Code::BadRequest,
            Self::NotFound => Code::MessageNotFound,
            Self::Unavailable(unavailable) => unavailable.code(),
        }
    }
}

impl HasCode for Invalid {
    fn code(&self) -> Code {
        match self {
            Self::ClientIdMissing => Code::ClientIdRequired,
            Self::ClientIdTooLong { .. }
            | Self::QueueId { .. }
            | Self::FieldTooLong { .. }
            | Self::MissingField { .. }
            | Self::TooManyMessages { .. }
            | Self::TooManyEntries { .. }
            | Self::RecoveryTime { .. }
            | Self::Priority { .. } => Code::BadRequest,
            Self::AccessPoint { .. } => Code::IllegalAccessPoint,
            Self::Topic(_) => Code::IllegalTopic,
            Self::Group(_) => Code::IllegalConsumerGroup,
            Self::NoMessages | Self::MixedTopics { .. } => Code::MessageCorrupted,
            Self::BodyEmpty => Code::MessageBodyEmpty,
            Self::BodyTooLarge { .. } => Code::MessageBodyTooLarge,
            Self::MessageIdBlank => Code::IllegalMessageId,
            Self::PropertyCount { .. } | Self::PropertiesTooLarge { .. } => Code::MessagePropertiesTooLarge,
            Self::PropertyReserved { .. } | Self::PropertyControl { .. } | Self::PropertyNameEmpty => {
                Code::IllegalMessagePropertyKey
            }
            Self::Tag { .. } => Code::IllegalMessageTag,
            Self::Key { .. } => Code::IllegalMessageKey,
            Self::MessageGroup { .. } | Self::MessageGroupTooLong { .. } => Code::IllegalMessageGroup,
            Self::DeliveryTime { .. } => Code::IllegalDeliveryTime,
            Self::InvisibleTooShort { .. } | Self::InvisibleTooLong { .. } => Code::IllegalInvisibleTime,
            Self::Filter(_) => Code::IllegalFilterExpression,
            Self::Offset { .. } => Code::IllegalOffset,
            Self::ClientType { .. } => Code::UnrecognizedClientType,
            Self::ClientProperties { .. } => Code::InvalidClientProperties,
            Self::TransactionIdBlank => Code::InvalidTransactionId,
            Self::LiteNotBuilt => Code::NotImplemented,
        }
    }
}

impl HasCode for crate::sessions::Full {
    fn code(&self) -> Code {
        Code::TooManyRequests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_agree_give_their_own_code() {
        let invalid = of(Code::InvalidReceiptHandle, "gone");
        let both = [ok(), invalid.clone()];
        assert_eq!(overall(both[1..].iter()), invalid, "one entry never gives MULTIPLE_RESULTS");
        assert_eq!(overall([ok(), ok()].iter()), ok());
        assert_eq!(overall(both.iter()).code(), Code::MultipleResults);
        assert_eq!(overall([].iter()).code(), Code::InternalServerError);
    }

    #[test]
    fn a_refusal_carries_the_errors_own_text() {
        let Refusal(status) = SendError::BodyTooLarge { bytes: 5, bytes_max: 4 }.into();
        assert_eq!(status.code(), Code::MessageBodyTooLarge);
        assert_eq!(status.message, "body is 5 bytes, limit is 4");
        let busy = PopError::Unavailable(Unavailable::Busy { waiting_max: 7 });
        assert_eq!(Refusal::from(busy).0.code(), Code::TooManyRequests);
    }
}
