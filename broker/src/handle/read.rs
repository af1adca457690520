//! Records' bytes for receivers: from memory at once, the others from the disk at the same time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use store::{ReadError, Reader};
use types::broker::Unavailable;
use types::{Filter, PhysicalOffset, Properties};

/// A record that is being read.
type Reading<'a> = Pin<Box<dyn Future<Output = Result<Bytes, ReadError>> + Send + 'a>>;

/// Reads all records, each with a result of its own, in order. Cold ones are read side by side.
pub(super) async fn read_all(
    reader: &Reader,
    places: impl Iterator<Item = (PhysicalOffset, u32)>,
) -> Vec<Result<Bytes, ReadError>> {
    let mut cold: Vec<(usize, Reading<'_>)> = Vec::new();
    let mut records: Vec<Result<Bytes, ReadError>> = Vec::new();
    for (index, (offset, bytes)) in places.enumerate() {
        let hot = reader.hot(offset);
        if hot.is_none() {
            cold.push((index, Box::pin(reader.read(offset, bytes))));
        }
        records.push(hot.ok_or(ReadError::Closed));
    }
    poll_fn(|context| {
        cold.retain_mut(|(index, reading)| match reading.as_mut().poll(context) {
            Poll::Ready(record) => {
                records[*index] = record;
                false
            }
            Poll::Pending => true,
        });
        if cold.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    records
}

/// Whether the filter wants the record; one that cannot be decoded is left to the receiver.
pub(super) fn is_wanted(filter: &Filter, record: &Bytes) -> bool {
    if matches!(filter, Filter::All) {
        return true;
    }
    record::decode(record).map_or(true, |record| filter.matches(&Properties::parse(record.properties)))
}

/// What a caller is told when a record cannot be read.
pub(super) fn unavailable(error: &ReadError) -> Unavailable {
    match error {
        ReadError::Busy { waiting_max } => Unavailable::Busy { waiting_max: *waiting_max },
        ReadError::Closed => Unavailable::Stopping,
        ReadError::OutOfLog { .. } | ReadError::Damaged { .. } | ReadError::Unreadable { .. } => {
            Unavailable::StoreFailed { detail: error.to_string() }
        }
    }
}
