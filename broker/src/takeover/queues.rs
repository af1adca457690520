//! The queues of a log as its records have them: each goes on where the record before ended, or a start of ours would take
//! the log to end there.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use record::Record;
use types::{PhysicalOffset, QueueOffset};

use super::form::Refusal;

/// Follows all queues; about 100 bytes each.
#[derive(Debug)]
pub(super) struct Queues {
    /// By topic the next offset of each queue. Never iterated.
    next: HashMap<String, HashMap<u32, u64, FixedState>, FixedState>,
    /// Whether a queue's first record may have any offset: those before it have expired.
    may_begin_late: bool,
}

impl Queues {
    /// For a log that begins at a position.
    pub(super) fn new(log_first: PhysicalOffset) -> Self {
        Self { next: HashMap::default(), may_begin_late: log_first.0 > 0 }
    }

    /// Takes the log's next record; says when it does not continue its queue.
    pub(super) fn record(&mut self, record: &Record<'_>) -> Option<Refusal> {
        if !record.is_queued() {
            return None;
        }
        let (queue, found) = (record.header.queue, record.header.queue_offset);
        if !self.next.contains_key(record.topic) {
            self.next.insert(record.topic.to_owned(), HashMap::default());
        }
        let queues = self.next.get_mut(record.topic)?;
        let known = queues.insert(queue.0, found.next().0);
        let expected = match known {
            None if self.may_begin_late => found,
            known => QueueOffset(known.unwrap_or_default()),
        };
        (expected != found).then(|| Refusal::QueueBroken {
            topic: record.topic.to_owned(),
            queue,
            expected,
            found,
            at: record.header.physical_offset,
        })
    }
}
