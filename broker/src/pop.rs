//! The pop machine: which entry of which queue is leased to whom, for every (group, topic, queue).
//!
//! A plain value that does no I/O. Requests look at the state, push [`PopEvent`]s and apply them; the engine
//! journals those events, and applying them again gives the same durable state. Time is passed in. Queues are
//! seen through [`QueueView`], clients and group settings through [`Surroundings`]. Messages are redelivered in place: an
//! entry keeps its queue and offset until it is acked or dead-lettered.
//!
//! The engine's duties, in this order:
//! 1. when [`PopMachine::next_deadline`] has passed: [`PopMachine::expire`], and again while it still has passed;
//! 2. the requests;
//! 3. [`PopMachine::poll_dead_letter`] until `None`: append the copy, then [`PopMachine::finish`];
//! 4. [`PopMachine::poll_visible`] until `None`: try the receivers again that wait for that queue.
//!
//! After replay or restore, once, before the first request: [`PopMachine::recovered`].
//!
//! Source of the semantics: Apache's pop (`PopMessageProcessor`, `AckMessageProcessor`,
//! `ChangeInvisibleTimeProcessor`, `ConsumerOrderInfoManager`), with leases owned by the broker.

use std::sync::Arc;
use std::time::Duration;

use types::broker::{ClientId, LeaseError, LeaseOwner};
use types::receipt_handle::HandleSource;
use types::{Filter, GroupName, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, Timestamp, TopicName};

/// Most unfinished entries of a queue and group. Beyond it nothing new is leased, only what was before.
/// Source: Apache `popInflightMessageThreshold`.
pub const UNFINISHED_MAX: usize = 10_000;
/// Most entries of a queue and group that wait behind the head of their message group: how far is looked ahead
/// past blocked message groups.
pub const BLOCKED_MAX: usize = 2_000;
/// Most entries that one pop looks at in one queue; a filter that wants nothing costs no more than this at a time.
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
}

/// One leased entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
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
    pub fn handle(&self, broker: &str) -> ReceiptHandle {
        ReceiptHandle {
            start_offset: self.start_offset,
            popped_at: self.popped_at,
            invisible: self.invisible,
            revive_queue: if self.is_ordered { ReceiptHandle::REVIVE_QUEUE_FIFO } else { 0 },
            source: HandleSource::Topic,
            broker: broker.to_owned(),
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

/// A group's progress on a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The topic.
    pub topic: TopicName,
    /// The queue.
    pub queue: QueueId,
    /// The first unfinished offset.
    pub committed: QueueOffset,
    /// The first offset that was never looked at.
    pub next: QueueOffset,
    /// Entries that are leased or wait for their retry time.
    pub in_flight: u64,
}

/// A change of the machine's state that survives. See `pop/event.rs` for its byte form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PopEvent {
    /// A client acked.
    Placeholder,
}

impl PopEvent {
    /// Appends the byte form; it ends itself, so events follow each other without a frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        todo!()
    }
    /// Takes one event from the front of `input`.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }
}

/// Bytes that are not an event or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pop state is broken")]
pub struct DecodeError;

/// An event that does not fit the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pop event does not fit")]
pub struct ApplyError;

/// All leases of a broker.
#[derive(Debug, Default)]
pub struct PopMachine {}

impl PopMachine {
    pub fn new() -> Self {
        todo!()
    }
    /// Replays one event.
    pub fn apply(&mut self, event: &PopEvent) -> Result<(), ApplyError> {
        todo!()
    }
    /// After replay or restore.
    pub fn recovered(&mut self, now: Timestamp) {
        todo!()
    }
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        todo!()
    }
    pub fn restore(input: &[u8]) -> Result<Self, DecodeError> {
        todo!()
    }

    pub fn pop(&mut self, request: &PopRequest<'_>, view: &impl QueueView, now: Timestamp, events: &mut Vec<PopEvent>, leased: &mut Vec<Leased>) -> PopEnd {
        todo!()
    }
    pub fn ack(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle], events: &mut Vec<PopEvent>) -> Vec<Result<(), LeaseError>> {
        todo!()
    }
    /// Returns the new handle.
    pub fn change_invisible(&mut self, owner: &LeaseOwner, handle: &ReceiptHandle, invisible: Duration, now: Timestamp, events: &mut Vec<PopEvent>) -> Result<ReceiptHandle, LeaseError> {
        todo!()
    }
    /// DeliveryReport::written: memory only.
    pub fn hold(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle]) {
        todo!()
    }
    /// DeliveryReport::lost.
    pub fn release(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle], events: &mut Vec<PopEvent>) {
        todo!()
    }
    /// DeliveryReport::unwanted, and records that the SQL filter refuses.
    pub fn skip(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle], events: &mut Vec<PopEvent>) {
        todo!()
    }
    /// What a handle names, for a client's dead-letter request: `None` when it is finished or gone already.
    pub fn find(&self, owner: &LeaseOwner, handle: &ReceiptHandle) -> Result<Option<Unfinished>, LeaseError> {
        todo!()
    }
    /// The dead-letter copy is in the log (also on replay of that copy): the entry is finished; no event is made. False when it was finished already.
    pub fn finish(&mut self, owner: &LeaseOwner, queue: QueueId, offset: QueueOffset) -> bool {
        todo!()
    }
    pub fn expire(&mut self, now: Timestamp, surroundings: &impl Surroundings, events: &mut Vec<PopEvent>) {
        todo!()
    }
    pub fn client_gone(&mut self, client: &str, surroundings: &impl Surroundings, events: &mut Vec<PopEvent>) {
        todo!()
    }
    pub fn reset_to(&mut self, owner: &LeaseOwner, queue: QueueId, offset: QueueOffset, events: &mut Vec<PopEvent>) {
        todo!()
    }
    pub fn forget_group(&mut self, group: &GroupName, events: &mut Vec<PopEvent>) {
        todo!()
    }
    pub fn forget_topic(&mut self, topic: &TopicName, events: &mut Vec<PopEvent>) {
        todo!()
    }
    pub fn next_deadline(&self) -> Option<Timestamp> {
        todo!()
    }
    /// Gave up after attempts_max deliveries: append the copy, then `finish`.
    pub fn poll_dead_letter(&mut self) -> Option<Unfinished> {
        todo!()
    }
    /// Something of this queue became visible for this group.
    pub fn poll_visible(&mut self) -> Option<(LeaseOwner, QueueId)> {
        todo!()
    }
    pub fn committed(&self, owner: &LeaseOwner, queue: QueueId) -> Option<QueueOffset> {
        todo!()
    }
    pub fn progress(&self, group: &GroupName) -> Vec<Progress> {
        todo!()
    }
}
