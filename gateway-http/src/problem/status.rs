//! The one table from an error to an HTTP status: one exhaustive match an error type, no wildcard. `docs/http.md` shows it.
//!
//! The code beside it is the one that gRPC clients are told (`proxy::status`).

use http::StatusCode as S;
use proxy::messaging;
use proxy::status::HasCode;
use proxy::validate::Invalid;
use types::admin::{AdminError, ResetError, StoreAgainError};
use types::broker::{
    KeyError, LeaseError, LookupError, PopError, RecallError, SendError, TransactionError, Unavailable,
};
use types::topic::NameError;

use super::Problem;

/// A status and a kind.
type Kind = (S, &'static str);

/// An error that gRPC knows too.
trait HasStatus: HasCode {
    fn status(&self) -> Kind;
}

macro_rules! problems {
    ($($error:ty)*) => {
        $(impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                let (status, kind) = error.status();
                Self { code: Some(error.code()), ..Self::new(status, kind, error.to_string()) }
            }
        })*
    };
}

problems! {
    SendError PopError LeaseError RecallError TransactionError Invalid messaging::send::Error
    messaging::recall::Error messaging::transaction::IdError types::receipt_handle::Error
}

impl HasStatus for Unavailable {
    fn status(&self) -> Kind {
        match self {
            Self::Busy { .. } => (S::TOO_MANY_REQUESTS, "busy"),
            Self::DiskFull { .. } => (S::INSUFFICIENT_STORAGE, "disk-full"),
            Self::StoreFailed { .. } => (S::SERVICE_UNAVAILABLE, "store-failed"),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping"),
            Self::NotServed { .. } => (S::NOT_IMPLEMENTED, "not-served"),
            Self::OwnerAway { .. } | Self::Slave | Self::Fenced | Self::TooFewInSync { .. } => {
                (S::SERVICE_UNAVAILABLE, "broker-away")
            }
            Self::Remote { .. } => (S::BAD_GATEWAY, "broker-failed"),
            Self::TimedOut { .. } => (S::GATEWAY_TIMEOUT, "timed-out"),
        }
    }
}

impl HasStatus for LookupError {
    fn status(&self) -> Kind {
        match self {
            Self::TopicNotFound { .. } => (S::NOT_FOUND, "topic-not-found"),
            Self::GroupNotFound { .. } => (S::NOT_FOUND, "group-not-found"),
            Self::QueueNotFound { .. } => (S::NOT_FOUND, "queue-not-found"),
            Self::Unavailable(unavailable) => unavailable.status(),
        }
    }
}

impl HasStatus for SendError {
    fn status(&self) -> Kind {
        match self {
            Self::TopicNotFound { .. } => (S::NOT_FOUND, "topic-not-found"),
            Self::NotWritable { .. } => (S::FORBIDDEN, "not-writable"),
            Self::QueueNotFound { .. } => (S::NOT_FOUND, "queue-not-found"),
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body-too-large"),
            Self::PropertiesTooLarge { .. } => (S::BAD_REQUEST, "properties-too-large"),
            Self::DelayTooLong { .. } => (S::BAD_REQUEST, "delay-too-long"),
            Self::Unsupported { .. } => (S::NOT_IMPLEMENTED, "unsupported"),
            Self::Key(key) => key.status(),
            Self::Unavailable(unavailable) => unavailable.status(),
        }
    }
}

impl HasStatus for KeyError {
    fn status(&self) -> Kind {
        match self {
            Self::Taken { .. } => (S::UNPROCESSABLE_ENTITY, "idempotency-key-taken"),
            Self::TooMany { .. } => (S::TOO_MANY_REQUESTS, "too-many-idempotency-keys"),
            Self::TooLong { .. } => (S::BAD_REQUEST, "idempotency-key-too-long"),
        }
    }
}

impl HasStatus for messaging::send::Error {
    fn status(&self) -> Kind {
        match self {
            Self::Lookup(lookup) => lookup.status(),
            Self::NotWritable { .. } => (S::FORBIDDEN, "not-writable"),
            Self::TypeMismatch { .. } => (S::CONFLICT, "message-type"),
        }
    }
}

impl HasStatus for messaging::recall::Error {
    fn status(&self) -> Kind {
        match self {
            Self::Lookup(lookup) => lookup.status(),
            Self::TypeMismatch { .. } => (S::CONFLICT, "message-type"),
            Self::Recall(recall) => recall.status(),
        }
    }
}

impl HasStatus for RecallError {
    fn status(&self) -> Kind {
        match self {
            Self::InvalidHandle { .. } => (S::BAD_REQUEST, "invalid-handle"),
            Self::NotFound => (S::NOT_FOUND, "message-not-found"),
            Self::Unavailable(unavailable) => unavailable.status(),
        }
    }
}

impl HasStatus for PopError {
    fn status(&self) -> Kind {
        match self {
            Self::Lookup(lookup) => lookup.status(),
            Self::NotReadable { .. } => (S::FORBIDDEN, "not-readable"),
            Self::GroupDisabled { .. } => (S::FORBIDDEN, "group-disabled"),
            Self::QueuesLocked { .. } => (S::FORBIDDEN, "queues-locked"),
            Self::TooManyWaiting { .. } => (S::TOO_MANY_REQUESTS, "too-many-waiting"),
            Self::Unavailable(unavailable) => unavailable.status(),
        }
    }
}

impl HasStatus for LeaseError {
    fn status(&self) -> Kind {
        match self {
            Self::Invalid { .. } => (S::GONE, "lease-ended"),
            Self::Unavailable(unavailable) => unavailable.status(),
        }
    }
}

impl HasStatus for types::receipt_handle::Error {
    fn status(&self) -> Kind {
        match self {
            Self::FieldCount { .. } | Self::Field { .. } => (S::BAD_REQUEST, "invalid-handle"),
        }
    }
}

impl HasStatus for TransactionError {
    fn status(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::OtherBroker { .. } => (S::NOT_FOUND, "transaction-not-found"),
            Self::TooLate => (S::CONFLICT, "transaction-too-late"),
            Self::AlreadyEnded { .. } => (S::CONFLICT, "transaction-ended"),
            Self::Send(send) => send.status(),
            Self::Unavailable(unavailable) => unavailable.status(),
        }
    }
}

impl HasStatus for messaging::transaction::IdError {
    fn status(&self) -> Kind {
        (S::BAD_REQUEST, "invalid-transaction-id")
    }
}

impl HasStatus for Invalid {
    fn status(&self) -> Kind {
        match self {
            Self::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body-too-large"),
            Self::Topic(error) | Self::Group(error) => name_status(error),
            Self::LiteNotBuilt => (S::NOT_IMPLEMENTED, "unsupported"),
            Self::ClientIdMissing
            | Self::ClientIdTooLong { .. }
            | Self::FieldTooLong { .. }
            | Self::MissingField { .. }
            | Self::AccessPoint { .. }
            | Self::NoMessages
            | Self::TooManyMessages { .. }
            | Self::TooManyEntries { .. }
            | Self::MixedTopics { .. }
            | Self::BodyEmpty
            | Self::MessageIdBlank
            | Self::PropertyCount { .. }
            | Self::PropertyReserved { .. }
            | Self::PropertyControl { .. }
            | Self::PropertyNameEmpty
            | Self::PropertiesTooLarge { .. }
            | Self::Tag { .. }
            | Self::Key { .. }
            | Self::MessageGroup { .. }
            | Self::MessageGroupTooLong { .. }
            | Self::Priority { .. }
            | Self::DeliveryTime { .. }
            | Self::RecoveryTime { .. }
            | Self::InvisibleTooShort { .. }
            | Self::InvisibleTooLong { .. }
            | Self::Filter(_)
            | Self::QueueId { .. }
            | Self::Offset { .. }
            | Self::ClientType { .. }
            | Self::ClientProperties { .. }
            | Self::TransactionIdBlank => (S::BAD_REQUEST, "invalid-request"),
        }
    }
}

fn name_status(error: &NameError) -> Kind {
    match error {
        NameError::System { .. } => (S::FORBIDDEN, "invalid-name"),
        NameError::Blank { .. } | NameError::TooLong { .. } | NameError::Character { .. } => {
            (S::BAD_REQUEST, "invalid-name")
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let (status, kind) = match &error {
            AdminError::Exists { .. } => (S::CONFLICT, "exists"),
            AdminError::Lookup(lookup) => lookup.status(),
            AdminError::QueueCount { .. } => (S::BAD_REQUEST, "queue-count"),
            AdminError::QueuesShrink { .. } => (S::CONFLICT, "queues-shrink"),
            AdminError::System { .. } => (S::FORBIDDEN, "system-name"),
            AdminError::Uneven { .. } => (S::BAD_REQUEST, "queue-count"),
            AdminError::Unsupported { .. } => (S::NOT_IMPLEMENTED, "unsupported"),
            AdminError::Unavailable(unavailable) => unavailable.status(),
        };
        Self::new(status, kind, error.to_string())
    }
}

impl From<ResetError> for Problem {
    fn from(error: ResetError) -> Self {
        match error {
            ResetError::Outside { .. } => Self::new(S::BAD_REQUEST, "offset-outside", error.to_string()),
            ResetError::Admin(error) => error.into(),
        }
    }
}

impl From<StoreAgainError> for Problem {
    fn from(error: StoreAgainError) -> Self {
        match error {
            StoreAgainError::NotFound { .. } => Self::new(S::NOT_FOUND, "message-not-found", error.to_string()),
            StoreAgainError::NoOrigin { .. } => Self::new(S::UNPROCESSABLE_ENTITY, "no-origin", error.to_string()),
            StoreAgainError::Admin(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_names_every_kind_with_its_status() {
        let page = include_str!("../../../docs/http.md");
        let source = include_str!("status.rs").split("#[cfg(test)]").next().expect("a first part");
        let admin_only = ["exists", "queue-count", "queues-shrink", "system-name"];
        let mut kinds = 0;
        for line in source.lines() {
            let Some((status, kind)) = line.split_once("(S::").and_then(|(_, pair)| pair.split_once(", \"")) else {
                continue;
            };
            let kind = kind.split('"').next().expect("a first part");
            if admin_only.contains(&kind) {
                continue;
            }
            let number = http::StatusCode::from_bytes(number_of(status).as_bytes()).expect("a status");
            let row = page.lines().find(|row| row.starts_with("| ") && row.contains(&format!("`{kind}`")));
            let row = row.unwrap_or_else(|| panic!("docs/http.md lacks {kind}"));
            assert!(
                row.split('|').nth(1).is_some_and(|cell| cell.contains(number.as_str())),
                "{kind} is {number}: {row}"
            );
            kinds += 1;
        }
        assert!(kinds > 30, "{kinds} found");
    }

    /// The digits of a status that the source names.
    fn number_of(name: &str) -> String {
        let statuses = (100..600u16).filter_map(|number| http::StatusCode::from_u16(number).ok());
        let spelt = |status: &http::StatusCode| {
            status.canonical_reason().unwrap_or_default().to_ascii_uppercase().replace([' ', '-'], "_")
        };
        let found = statuses.into_iter().find(|status| spelt(status) == name);
        found.unwrap_or_else(|| panic!("no status is called {name}")).as_str().to_owned()
    }
}
