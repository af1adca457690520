//! What receivers make of the records that were read for them.

use bytes::Bytes;
use store::ReadError;
use types::broker::Unavailable;
use types::receipt_handle::HandleSource;
use types::{Filter, GroupName, Properties};

use crate::effect::is_retry_of_another;
use crate::pop::Leased;

/// Whether the filter wants the record; one that cannot be decoded is left to the receiver.
pub(super) fn is_wanted(filter: &Filter, record: &Bytes) -> bool {
    if matches!(filter, Filter::All) {
        return true;
    }
    record::decode(record).map_or(true, |record| filter.matches(&Properties::parse(record.properties)))
}

/// Whether a record of a retry topic is for the group: two groups may share one.
pub(super) fn is_for_group(leased: &Leased, group: &GroupName, record: &Bytes) -> bool {
    leased.source == HandleSource::Topic
        || record::decode(record).map_or(true, |record| !is_retry_of_another(&record, group))
}

/// Whether a record will never be read, however often it is tried.
pub(super) fn is_damage(error: &ReadError) -> bool {
    match error {
        ReadError::Damaged { .. } | ReadError::OutOfLog { .. } => true,
        ReadError::Expired { .. } | ReadError::Busy { .. } | ReadError::Unreadable { .. } | ReadError::Closed => false,
    }
}

/// What a caller is told when a record cannot be read.
pub(super) fn unavailable(error: &ReadError) -> Unavailable {
    match error {
        ReadError::Busy { waiting_max } => Unavailable::Busy { waiting_max: *waiting_max },
        ReadError::Closed => Unavailable::Stopping,
        ReadError::OutOfLog { .. }
        | ReadError::Expired { .. }
        | ReadError::Damaged { .. }
        | ReadError::Unreadable { .. } => Unavailable::StoreFailed { detail: error.to_string() },
    }
}
