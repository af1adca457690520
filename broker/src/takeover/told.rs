//! What Apache's slaves ask their master for besides its log: where groups are, and the broker's own work.
//!
//! They cannot read our leases and events, so all of it is on the safe side: who goes on from it does something again, and leaves nothing out.
//! Source of what is asked for: Apache 5.5 `SlaveSynchronize`; of what comes of it: `TimerMessageStore#recover`,
//! `ScheduleMessageService`, `TransactionalMessageServiceImpl#check`.

use std::collections::BTreeMap;

use store::Store;
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

use super::pending::{REVIVE_GROUP, SCHEDULE_TOPIC, TRANSACTION_GROUP};
use super::settings;
use crate::effect::REVIVE_TOPIC_PREFIX;
use crate::machines::Machines;
use crate::timer::{WHEEL_TOPIC, due};
use crate::transaction::{HALF_TOPIC, OP_TOPIC};

/// Offsets by `TOPIC@GROUP` and queue.
pub(crate) type OffsetTable = BTreeMap<String, BTreeMap<u32, u64>>;

/// How far a broker is. It counts for who has the log up to `end`, and not for who has less.
#[derive(Debug)]
pub(crate) struct Told {
    /// The log up to there says what has led to this.
    pub(crate) end: PhysicalOffset,
    /// The first message that each group has not finished, the broker's own groups among them.
    pub(crate) offsets: OffsetTable,
    /// Where the topic of the delay levels ends, by level.
    pub(crate) levels: BTreeMap<u32, QueueOffset>,
    /// The wheel has delivered all slots before this time …
    pub(crate) wheel_read_to: Timestamp,
    /// … of messages before this offset of its topic.
    pub(crate) wheel_offset: QueueOffset,
    /// The first half message without an outcome, if there is any.
    pub(crate) first_half: Option<QueueOffset>,
    /// Where the topic of outcomes ends.
    pub(crate) ops_end: QueueOffset,
}

impl Told {
    /// As it is `now`.
    pub(crate) fn of(machines: &Machines, store: &Store, end: PhysicalOffset, now: Timestamp) -> Self {
        let mut offsets = settings::offset_table(machines);
        let System { revived, levels } = System::of(store);
        offsets.extend(revived);
        let first_half = machines.transactions.waiting().next();
        let half = first_half.unwrap_or_else(|| next_offset(store, HALF_TOPIC));
        offsets.extend([of_transactions(HALF_TOPIC, half)]);
        let waits_from = machines.timer.earliest().map_or(now, |earliest| earliest.min(now));
        Self {
            end,
            offsets,
            levels,
            wheel_read_to: due::apaches_slot(waits_from),
            wheel_offset: next_offset(store, WHEEL_TOPIC),
            first_half,
            ops_end: next_offset(store, OP_TOPIC),
        }
    }

    /// Says from where on outcomes are to be read.
    pub(crate) fn ops_from(&mut self, offset: QueueOffset) {
        self.offsets.extend([of_transactions(OP_TOPIC, offset)]);
    }
}

/// What Apache's broker wrote for itself, all of which is done: its messages by level and its pops are timers and leases of ours.
pub(super) struct System {
    /// Offsets of the group that looks at pops.
    pub(super) revived: OffsetTable,
    /// Where the topic of the delay levels ends, by level.
    pub(super) levels: BTreeMap<u32, QueueOffset>,
}

impl System {
    pub(super) fn of(store: &Store) -> Self {
        let (mut revived, mut levels) = (OffsetTable::new(), BTreeMap::new());
        for (topic, queue, range) in store.queues() {
            if topic == SCHEDULE_TOPIC {
                levels.insert(queue.0 + 1, range.next);
            } else if topic.starts_with(REVIVE_TOPIC_PREFIX) {
                revived.entry(format!("{topic}@{REVIVE_GROUP}")).or_default().insert(queue.0, range.next.0);
            }
        }
        Self { revived, levels }
    }
}

/// Where queue 0 of a topic ends.
pub(super) fn next_offset(store: &Store, topic: &str) -> QueueOffset {
    store.queue_range(topic, QueueId(0)).map(|range| range.next).unwrap_or_default()
}

/// Where the group that looks at transactions goes on in one of its topics.
pub(super) fn of_transactions(topic: &str, offset: QueueOffset) -> (String, BTreeMap<u32, u64>) {
    (format!("{topic}@{TRANSACTION_GROUP}"), [(0, offset.0)].into())
}
