//! What an Apache broker had not finished, counted by one way through its log.
//!
//! Exact where the log says so itself: a delivered copy stands behind what it was made of. Where the log no longer holds
//! both, Apache's own notes of its progress decide.
//! Source: Apache `ScheduleMessageService`, `TimerMessageStore`, `TransactionalMessageServiceImpl`, `PopReviveService`,
//! and directories that 5.5.0 left when it was stopped and when it was killed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use record::Record;
use serde::Deserialize;
use types::properties::names;
use types::{PhysicalOffset, SysFlag, Timestamp};

use super::config::Progress;
use super::json;
use crate::timer::{WHEEL_TOPIC, recall};
use crate::transaction::{HALF_TOPIC, OP_TOPIC};

/// Keeps messages with a delay level, a queue a level. Source: Apache `TopicValidator.RMQ_SYS_SCHEDULE_TOPIC`.
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Keeps what was popped and acknowledged. Source: Apache `PopAckConstants.REVIVE_TOPIC`.
const REVIVE_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// Source: Apache `MixAll.CID_SYS_RMQ_TRANS`.
const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";
/// Source: Apache `PopAckConstants.REVIVE_GROUP`.
const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
/// On copies that the wheel delivered. Source: Apache `MessageConst.PROPERTY_TIMER_DEQUEUE_MS`.
const DEQUEUED_AT: &str = "TIMER_DEQUEUE_MS";
/// On a record that cancels a delayed message. Source: Apache `TimerMessageStore.TIMER_DELETE_UNIQUE_KEY`.
const CANCELS: &str = "TIMER_DEL_UNIQKEY";

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

/// Gathers it from the log's records. Memory follows what is pending, not the log's length: about 100 bytes an entry.
pub(super) struct Gathering<'a> {
    progress: &'a Progress,
    /// By identity, how often; never 0.
    levels: BTreeMap<u64, u64>,
    timers: BTreeSet<(Timestamp, u64)>,
    /// By queue offset, where they are …
    halves: BTreeMap<u64, PhysicalOffset>,
    /// … and the reverse: ops name the one, copies the other.
    half_offsets: BTreeMap<PhysicalOffset, u64>,
    /// By identity, the newest of those …
    half_names: BTreeMap<u64, u64>,
    /// … and the reverse, so that a name goes with its half message.
    named_halves: BTreeMap<u64, u64>,
    pops: BTreeMap<PopKey, BTreeSet<u64>>,
}

/// A pop: group, topic, queue, first offset, time.
type PopKey = (String, String, i64, i64, i64);

/// The body of a revive record, of all three kinds. Source: Apache `PopCheckPoint`, `AckMsg`, `BatchAckMsg`.
#[derive(Deserialize)]
struct PopBody {
    #[serde(rename = "c")]
    group: String,
    #[serde(rename = "t")]
    topic: String,
    #[serde(rename = "q")]
    queue: i64,
    #[serde(rename = "so")]
    first: i64,
    #[serde(rename = "pt")]
    popped_at: i64,
    /// Of a checkpoint: how many messages, and their distances from the first, if they do not follow each other.
    #[serde(rename = "n", default)]
    messages: i64,
    #[serde(rename = "d", default)]
    distances: Option<Vec<u64>>,
    /// Of acks.
    #[serde(rename = "ao", default)]
    acked: Option<u64>,
    #[serde(rename = "aol", default)]
    acked_all: Option<Vec<u64>>,
}

/// Most messages of one pop: its ack bits are a 32-bit number.
const POP_MESSAGES_MAX: u64 = 32;

impl<'a> Gathering<'a> {
    pub(super) fn new(progress: &'a Progress) -> Self {
        Self {
            progress,
            levels: BTreeMap::new(),
            timers: BTreeSet::new(),
            halves: BTreeMap::new(),
            half_offsets: BTreeMap::new(),
            half_names: BTreeMap::new(),
            named_halves: BTreeMap::new(),
            pops: BTreeMap::new(),
        }
    }

    /// Takes the log's next record.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        match record.topic {
            SCHEDULE_TOPIC => self.level(record),
            WHEEL_TOPIC => self.wheel(record),
            HALF_TOPIC => self.half(record),
            OP_TOPIC => self.op(record.body),
            topic if topic.starts_with(REVIVE_TOPIC_PREFIX) => self.revive(record),
            _ => self.delivered(record),
        }
    }

    pub(super) fn finish(self) -> Pending {
        Pending {
            level_timers: self.levels.values().sum(),
            timers: self.timers.len() as u64,
            halves: self.halves.len() as u64,
            unacked_pops: self.pops.values().map(|unacked| unacked.len() as u64).sum(),
        }
    }

    /// A message that waits by level; the queue says which.
    fn level(&mut self, record: &Record<'_>) {
        let header = &record.header;
        let delivered_to = self.progress.levels.get(&(header.queue.0 + 1)).copied().unwrap_or(0);
        if header.queue_offset.0 >= delivered_to {
            *self.levels.entry(identity(record)).or_default() += 1;
        }
    }

    /// A message that waits for a time, one that cancels such a one, or one of a pop.
    fn wheel(&mut self, record: &Record<'_>) {
        if record.property(names::REAL_TOPIC).is_some_and(|topic| topic.starts_with(REVIVE_TOPIC_PREFIX)) {
            return self.pop(record);
        }
        let Some(due) = slot(record) else { return };
        if let Some(cancelled) = record.property(CANCELS) {
            let real_topic = record.property(names::REAL_TOPIC).unwrap_or_default();
            let (topic, unique_key) = cancelled.rsplit_once('+').unwrap_or((real_topic, cancelled));
            self.timers.remove(&(due, recall::identity(topic, unique_key)));
            return;
        }
        let Progress { wheel_read_to, wheel_offset, .. } = self.progress;
        // A message that was rolled on stands here twice under the same name and time.
        if due >= *wheel_read_to || record.header.queue_offset.0 >= *wheel_offset {
            self.timers.insert((due, identity(record)));
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
            self.timers.remove(&(due, recall::identity(record.topic, unique_key(record))));
        } else if record.property(names::REAL_TOPIC).is_some()
            && let Entry::Occupied(mut waiting) = self.levels.entry(identity(record))
        {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
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
            self.halves.insert(offset, record.header.physical_offset);
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
            self.half_offsets.remove(&half);
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
            return self.pop(record);
        }
        if let (Some("ck"), Ok(body)) = (record.property(names::TAGS), json::parse::<PopBody>(record.body)) {
            self.pops.remove(&body.key());
        }
    }

    fn pop(&mut self, record: &Record<'_>) {
        let Ok(body) = json::parse::<PopBody>(record.body) else { return };
        if record.property(names::TAGS) == Some("ck") {
            // It comes twice, from the wheel and then in its topic: acks in between count.
            self.pops.entry(body.key()).or_insert_with(|| body.offsets());
        } else if let Some(unacked) = self.pops.get_mut(&body.key()) {
            for offset in body.acked.into_iter().chain(body.acked_all.into_iter().flatten()) {
                unacked.remove(&offset);
            }
        }
    }

    fn system_offset(&self, group: &str, topic: &str, queue: u32) -> u64 {
        self.progress.system.get(&(group.to_owned(), topic.to_owned(), queue)).copied().unwrap_or(0)
    }
}

impl PopBody {
    fn key(&self) -> PopKey {
        (self.group.clone(), self.topic.clone(), self.queue, self.first, self.popped_at)
    }

    /// The queue offsets of the messages.
    fn offsets(&self) -> BTreeSet<u64> {
        let first = u64::try_from(self.first).unwrap_or(0);
        let count = u64::try_from(self.messages).unwrap_or(0).min(POP_MESSAGES_MAX);
        match self.distances.as_deref() {
            Some(distances @ [_, ..]) => distances.iter().map(|distance| first.saturating_add(*distance)).collect(),
            _ => (first..first.saturating_add(count)).collect(),
        }
    }
}

/// When the wheel delivers it.
fn slot(record: &Record<'_>) -> Option<Timestamp> {
    record.property(names::TIMER_OUT_MS)?.parse().ok().map(Timestamp)
}

fn unique_key<'a>(record: &'a Record<'_>) -> &'a str {
    record.property(names::UNIQUE_KEY).unwrap_or_default()
}

/// A waiting message's name: that of the topic that it is for, and its key.
fn identity(record: &Record<'_>) -> u64 {
    recall::identity(record.property(names::REAL_TOPIC).unwrap_or_default(), unique_key(record))
}
