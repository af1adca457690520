//! Queue offsets are the running numbers of a queue's records, without gaps, and the queue index knows each record.

use store::Store;
use types::{PhysicalOffset, QueueId, QueueOffset};

use crate::log::{Entry, Ledger};
use crate::report::Violation;

const PROMISE: &str = "the queue index is that of the log";

/// Compares a queue with the records that it should have.
///
/// # Errors
/// When its range or an entry differs.
pub fn check_queue(store: &mut Store, topic: &str, queue: QueueId, expected: &[&Entry]) -> Result<(), Violation> {
    let violation = |detail: String| Violation::new(PROMISE, format!("queue {queue} of {topic}: {detail}"));
    let next = store.queue_range(topic, queue).map_or(QueueOffset(0), |range| range.next);
    if next != QueueOffset(expected.len() as u64) {
        return Err(violation(format!("it ends at {next}, {} records are in it", expected.len())));
    }
    let mut found = Vec::new();
    while found.len() < expected.len() {
        let before = found.len();
        let from = QueueOffset(before as u64);
        store.entries(topic, queue, from, expected.len(), &mut found).map_err(|error| violation(error.to_string()))?;
        if found.len() == before {
            return Err(violation(format!("no entries from {from} on, {} records are in it", expected.len())));
        }
    }
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let wanted = (QueueOffset(index as u64), expected.physical_offset, expected.record_bytes);
        if (found.queue_offset, found.physical_offset, found.record_bytes) != wanted {
            return Err(violation(format!("entry {index} is {found:?}, the record is {expected:?}")));
        }
    }
    Ok(())
}

/// Notes the tally after the `count`-th record, which the store says it has appended at `physical_offset`.
///
/// # Errors
/// When the ledger has another record there, or its queue offset is not the next one.
pub fn check_append(
    ledger: &mut Ledger,
    physical_offset: PhysicalOffset,
    count: u64,
    chain: u64,
) -> Result<(), Violation> {
    let expected = ledger.note_chain(count, chain);
    if expected == Some(physical_offset) {
        return Ok(());
    }
    let detail = format!("record {count} is staged at {physical_offset}, appended at {expected:?}");
    Err(Violation::new("what is staged is what was appended", detail))
}
