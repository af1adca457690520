//! Why a request is not answered with what was asked for: the one table from our errors to response codes.

use remoting_proto::requests::{KeyRefused, PopRefused};
use remoting_proto::{Fields, ResponseCode};
use types::admin::AdminError;
use types::broker::{
    KeyError, LeaseError, LookupError, PopError, PullError, RecallError, SendError, TransactionError, Unavailable,
};

/// A response code that is not success, with the words for people.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) code: ResponseCode,
    pub(super) remark: String,
    /// What the code's answer must have even so.
    pub(super) fields: Fields,
}

impl Refusal {
    pub(super) fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into(), fields: Fields::default() }
    }

    /// A field that makes no sense.
    pub(super) fn invalid(remark: impl Into<String>) -> Self {
        Self::new(ResponseCode::InvalidParameter, remark)
    }
}

/// A type whose errors have a code each.
trait Coded: std::error::Error {
    fn code(&self) -> ResponseCode;
}

macro_rules! refusals {
    ($($error:ty),*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new(Coded::code(&error), error.to_string())
            }
        })*
    };
}
refusals!(Unavailable, LookupError, PullError, LeaseError, AdminError, TransactionError, RecallError);

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Self {
        let refusal = Self::new(Coded::code(&error), error.to_string());
        let SendError::Key(key) = error else { return refusal };
        Self { fields: key_refused(&key).to_fields(), ..refusal }
    }
}

impl From<PopError> for Refusal {
    fn from(error: PopError) -> Self {
        let refusal = Self::new(Coded::code(&error), error.to_string());
        let PopError::QueuesLocked { .. } = error else { return refusal };
        Self { fields: PopRefused { why: PopRefused::QUEUES_LOCKED.to_owned() }.to_fields(), ..refusal }
    }
}

/// What a proxy needs to tell its client as a broker of its own process does.
fn key_refused(error: &KeyError) -> KeyRefused {
    let number = |number: usize| i64::try_from(number).ok();
    let (why, window_ms, limit, bytes) = match *error {
        KeyError::Taken { window_ms, .. } => (KeyRefused::TAKEN, i64::try_from(window_ms).ok(), None, None),
        KeyError::TooMany { keys_max, window_ms } => {
            (KeyRefused::TOO_MANY, i64::try_from(window_ms).ok(), number(keys_max), None)
        }
        KeyError::TooLong { bytes, bytes_max, .. } => (KeyRefused::TOO_LONG, None, number(bytes_max), number(bytes)),
    };
    KeyRefused { why: why.to_owned(), window_ms, limit, bytes }
}

impl Coded for Unavailable {
    fn code(&self) -> ResponseCode {
        match self {
            Self::Busy { .. } | Self::TimedOut { .. } => ResponseCode::SystemBusy,
            Self::DiskFull { .. }
            | Self::StoreFailed { .. }
            | Self::Stopping
            | Self::Slave
            | Self::Fenced
            | Self::Remote { .. }
            | Self::OwnerAway { .. } => ResponseCode::ServiceNotAvailable,
            // Apache's `IN_SYNC_REPLICAS_NOT_ENOUGH`.
            Self::TooFewInSync { .. } => ResponseCode::SystemError,
            Self::NotServed { .. } => ResponseCode::RequestCodeNotSupported,
        }
    }
}

impl Coded for LookupError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::TopicNotFound { .. } => ResponseCode::TopicNotExist,
            Self::GroupNotFound { .. } => ResponseCode::SubscriptionGroupNotExist,
            Self::QueueNotFound { .. } => ResponseCode::InvalidParameter,
            Self::Unavailable(why) => why.code(),
        }
    }
}

impl Coded for SendError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::TopicNotFound { .. } => ResponseCode::TopicNotExist,
            Self::NotWritable { .. } => ResponseCode::NoPermission,
            Self::QueueNotFound { .. } => ResponseCode::InvalidParameter,
            Self::BodyTooLarge { .. }
            | Self::PropertiesTooLarge { .. }
            | Self::DelayTooLong { .. }
            | Self::Unsupported { .. }
            | Self::Key(KeyError::Taken { .. } | KeyError::TooLong { .. }) => ResponseCode::MessageIllegal,
            Self::Key(KeyError::TooMany { .. }) => ResponseCode::SystemBusy,
            Self::Unavailable(why) => why.code(),
        }
    }
}

impl Coded for PopError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::Lookup(error) => error.code(),
            Self::NotReadable { .. } | Self::GroupDisabled { .. } | Self::QueuesLocked { .. } => {
                ResponseCode::NoPermission
            }
            Self::TooManyWaiting { .. } => ResponseCode::SystemBusy,
            Self::Unavailable(why) => why.code(),
        }
    }
}

impl Coded for PullError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::OffsetOutOfRange { .. } => ResponseCode::PullOffsetMoved,
            Self::Pop(error) => error.code(),
        }
    }
}

impl Coded for LeaseError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::Invalid { .. } => ResponseCode::NoMessage,
            Self::Unavailable(why) => why.code(),
        }
    }
}

impl Coded for AdminError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::Exists { .. } => ResponseCode::SystemError,
            Self::Lookup(error) => error.code(),
            Self::Unavailable(why) => why.code(),
            Self::QueueCount { .. } | Self::QueuesShrink { .. } | Self::System { .. } | Self::Uneven { .. } => {
                ResponseCode::InvalidParameter
            }
            Self::Unsupported { .. } => ResponseCode::RequestCodeNotSupported,
        }
    }
}

impl Coded for TransactionError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::NotFound { .. } | Self::OtherBroker { .. } | Self::AlreadyEnded { .. } => ResponseCode::SystemError,
            Self::TooLate => ResponseCode::IllegalOperation,
            Self::Send(error) => error.code(),
            Self::Unavailable(why) => why.code(),
        }
    }
}

impl Coded for RecallError {
    fn code(&self) -> ResponseCode {
        match self {
            Self::InvalidHandle { .. } | Self::NotFound => ResponseCode::IllegalOperation,
            Self::Unavailable(why) => why.code(),
        }
    }
}

/// A request that makes no sense: clients get its words.
macro_rules! system_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new(ResponseCode::SystemError, error.to_string())
            }
        })*
    };
}
system_errors!(env::kept::Error, remoting_proto::FieldError, remoting_proto::JsonError, types::receipt_handle::Error);

impl From<remoting_proto::body::batch::Error> for Refusal {
    fn from(error: remoting_proto::body::batch::Error) -> Self {
        Self::new(ResponseCode::MessageIllegal, error.to_string())
    }
}

impl From<types::topic::NameError> for Refusal {
    fn from(error: types::topic::NameError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<crate::acting::Untaken> for Refusal {
    fn from(error: crate::acting::Untaken) -> Self {
        let code = match error {
            crate::acting::Untaken::Behind { .. } => ResponseCode::InvalidParameter,
            crate::acting::Untaken::Full => ResponseCode::SystemBusy,
        };
        Self::new(code, error.to_string())
    }
}

impl From<crate::settings::Unfit> for Refusal {
    fn from(error: crate::settings::Unfit) -> Self {
        Self::new(ResponseCode::SystemError, error.to_string())
    }
}

/// More than is remembered.
macro_rules! busy {
    ($($error:ty),*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new(ResponseCode::SystemBusy, error.to_string())
            }
        })*
    };
}
busy!(crate::clients::Full, crate::forbidden::Full, crate::request_modes::Full);
