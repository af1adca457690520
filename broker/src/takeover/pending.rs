//! What an Apache broker had not finished, counted by one way through its log.
//!
//! Exact where the log says so itself: a delivered copy stands behind what it was made of. Where the log no longer holds
//! both, Apache's own notes of its progress decide.
//! Source: Apache `ScheduleMessageService`, `TimerMessageStore`, `TransactionalMessageServiceImpl`, `PopReviveService`,
//! and directories that 5.5.0 left when it was stopped and when it was killed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use record::Record;
use types::broker::TransactionPosition;
use types::properties::names;
use types::{PhysicalOffset, QueueId, QueueOffset, SysFlag, Timestamp, TopicName};

use super::config::Progress;
use super::pops::{Lease, Pops, QueueOfGroup};
use crate::effect::REVIVE_TOPIC_PREFIX;
use crate::journal::{self, Event, JOURNAL_TOPIC};
use crate::timer::{WHEEL_TOPIC, Waits, due, recall};
use crate::transaction::{HALF_TOPIC, OP_TOPIC, Undecided};

/// Keeps messages with a delay level, a queue a level. Source: Apache `TopicValidator.RMQ_SYS_SCHEDULE_TOPIC`.
pub(crate) const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Source: Apache `MixAll.CID_SYS_RMQ_TRANS`.
pub(super) const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";
/// Source: Apache `PopAckConstants.REVIVE_GROUP`.
pub(super) const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
/// On copies that the wheel delivered. Source: Apache `MessageConst.PROPERTY_TIMER_DEQUEUE_MS`.
const DEQUEUED_AT: &str = "TIMER_DEQUEUE_MS";
/// On a record that cancels a delayed message. Source: Apache `TimerMessageStore.TIMER_DELETE_UNIQUE_KEY`.
const CANCELS: &str = "TIMER_DEL_UNIQKEY";

/// On records that the wheel could not keep until their time and put in again. Source: Apache
/// `MessageConst.PROPERTY_TIMER_ROLL_TIMES`.
const ROLLED: &str = "TIMER_ROLL_TIMES";
/// How long a slot of the wheel is. Source: Apache `timerPrecisionMs`.
const SLOT: Duration = Duration::from_secs(1);
/// On half messages that were appended again, to count a check or to wait. Source: Apache
/// `TransactionalMessageServiceImpl.check`, `MessageConst.PROPERTY_TRANSACTION_PREPARED_QUEUE_OFFSET`.
const STORED_AGAIN: [&str; 2] = [names::TRANSACTION_CHECK_TIMES, "TRAN_PREPARED_QUEUE_OFFSET"];

/// What was not finished when the broker ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Messages that wait by delay level.
    pub level_timers: u64,
    /// Messages that wait for a time.
    pub timers: u64,
    /// Half messages without an outcome.
    pub halves: u64,
    /// Messages that were popped and neither acknowledged nor given back.
    pub unacked_pops: u64,
}

/// What was not finished, one by one.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// Messages that wait by level.
    pub(super) levels: Vec<Level>,
    /// Messages that wait for a time.
    pub(super) timers: Vec<Waits>,
    /// Half messages, by queue offset.
    pub(super) halves: Vec<Undecided>,
    /// Leases, by queue and offset.
    pub(super) leases: BTreeMap<QueueOfGroup, BTreeMap<u64, Lease>>,
}

/// A message that waits by level.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// As if the levels' times were Apache's default.
    pub(super) waits: Waits,
    /// Its place in the levels' topic.
    pub(super) queue: QueueId,
    pub(super) offset: QueueOffset,
}

/// Gathers it from the log's records. Memory follows what is pending, not the log's length: about 200 bytes an entry.
pub(super) struct Gathering<'a> {
    progress: &'a Progress,
    /// By identity, in the order in which they were stored; never empty.
    levels: BTreeMap<u64, VecDeque<Level>>,
    /// By slot and identity, in the order in which they were stored; never empty.
    timers: BTreeMap<(Timestamp, u64), VecDeque<Waits>>,
    /// By queue offset …
    halves: BTreeMap<u64, Undecided>,
    /// … and by position: ops name the one, copies the other.
    half_offsets: BTreeMap<PhysicalOffset, u64>,
    /// By identity, the newest of those …
    half_names: BTreeMap<u64, u64>,
    /// … and the reverse, so that a name goes with its half message.
    named_halves: BTreeMap<u64, u64>,
    pops: Pops,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(progress: &'a Progress) -> Self {
        Self {
            progress,
            levels: BTreeMap::new(),
            timers: BTreeMap::new(),
            halves: BTreeMap::new(),
            half_offsets: BTreeMap::new(),
            half_names: BTreeMap::new(),
            named_halves: BTreeMap::new(),
            pops: Pops::default(),
        }
    }

    /// Takes the log's next record.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        match record.topic {
            SCHEDULE_TOPIC => self.level(record),
            WHEEL_TOPIC => self.wheel(record),
            HALF_TOPIC => self.half(record),
            OP_TOPIC => self.op(record.body),
            JOURNAL_TOPIC => self.journal(record.body),
            topic if topic.starts_with(REVIVE_TOPIC_PREFIX) => self.revive(record),
            _ => self.delivered(record),
        }
    }

    /// How much it is.
    pub(super) fn pending(&self) -> Pending {
        Pending {
            level_timers: self.levels.values().map(|waits| waits.len() as u64).sum(),
            timers: self.timers.values().map(|waits| waits.len() as u64).sum(),
            halves: self.halves.len() as u64,
            unacked_pops: self.pops.messages(),
        }
    }

    pub(super) fn finish(self) -> Unfinished {
        Unfinished {
            levels: self.levels.into_values().flatten().collect(),
            timers: self.timers.into_values().flatten().collect(),
            halves: self.halves.into_values().collect(),
            leases: self.pops.by_queue(),
        }
    }

    /// What we wrote when the directory was ours. From the handing back on, what waits for a time or is leased is said by
    /// records as Apache writes them.
    fn journal(&mut self, body: &[u8]) {
        if journal::events(body).any(|event| event == Ok(Event::HandedBack)) {
            (self.levels, self.timers, self.pops) = Default::default();
        }
    }

    /// A message that waits by level; the queue says which.
    fn level(&mut self, record: &Record<'_>) {
        let header = &record.header;
        let level = header.queue.0 + 1;
        let delivered_to = self.progress.levels.get(&level).copied().unwrap_or(0);
        if header.queue_offset.0 >= delivered_to {
            let due = header.stored_at.plus(due::level_delay(level.into()).unwrap_or_default());
            let level = Level { waits: waits(record, due), queue: header.queue, offset: header.queue_offset };
            self.levels.entry(identity(record)).or_default().push_back(level);
        }
    }

    /// A message that waits for a time, one that cancels such a one, or one of a pop.
    fn wheel(&mut self, record: &Record<'_>) {
        if record.property(names::REAL_TOPIC).is_some_and(|topic| topic.starts_with(REVIVE_TOPIC_PREFIX)) {
            return self.pops.record(record);
        }
        let Some(due) = slot(record) else { return };
        if let Some(cancelled) = record.property(CANCELS) {
            let real_topic = record.property(names::REAL_TOPIC).unwrap_or_default();
            let (topic, unique_key) = cancelled.rsplit_once('+').unwrap_or((real_topic, cancelled));
            self.timers.remove(&(due, recall::identity(topic, unique_key)));
            return;
        }
        let Progress { wheel_read_to, wheel_offset, .. } = self.progress;
        // A message that was rolled on stands here again under the same name and time.
        if record.property(ROLLED).is_some() {
            take_first(self.timers.entry((due, identity(record))));
        }
        if due >= *wheel_read_to || record.header.queue_offset.0 >= *wheel_offset {
            let waits = waits(record, exact_due(record, due));
            self.timers.entry((due, identity(record))).or_default().push_back(waits);
        }
    }

    /// A message in its own topic: what waited is delivered if it says so.
    fn delivered(&mut self, record: &Record<'_>) {
        if record.header.sys_flag.has(SysFlag::TRANSACTION_COMMIT) {
            let source = PhysicalOffset(record.header.source_offset);
            if let Some(offset) = self.half_offsets.get(&source).copied() {
                self.end_half(offset);
            }
        }
        if let (true, Some(due)) = (record.property(DEQUEUED_AT).is_some(), slot(record)) {
            take_first(self.timers.entry((due, recall::identity(record.topic, unique_key(record)))));
        } else if record.property(names::REAL_TOPIC).is_some() {
            take_first(self.levels.entry(identity(record)));
        }
    }

    fn half(&mut self, record: &Record<'_>) {
        let offset = record.header.queue_offset.0;
        let identity = identity(record);
        let before = self.half_names.get(&identity).copied();
        // Each check appends the message anew; the one before is finished although no op says so.
        let is_again = STORED_AGAIN.iter().any(|name| record.property(name).is_some());
        if let Some(before) = before.filter(|_| is_again) {
            self.end_half(before);
        }
        if offset >= self.system_offset(TRANSACTION_GROUP, HALF_TOPIC, record.header.queue.0) {
            let Some(half) = undecided(record) else { return };
            self.halves.insert(offset, half);
            self.half_offsets.insert(record.header.physical_offset, offset);
            self.half_names.insert(identity, offset);
            self.named_halves.insert(offset, identity);
        }
    }

    /// `0,1,2,`: queue offsets of ended half messages.
    fn op(&mut self, body: &[u8]) {
        let offsets = str::from_utf8(body).unwrap_or_default().split(',');
        for offset in offsets.filter_map(|offset| offset.parse::<u64>().ok()) {
            self.end_half(offset);
        }
    }

    fn end_half(&mut self, offset: u64) {
        if let Some(half) = self.halves.remove(&offset) {
            self.half_offsets.remove(&half.position.physical_offset);
        }
        if let Some(identity) = self.named_halves.remove(&offset)
            && self.half_names.get(&identity) == Some(&offset)
        {
            self.half_names.remove(&identity);
        }
    }

    /// How many names of half messages are kept.
    #[cfg(test)]
    pub(super) fn half_names(&self) -> usize {
        self.half_names.len().max(self.named_halves.len())
    }

    /// A record of the revive topic. Before the broker's own offset there, all was looked at: what was not acknowledged
    /// then is in the retry topic.
    fn revive(&mut self, record: &Record<'_>) {
        let done_to = self.system_offset(REVIVE_GROUP, record.topic, record.header.queue.0);
        if record.header.queue_offset.0 >= done_to {
            self.pops.record(record);
        } else {
            self.pops.revived(record);
        }
    }

    fn system_offset(&self, group: &str, topic: &str, queue: u32) -> u64 {
        self.progress.system.get(&(group.to_owned(), topic.to_owned(), queue)).copied().unwrap_or(0)
    }
}

/// Takes out the first of several of one name.
fn take_first<K: Ord, W>(waiting: Entry<'_, K, VecDeque<W>>) {
    if let Entry::Occupied(mut waiting) = waiting {
        waiting.get_mut().pop_front();
        if waiting.get().is_empty() {
            waiting.remove();
        }
    }
}

/// When the wheel delivers it.
fn slot(record: &Record<'_>) -> Option<Timestamp> {
    record.property(names::TIMER_OUT_MS)?.parse().ok().map(Timestamp)
}

/// When a message is due whose slot is known. The slot says it only to the second, and one earlier than it is delivered.
fn exact_due(record: &Record<'_>, slot: Timestamp) -> Timestamp {
    let slot_end = slot.plus(SLOT);
    let asked = record.property(names::TIMER_DELIVER_MS).and_then(|due| due.parse().ok().map(Timestamp));
    asked.filter(|due| (slot..=slot_end).contains(due)).unwrap_or(slot_end)
}

fn waits(record: &Record<'_>, due: Timestamp) -> Waits {
    let header = &record.header;
    Waits { due, offset: header.physical_offset, record_bytes: header.record_bytes, identity: identity(record) }
}

/// A half message, to be asked about at once; `None` when it is for no topic.
fn undecided(record: &Record<'_>) -> Option<Undecided> {
    let header = &record.header;
    let times = record.property(names::TRANSACTION_CHECK_TIMES).and_then(|times| times.parse().ok());
    Some(Undecided {
        position: TransactionPosition { queue_offset: header.queue_offset, physical_offset: header.physical_offset },
        record_bytes: header.record_bytes,
        topic: TopicName::new(record.property(names::REAL_TOPIC)?).ok()?,
        times: times.unwrap_or(0),
        check_at: header.stored_at,
    })
}

fn unique_key<'a>(record: &'a Record<'_>) -> &'a str {
    record.property(names::UNIQUE_KEY).unwrap_or_default()
}

/// A waiting message's name: that of the topic that it is for, and its key.
fn identity(record: &Record<'_>) -> u64 {
    recall::identity(record.property(names::REAL_TOPIC).unwrap_or_default(), unique_key(record))
}
