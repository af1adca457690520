//! One group's state on one queue: which entries are unfinished, and in which stage each of them is.
//!
//! ```text
//!            0 ........ committed ............ next ........ end of the queue
//!              finished           unfinished        never
//!                                 or finished       looked at
//! ```
//!
//! Entries with a message group form a **line**: its head alone is ready or leased, the others are blocked until it is
//! finished; an entry joins its line when it is first looked at and keeps its place across redeliveries.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use foldhash::fast::FixedState;
use types::broker::LeaseOwner;
use types::topic::RETRY_QUEUE;
use types::{QueueId, QueueOffset, Timestamp, TopicName};

use super::lease::{LeaseId, Leases};
use super::retry::Aliases;

/// The line of entries without message group in a group that consumes in order. A message group whose hash is
/// the same shares it, which costs concurrency, never order.
pub(super) const QUEUE_LINE: u32 = u32::MAX;

/// An unfinished entry: 24 bytes, with its place in the ordered map and its share of a lease about 80.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// First pop time of the current delivery: handles from then on are good. [`Timestamp::FAR_FUTURE`] before
    /// the first delivery.
    pub(super) popped_at: Timestamp,
    pub(super) stage: Stage,
    /// Its line, 0 for none.
    pub(super) line: u32,
    /// Deliveries that count.
    pub(super) attempts: u16,
    /// Whether the current delivery was written to the client. Not durable.
    pub(super) is_held: bool,
}

impl Entry {
    /// One without a line that was never delivered.
    pub(super) fn new(stage: Stage) -> Self {
        Self { popped_at: Timestamp::FAR_FUTURE, stage, line: 0, attempts: 0, is_held: false }
    }
}

/// Where an unfinished entry is between its first look and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Behind the head of its line.
    Blocked,
    /// Can be leased.
    Ready,
    /// With a client, or waiting for its retry time.
    Leased(LeaseId),
    /// Failed for the last time; its dead-letter copy is still to be stored.
    Exhausted,
}

/// The entries of a message group.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    head: QueueOffset,
    followers: VecDeque<QueueOffset>,
}

/// One group's state on one queue.
///
/// Invariants: all entries are below `next`; `ready` are exactly those in stage Ready; of each line exactly the
/// first entry is not Blocked; `blocked` and `leased` count the entries in these stages.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) owner: LeaseOwner,
    pub(super) queue: QueueId,
    /// Whether it is the group's retry queue for a topic.
    pub(super) is_retry: bool,
    /// The first offset that was never looked at.
    pub(super) next: QueueOffset,
    /// The newest pop time given out here; it never falls, whatever the clock does.
    pub(super) last_pop: Timestamp,
    pub(super) entries: BTreeMap<QueueOffset, Entry>,
    pub(super) ready: BTreeSet<QueueOffset>,
    lines: HashMap<u32, Line, FixedState>,
    pub(super) blocked: usize,
    pub(super) leased: usize,
    /// In a retry queue: whether the log shows something that was not looked at yet, perhaps. Not durable.
    pub(super) is_unread: bool,
    /// In a retry queue, what handles from before the moves name.
    pub(super) aliases: Aliases,
}

impl Slot {
    pub(super) fn new(owner: LeaseOwner, queue: QueueId, start: QueueOffset) -> Self {
        let is_retry = queue == RETRY_QUEUE && owner.topic.retried(&owner.group).is_some();
        Self {
            owner,
            queue,
            is_retry,
            next: start,
            last_pop: Timestamp::default(),
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            lines: HashMap::default(),
            blocked: 0,
            leased: 0,
            is_unread: is_retry,
            aliases: Aliases::default(),
        }
    }

    /// The topic whose failed messages wait here, of a retry queue.
    pub(super) fn retried_topic(&self) -> Option<TopicName> {
        TopicName::new(self.owner.topic.retried(&self.owner.group).filter(|_| self.is_retry)?).ok()
    }

    /// The first unfinished offset.
    pub(super) fn committed(&self) -> QueueOffset {
        self.entries.first_key_value().map_or(self.next, |(first, _)| *first)
    }

    /// The heads of all lines, in no order, each with how many wait behind it.
    pub(super) fn heads(&self) -> impl Iterator<Item = (QueueOffset, usize)> {
        self.lines.values().map(|line| (line.head, line.followers.len()))
    }

    /// Whether an entry that joins this line now would be blocked.
    pub(super) fn has_line(&self, line: u32) -> bool {
        self.lines.contains_key(&line)
    }

    /// Takes in an entry that was not seen before; its offset is above all others.
    pub(super) fn insert(&mut self, offset: QueueOffset, entry: Entry) {
        match entry.stage {
            Stage::Blocked => self.blocked += 1,
            Stage::Ready => _ = self.ready.insert(offset),
            Stage::Leased(_) => self.leased += 1,
            Stage::Exhausted => {}
        }
        if entry.line != 0 {
            self.lines
                .entry(entry.line)
                .and_modify(|line| line.followers.push_back(offset))
                .or_insert_with(|| Line { head: offset, followers: VecDeque::new() });
        }
        let earlier = self.entries.insert(offset, entry);
        debug_assert!(earlier.is_none(), "entry {offset} was there already");
    }

    /// Moves an entry to another stage; `None` when it is finished.
    pub(super) fn set_stage(&mut self, offset: QueueOffset, stage: Stage, leases: &mut Leases) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&offset)?;
        let before = std::mem::replace(&mut entry.stage, stage);
        match before {
            Stage::Blocked => self.blocked -= 1,
            Stage::Ready => _ = self.ready.remove(&offset),
            Stage::Leased(lease) => {
                self.leased -= 1;
                leases.leave(lease);
            }
            Stage::Exhausted => {}
        }
        match stage {
            Stage::Blocked => self.blocked += 1,
            Stage::Ready => _ = self.ready.insert(offset),
            Stage::Leased(_) => self.leased += 1,
            Stage::Exhausted => {}
        }
        entry.is_held = false;
        Some(entry)
    }

    /// The entry is done; `None` when it was already, else whether its end made another one ready.
    pub(super) fn finish(&mut self, offset: QueueOffset, leases: &mut Leases) -> Option<bool> {
        let entry = self.entries.remove(&offset)?;
        self.aliases.forget(offset);
        match entry.stage {
            Stage::Blocked => self.blocked -= 1,
            Stage::Ready => _ = self.ready.remove(&offset),
            Stage::Leased(lease) => {
                self.leased -= 1;
                leases.leave(lease);
            }
            Stage::Exhausted => {}
        }
        Some(entry.line != 0 && self.leave_line(entry.line, offset))
    }

    /// Takes an entry out of its line and returns whether another one became its head.
    fn leave_line(&mut self, key: u32, offset: QueueOffset) -> bool {
        let line = self.lines.get_mut(&key).expect("the line of an unfinished entry");
        if line.head != offset {
            line.followers.retain(|follower| *follower != offset);
            return false;
        }
        let Some(head) = line.followers.pop_front() else {
            self.lines.remove(&key);
            return false;
        };
        line.head = head;
        let entry = self.entries.get_mut(&head).expect("a follower is unfinished");
        entry.stage = Stage::Ready;
        self.blocked -= 1;
        self.ready.insert(head);
        true
    }

    /// Drops the entries before `first`, which are gone from the queue.
    pub(super) fn trim(&mut self, first: QueueOffset, leases: &mut Leases) -> bool {
        let mut is_woken = false;
        while let Some((&offset, _)) = self.entries.first_key_value().filter(|(offset, _)| **offset < first) {
            is_woken |= self.finish(offset, leases).expect("an entry that was just seen");
        }
        self.next = self.next.max(first);
        is_woken
    }

    /// Drops all entries and their leases.
    pub(super) fn clear(&mut self, leases: &mut Leases) {
        for entry in std::mem::take(&mut self.entries).into_values() {
            if let Stage::Leased(lease) = entry.stage {
                leases.leave(lease);
            }
        }
        self.ready.clear();
        self.lines.clear();
        self.aliases.clear();
        (self.blocked, self.leased) = (0, 0);
    }

    /// Checks the invariants, entry by entry.
    #[cfg(test)]
    pub(super) fn assert_valid(&self) {
        let in_stage = |wanted: fn(&Stage) -> bool| self.entries.values().filter(|entry| wanted(&entry.stage)).count();
        assert_eq!(self.blocked, in_stage(|stage| *stage == Stage::Blocked));
        assert_eq!(self.leased, in_stage(|stage| matches!(stage, Stage::Leased(_))));
        let is_ready = |(offset, entry): (&QueueOffset, &Entry)| (entry.stage == Stage::Ready).then_some(*offset);
        assert!(self.entries.iter().filter_map(is_ready).eq(self.ready.iter().copied()));
        assert!(self.entries.last_key_value().is_none_or(|(last, _)| *last < self.next));
        self.aliases.assert_valid(&self.entries);
        let mut heads = BTreeSet::new();
        for (offset, entry) in self.entries.iter().filter(|(_, entry)| entry.line != 0) {
            let is_head = heads.insert(entry.line);
            assert_eq!(is_head, entry.stage != Stage::Blocked, "{offset} in line {}", entry.line);
            assert_eq!(is_head, self.lines[&entry.line].head == *offset, "{offset} in line {}", entry.line);
        }
        assert_eq!(heads.len(), self.lines.len());
    }
}
