//! The pop machine: which entry of which queue is leased to whom, for every (group, topic, queue).
//!
//! A plain value that does no I/O. Requests look at the state, push [`PopEvent`]s and apply them; the engine
//! journals those events, and applying them again gives the same durable state. Time is passed in. Queues are
//! seen through [`QueueView`], clients and group settings through [`Surroundings`]. Messages are redelivered in place, or as
//! a copy in the group's retry topic when they would hold its progress back for long (`pop/retry.rs`).
//!
//! The engine's duties, in this order:
//! 1. when [`PopMachine::next_deadline`] has passed: [`PopMachine::expire`], and again while it still has passed;
//! 2. the requests;
//! 3. [`PopMachine::poll_dead_letter`] until `None`: append the copy, then [`PopMachine::finish`];
//! 4. [`PopMachine::poll_move`] until `None`: append the copy, then [`PopMachine::moved`];
//! 5. [`PopMachine::poll_visible`] until `None`: try the receivers again that wait for that queue.
//!
//! After replay or restore, once, before the first request: [`PopMachine::recovered`].
//!
//! Source of the semantics: Apache's pop (`PopMessageProcessor`, `AckMessageProcessor`,
//! `ChangeInvisibleTimeProcessor`, `ConsumerOrderInfoManager`), with leases owned by the broker.

mod apply;
mod blocking;
mod codec;
pub mod event;
mod expire;
mod lease;
mod look;
mod lookup;
mod present;
mod retry;
mod slot;
mod snapshot;
mod take;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use types::broker::{ClientId, LeaseOwner};
use types::receipt_handle::HandleSource;
use types::{Filter, GroupName, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, Timestamp, TopicName};

pub use apply::ApplyError;
pub use codec::DecodeError;
pub use event::PopEvent;
pub use retry::{Cursor, Look, Move, Origin};

use event::SlotId;
use lease::Leases;
use lookup::Slots;
use slot::Stage;

/// Most unfinished entries of a queue and group. Beyond it nothing new is leased, only what was before.
/// Source: Apache `popInflightMessageThreshold`.
pub const UNFINISHED_MAX: usize = 10_000;
/// Most entries of a group in its retry queue for a topic. Beyond it nothing more is moved there unless retention must,
/// and nothing new of the topic is leased.
pub const RETRIES_MAX: usize = 100_000;
/// Longest wait for the next delivery that an entry spends in its queue; one that waits longer is moved to the retry topic.
pub const MOVE_DELAY: Duration = Duration::from_secs(60);
/// Longest distance from the first unfinished entry to the first that was never looked at; beyond it the first is moved.
pub const SPAN_MAX: u64 = 100_000;
/// Most entries of a queue and group that wait behind the head of their message group: how far is looked ahead
/// past blocked message groups.
pub const BLOCKED_MAX: usize = 2_000;
/// Most entries that one pop looks at in one queue; a filter that wants nothing costs no more than this at a time. A journal
/// event that says more is refused as damaged, so it may only rise from version to version.
pub const SCAN_ENTRIES_MAX: usize = 4_096;
/// Most leases that one [`PopMachine::expire`] ends.
pub const EXPIRE_LEASES_MAX: usize = 1_000;
/// Longest time that a delivery is prolonged, whatever the group's consume timeout.
/// Source: Apache `renewMaxTimeMillis`.
pub const RENEW_TOTAL_MAX: Duration = Duration::from_secs(3 * 60 * 60);

/// One entry of a queue as its index has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// Its place in the queue.
    pub offset: QueueOffset,
    /// Its record.
    pub physical_offset: PhysicalOffset,
    /// The record's length in bytes.
    pub size: u32,
    /// Java hash of its tag, 0 without one.
    pub tag_hash: i64,
    /// Hash of its message group, 0 without one. Groups of equal hash are one group here.
    pub group_hash: u32,
}

/// The queues as the machine needs to see them.
pub trait QueueView {
    /// A queue's first offset and its end: the entries between them may be handed out.
    fn range(&self, topic: &TopicName, queue: QueueId) -> (QueueOffset, QueueOffset);

    /// Where entries stay: those before are about to expire, and are not leased if they never were, see
    /// [`PopMachine::expiry_ended`].
    fn stays_from(&self, topic: &TopicName, queue: QueueId) -> QueueOffset {
        self.range(topic, queue).0
    }

    /// Where the queue of the topic that is there now began, which is behind what an earlier one of its name had.
    fn floor(&self, _topic: &TopicName, _queue: QueueId) -> QueueOffset {
        QueueOffset(0)
    }

    /// Where the group is that has only pulled from the queue until now; `None` when it has not.
    fn pulled_to(&self, _owner: &LeaseOwner, _queue: QueueId) -> Option<QueueOffset> {
        None
    }

    /// Appends the entries from `from` on to `entries`, in order and without gaps, at most `max` and none at or
    /// after the end.
    fn read(&self, topic: &TopicName, queue: QueueId, from: QueueOffset, max: usize, entries: &mut Vec<QueueEntry>);
}

/// What decides about the end of a lease besides time.
pub trait Surroundings {
    /// Whether the client was heard of lately.
    fn is_alive(&self, client: &str) -> bool;

    /// The group's limits; `None` when the group is gone, then its leases just end.
    fn limits(&self, group: &GroupName) -> Option<GroupLimits>;
}

/// The settings of a group that decide about the end of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLimits {
    /// Deliveries of one message before it goes to the dead-letter topic.
    pub attempts_max: u32,
    /// How long a delivery may be prolonged in all.
    pub consume_timeout: Duration,
}

/// Which queues of a topic a pop looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopQueues {
    /// This one.
    One(QueueId),
    /// All, this many; each pop begins at another one.
    Any(u32),
    /// All, this many, always from the last to the first: a later queue holds messages of higher priority.
    Ranked(u32),
}

/// What a consumer wants leased now.
#[derive(Clone, Copy, Debug)]
pub struct PopRequest<'a> {
    /// For which group, from which topic.
    pub owner: &'a LeaseOwner,
    /// From which queues.
    pub queues: PopQueues,
    /// At most so many.
    pub messages_max: u32,
    /// How long they stay invisible.
    pub invisible: Duration,
    /// To whom.
    pub client: &'a ClientId,
    /// Whether to prolong what was written to the client as long as it lives.
    pub auto_renew: bool,
    /// What is wanted. Only tag hashes are looked at; the rest is reported by [`PopMachine::skip`].
    pub filter: &'a Filter,
    /// The client's name for this attempt.
    pub attempt_id: Option<&'a Arc<str>>,
    /// Whether the group consumes in order (then messages without message group are one group a queue).
    pub is_fifo: bool,
    /// Whether a group that never consumed from a queue begins at its first message wherever that is.
    pub begins_at_first: bool,
}

/// One leased entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Whether it is of the topic or of the group's retry topic.
    pub source: HandleSource,
    /// Its queue.
    pub queue: QueueId,
    /// The entry, with the place of its record.
    pub entry: QueueEntry,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    /// When it was popped, for the handle.
    pub popped_at: Timestamp,
    /// How long it is invisible, for the handle.
    pub invisible: Duration,
    /// First offset of the pop in that queue, for the handle.
    pub start_offset: QueueOffset,
    /// Whether others wait behind it.
    pub is_ordered: bool,
}

impl Leased {
    /// The handle that the consumer presents later.
    #[must_use]
    pub fn handle(&self, broker: &Arc<str>) -> ReceiptHandle {
        ReceiptHandle {
            start_offset: self.start_offset,
            popped_at: self.popped_at,
            invisible: self.invisible,
            revive_queue: if self.is_ordered { ReceiptHandle::REVIVE_QUEUE_FIFO } else { 0 },
            source: self.source,
            broker: Arc::clone(broker),
            queue: self.queue,
            offset: self.entry.offset,
            physical_offset: Some(self.entry.physical_offset),
        }
    }
}

/// Why a pop stopped looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopEnd {
    /// It has as many as were wanted, or there are no more to be had.
    Done,
    /// [`SCAN_ENTRIES_MAX`] was reached in a queue: ask again without waiting for an arrival.
    ScanLimit,
}

/// An entry that is not finished, named by a handle or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Its group and topic.
    pub owner: LeaseOwner,
    /// Its queue.
    pub queue: QueueId,
    /// Its offset there.
    pub offset: QueueOffset,
    /// How often it was delivered.
    pub attempts: u32,
}

/// Where a group is with an entry of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its pops have not come that far, or it never popped from the queue.
    Unread,
    /// It is leased, waits, or is to be had; where it is now.
    Unfinished(Unfinished),
    /// Its pops are done with it.
    Finished,
}

/// A group's progress on a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The topic.
    pub topic: TopicName,
    /// The queue, of the topic or of the group's retry topic for it.
    pub queue: QueueId,
    /// Whether it is the retry topic's.
    pub is_retry: bool,
    /// The first unfinished offset.
    pub committed: QueueOffset,
    /// The first offset that was never looked at.
    pub next: QueueOffset,
    /// Entries that are leased or wait for their retry time.
    pub in_flight: u64,
}

/// The leases of all groups on all queues.
///
/// What is durable: everything that events changed and a snapshot holds. What is not: which deliveries are held,
/// how far leases were prolonged, at which queue the next pop begins, what is still to be polled.
#[derive(Debug, Default)]
pub struct PopMachine {
    slots: Slots,
    leases: Leases,
    /// Where something became visible since it was last polled.
    visible: BTreeSet<SlotId>,
    /// What was given up since it was last polled; an entry may have ended otherwise since.
    exhausted: VecDeque<(SlotId, QueueOffset)>,
    /// Queues of which a pop got nothing new, because that is about to expire.
    held_back: BTreeSet<SlotId>,
    /// What waits long for its next delivery and is still to be moved; at most the unfinished entries.
    delayed: BTreeSet<(SlotId, QueueOffset)>,
    /// Where unfinished entries lie far apart, so that the first is still to be moved.
    wide: BTreeSet<SlotId>,
    /// Where index entries are read to; kept for its memory only.
    read_buffer: Vec<QueueEntry>,
}

impl Progress {
    /// By what the progress of a group is ordered.
    pub(crate) fn place(&self) -> (&TopicName, bool, QueueId) {
        (&self.topic, self.is_retry, self.queue)
    }
}

impl PopMachine {
    /// A machine that no group has consumed from yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When [`PopMachine::expire`] wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.leases.first_deadline().map(|(deadline, _)| deadline)
    }

    /// An entry that was delivered as often as allowed: store its dead-letter copy, then [`PopMachine::finish`] it.
    /// Each is returned once, and once more after [`PopMachine::recovered`].
    pub fn poll_dead_letter(&mut self) -> Option<Unfinished> {
        while let Some((id, offset)) = self.exhausted.pop_front() {
            let Some(slot) = self.slots.get(id) else { continue };
            let entry = slot.entries.get(&offset).filter(|entry| entry.stage == Stage::Exhausted);
            if let Some(entry) = entry {
                let attempts = u32::from(entry.attempts);
                return Some(Unfinished { owner: slot.owner.clone(), queue: slot.queue, offset, attempts });
            }
        }
        None
    }

    /// A queue where something became visible for a group, or where it may look further again.
    pub fn poll_visible(&mut self) -> Option<(LeaseOwner, QueueId)> {
        while let Some(id) = self.visible.pop_first() {
            if let Some(slot) = self.slots.get(id) {
                return Some((slot.owner.clone(), slot.queue));
            }
        }
        None
    }

    /// What was about to expire has, or does not after all: who waits for new entries behind it looks again.
    pub fn expiry_ended(&mut self) {
        self.visible.append(&mut self.held_back);
    }

    /// Entries that are leased or wait for their retry time, of all groups. Looks at every queue that a group consumed
    /// from.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.slots.iter().map(|(_, slot)| slot.leased as u64).sum()
    }

    /// Entries that were looked at and are not finished, of all groups.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.slots.iter().map(|(_, slot)| slot.entries.len() as u64).sum()
    }

    /// A group's first unfinished offset on a queue; `None` when it never consumed from it.
    #[must_use]
    pub fn committed(&self, owner: &LeaseOwner, queue: QueueId) -> Option<QueueOffset> {
        self.slots.get(self.slots.find(owner, queue)?).map(slot::Slot::committed)
    }

    /// Whether messages of the topic, or of the group's retries of it, are with the group's clients or wait for their next delivery.
    #[must_use]
    pub fn has_leases(&self, owner: &LeaseOwner) -> bool {
        self.slots.of_owner(owner).any(|slot| slot.leased > 0)
    }

    /// The first unfinished offset of every group on every queue, and whether anything was ever leased there.
    pub fn all_committed(&self) -> impl Iterator<Item = (&LeaseOwner, QueueId, QueueOffset, bool)> {
        self.slots.iter().map(|(_, slot)| {
            let is_consumed = slot.last_pop != Timestamp::default();
            (&slot.owner, slot.queue, slot.committed(), is_consumed)
        })
    }

    /// A group's progress on all queues that it consumed from, by topic and queue; after a topic's queues the retry queue.
    #[must_use]
    pub fn progress(&self, group: &GroupName) -> Vec<Progress> {
        let of_slot = |id| {
            let slot = self.slots.get(id)?;
            Some(Progress {
                topic: slot.retried_topic().unwrap_or_else(|| slot.owner.topic.clone()),
                queue: slot.queue,
                is_retry: slot.is_retry,
                committed: slot.committed(),
                next: slot.next,
                in_flight: slot.leased as u64,
            })
        };
        let mut progress: Vec<_> = self.slots.of_group(group).into_iter().filter_map(of_slot).collect();
        progress.sort_by(|a, b| a.place().cmp(&b.place()));
        progress
    }

    /// Whether a group was ever leased a message of the topic; one that pulls was not.
    #[must_use]
    pub fn pops(&self, owner: &LeaseOwner) -> bool {
        let mut slots = self.slots.of_owner(owner);
        self.slots.retry(owner).is_some() || slots.any(|slot| slot.last_pop != Timestamp::default())
    }

    /// Sets a group's progress on a queue, begun or not; all its leases there end.
    pub fn reset_to(&mut self, owner: &LeaseOwner, queue: QueueId, offset: QueueOffset, events: &mut Vec<PopEvent>) {
        let event = match self.slots.find(owner, queue) {
            Some(slot) => PopEvent::Reset { slot, offset },
            None => PopEvent::Began { slot: self.slots.next_id(), owner: owner.clone(), queue, start: offset },
        };
        self.commit(event, events);
    }

    /// The topics in which a group has a place, in no order.
    pub fn topics_of_group(&self, group: &GroupName) -> impl Iterator<Item = &TopicName> {
        self.slots.topics_of_group(group)
    }

    /// Drops all that is known of a deleted group.
    pub fn forget_group(&mut self, group: &GroupName, events: &mut Vec<PopEvent>) {
        for slot in self.slots.of_group(group) {
            self.commit(PopEvent::Forgot { slot }, events);
        }
    }

    /// Drops all groups' state on a deleted topic, their retry queues included.
    pub fn forget_topic(&mut self, topic: &TopicName, events: &mut Vec<PopEvent>) {
        for slot in self.slots.of_topic(topic) {
            self.commit(PopEvent::Forgot { slot }, events);
        }
    }

    /// Makes an event and applies it.
    fn commit(&mut self, event: PopEvent, events: &mut Vec<PopEvent>) {
        self.apply(&event).expect("an event that was made from this state fits it");
        events.push(event);
    }
}
