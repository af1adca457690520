//! Groups that were told to go on elsewhere while their consumers pull: each queue's next pull is answered with where, and what its
//! consumer commits until then counts no more. A plain value, told the time.
//!
//! Source: Apache 5.5 `ConsumerOffsetManager#assignResetOffset`, `#queryThenEraseResetOffset`.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{GroupName, QueueId, QueueOffset, Timestamp, TopicName};

/// Most queues that are waited for; about 200 bytes each.
const RESETS_MAX: usize = 100_000;
/// How long a pull is waited for. Consumers pull each 20 s, unless they have stopped for a while because they have enough to do.
const AWAITED_FOR: Duration = Duration::from_secs(3600);

/// A group on a queue.
pub(crate) type Queue = (GroupName, TopicName, QueueId);

/// Where consumers are to go on.
#[derive(Debug, Default)]
pub(crate) struct Resets(BTreeMap<Queue, (QueueOffset, Timestamp)>);

impl Resets {
    /// The queue's next pull is to be told; beyond the bound its consumer finds out when it looks for its offset the next time.
    pub(crate) fn expect(&mut self, queue: Queue, offset: QueueOffset, now: Timestamp) {
        if self.0.len() < RESETS_MAX || self.0.contains_key(&queue) {
            self.0.insert(queue, (offset, now));
        }
    }

    /// Where a pull of the queue is to go on, told once.
    pub(crate) fn take(&mut self, queue: &Queue) -> Option<QueueOffset> {
        // Most of the time there is none at all.
        if self.0.is_empty() { None } else { self.0.remove(queue).map(|(offset, _)| offset) }
    }

    /// Where the queue's next pull is to be told to go on.
    pub(crate) fn expected(&self, queue: &Queue) -> Option<QueueOffset> {
        self.0.get(queue).map(|(offset, _)| *offset)
    }

    /// Forgets those of queues or groups that are not there any more: what comes under their names later is not theirs.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&Queue) -> bool) {
        self.0.retain(|queue, _| is_there(queue));
    }

    /// Forgets what nobody came for.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.0.retain(|_, (_, since)| now.since(*since) <= AWAITED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_told_once_and_not_forever() {
        let queue =
            |number| (GroupName::new("g").expect("valid"), TopicName::new("t").expect("valid"), QueueId(number));
        let mut resets = Resets::default();
        resets.expect(queue(0), QueueOffset(7), Timestamp(0));
        resets.expect(queue(1), QueueOffset(8), Timestamp(1));
        assert_eq!((resets.expected(&queue(0)), resets.expected(&queue(2))), (Some(QueueOffset(7)), None));
        assert_eq!((resets.take(&queue(0)), resets.take(&queue(0))), (Some(QueueOffset(7)), None));
        resets.expire(Timestamp(3_600_001));
        assert_eq!(resets.expected(&queue(1)), Some(QueueOffset(8)));
        resets.expire(Timestamp(3_600_002));
        assert_eq!(resets.take(&queue(1)), None);
    }
}
