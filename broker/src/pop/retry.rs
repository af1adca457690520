//! Moves to the retry topic: which entries, what becomes of them, and under which handles they are still known.
//!
//! An entry that would pin its group's progress for long is appended again to the group's retry topic for its topic, with
//! the deliveries counted so far. That record alone decides: applying it finishes the entry and makes the copy unfinished
//! in the entry's place, with its lease. Ordered entries are never moved.
//!
//! **Handles.** Until the copy is delivered anew, the current delivery is still that of the moved entry, and so handles that
//! name the entry must go on working. The retry queue's slot keeps that name as the copy's **alias**; it goes when the
//! copy is delivered anew or finished. A copy that is moved once more before that takes the alias along. So there is at most
//! one alias a copy, about 100 bytes; they are part of the snapshot.

use std::collections::BTreeMap;

use types::broker::LeaseOwner;
use types::topic::RETRY_QUEUE;
use types::{GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::event::{Offsets, PopEvent, SlotId};
use super::slot::{Entry, Slot, Stage};
use super::{MOVE_DELAY, PopMachine, RETRIES_MAX, SPAN_MAX, Unfinished};

/// An entry of a group's topic, or of the group's retry topic for that topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Whether it is in the retry topic.
    pub is_retry: bool,
    /// Its queue there.
    pub queue: QueueId,
    /// Its offset there.
    pub offset: QueueOffset,
}

/// Where handles of a retry queue's copies come from. Empty in all other slots.
///
/// Invariant: both maps hold the same pairs.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    origins: BTreeMap<QueueOffset, Origin>,
    copies: BTreeMap<Origin, QueueOffset>,
}

impl Aliases {
    /// Names a copy; `false` when it or the name is known already.
    pub(super) fn insert(&mut self, copy: QueueOffset, origin: Origin) -> bool {
        if self.origins.contains_key(&copy) || self.copies.contains_key(&origin) {
            return false;
        }
        self.origins.insert(copy, origin);
        self.copies.insert(origin, copy);
        true
    }

    /// The copy was delivered anew or is finished.
    pub(super) fn forget(&mut self, copy: QueueOffset) {
        if let Some(origin) = self.origins.remove(&copy) {
            self.copies.remove(&origin);
        }
    }

    /// The group's progress on a queue was set: entries there may be delivered anew themselves.
    fn forget_queue(&mut self, queue: QueueId) {
        let at = |offset| Origin { is_retry: false, queue, offset };
        let of_queue = self.copies.range(at(QueueOffset(0))..=at(QueueOffset(u64::MAX)));
        let copies: Vec<_> = of_queue.map(|(_, copy)| *copy).collect();
        copies.into_iter().for_each(|copy| self.forget(copy));
    }

    pub(super) fn clear(&mut self) {
        self.origins.clear();
        self.copies.clear();
    }

    pub(super) fn copy_of(&self, origin: Origin) -> Option<QueueOffset> {
        self.copies.get(&origin).copied()
    }

    /// All of them by copy.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (QueueOffset, Origin)> {
        self.origins.iter().map(|(copy, origin)| (*copy, *origin))
    }

    #[cfg(test)]
    pub(super) fn assert_valid(&self, entries: &BTreeMap<QueueOffset, Entry>) {
        assert!(self.origins.iter().all(|(copy, origin)| self.copies[origin] == *copy && entries.contains_key(copy)));
        assert_eq!(self.origins.len(), self.copies.len());
    }
}

/// What the copy of an entry must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The group and its retry topic.
    pub retry: LeaseOwner,
    /// The entry.
    pub origin: Origin,
    /// Deliveries that were counted, the current one included unless it is suspended.
    pub attempts: u32,
    /// When the current delivery began; `None` before the first.
    pub popped_at: Option<Timestamp>,
}

/// A place among all unfinished entries; begin with the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    slot: u32,
    offset: QueueOffset,
}

impl Cursor {
    /// Passes over the rest of the queue that it is in.
    pub fn skip_queue(&mut self) {
        *self = Self { slot: self.slot + 1, offset: QueueOffset(0) };
    }
}

/// What [`PopMachine::look`] finds.
#[derive(Debug)]
pub enum Look {
    /// An unfinished entry, and whether it may be moved.
    Entry(Unfinished, bool),
    /// Nothing more in this queue: look on.
    NextQueue,
    /// That were all.
    End,
}

impl PopMachine {
    /// Whether [`PopMachine::poll_move`] may have something.
    #[must_use]
    pub fn has_moves(&self) -> bool {
        !self.delayed.is_empty() || !self.wide.is_empty()
    }

    /// An entry to move to the retry topic: it waits longer than [`MOVE_DELAY`], or is the first of a span longer
    /// than [`SPAN_MAX`]. Each is returned once, and once more after [`PopMachine::recovered`].
    pub fn poll_move(&mut self, now: Timestamp) -> Option<Unfinished> {
        while let Some((id, offset)) = self.delayed.pop_first() {
            if let Some(slot) = self.slots.get(id).filter(|_| self.is_delayed(id, offset, now))
                && self.has_retry_room(slot)
            {
                return Some(unfinished(slot, offset, &slot.entries[&offset]));
            }
        }
        while let Some(id) = self.wide.pop_first() {
            if let Some(slot) = self.slots.get(id)
                && let Some((offset, entry)) = first_of_span(slot)
                && self.has_retry_room(slot)
            {
                return Some(unfinished(slot, offset, entry));
            }
        }
        None
    }

    /// A move could not be made now: [`PopMachine::poll_move`] returns it again as long as it has a reason to.
    pub fn move_later(&mut self, entry: &Unfinished) {
        if let Some(id) = self.slots.find(&entry.owner, entry.queue) {
            self.delayed.insert((id, entry.offset));
            self.wide.insert(id);
        }
    }

    /// What the copy of an entry must say; `None` when the entry is finished, given up, or may not be moved.
    #[must_use]
    pub fn plan_move(&self, entry: &Unfinished) -> Option<Move> {
        let slot = self.slots.get(self.slots.find(&entry.owner, entry.queue)?)?;
        let found = slot.entries.get(&entry.offset).filter(|found| is_movable(found))?;
        Some(Move {
            retry: LeaseOwner { group: slot.owner.group.clone(), topic: retry_topic(slot)? },
            origin: Origin { is_retry: slot.is_retry, queue: slot.queue, offset: entry.offset },
            attempts: u32::from(found.attempts).saturating_sub(self.is_suspended(found).into()),
            popped_at: (found.popped_at != Timestamp::FAR_FUTURE).then_some(found.popped_at),
        })
    }

    fn is_suspended(&self, entry: &Entry) -> bool {
        matches!(entry.stage, Stage::Leased(lease) if self.leases.get(lease).is_suspended)
    }

    /// Whether others wait behind an entry, or it behind them.
    #[must_use]
    pub fn is_ordered(&self, entry: &Unfinished) -> bool {
        let slot = self.slots.find(&entry.owner, entry.queue).and_then(|id| self.slots.get(id));
        slot.and_then(|slot| slot.entries.get(&entry.offset)).is_some_and(|found| found.line != 0)
    }

    /// Finishes an entry that is not for its group after all, or of which nothing is left to keep; one that was finished
    /// meanwhile is passed over, too.
    pub fn pass_over(&mut self, entry: &Unfinished, events: &mut Vec<PopEvent>) {
        let Some(id) = self.slots.find(&entry.owner, entry.queue) else { return };
        if self.slots.get(id).is_some_and(|slot| slot.entries.contains_key(&entry.offset)) {
            self.commit(PopEvent::Finished { slot: id, offsets: Offsets::from_slice(&[entry.offset]) }, events);
        }
    }

    /// How far a group has looked into its retry topic; `None` before its first entry there.
    #[must_use]
    pub fn retry_next(&self, retry: &LeaseOwner) -> Option<QueueOffset> {
        Some(self.slots.get(self.slots.find(retry, RETRY_QUEUE)?)?.next)
    }

    /// The copy of an entry is in the log at `copy` of its retry queue, now or on replay: the entry is finished, the copy
    /// is unfinished in its place. That record says so, hence there is no event. Returns whether the entry was unfinished;
    /// if not, the copy is finished too.
    pub fn moved(&mut self, retry: &LeaseOwner, origin: Origin, copy: QueueOffset) -> bool {
        let topic = if origin.is_retry { Some(retry.topic.as_str()) } else { retry.topic.retried(&retry.group) };
        let source = topic.and_then(|topic| self.slots.find_in(retry.group.as_str(), topic, origin.queue));
        let entry = source.and_then(|id| self.slots.get(id)?.entries.get(&origin.offset).copied());
        let Some((source, entry)) = source.zip(entry.filter(is_movable)) else {
            if let Some(id) = self.slots.find(retry, RETRY_QUEUE) {
                self.take_in_before(id, copy);
            }
            return false;
        };
        let id = self.begin_retry(retry, copy);
        self.take_in_before(id, copy);
        let stage = match entry.stage {
            Stage::Leased(lease) => Stage::Leased(self.leases.carry(lease, id)),
            stage => stage,
        };
        let source_slot = self.slots.get(source).expect("the slot of an entry that was just seen");
        let last_pop = source_slot.last_pop;
        let name = source_slot.aliases.origins.get(&origin.offset).copied().unwrap_or(origin);
        self.finish_entry(source, origin.offset).expect("an entry that was just seen");
        let slot = self.slots.get_mut(id).expect("a slot that was just begun");
        if let Stage::Leased(lease) = stage {
            self.leases.enter(lease, copy);
        }
        slot.insert(copy, Entry { stage, ..entry });
        slot.last_pop = slot.last_pop.max(last_pop);
        if entry.popped_at != Timestamp::FAR_FUTURE {
            slot.aliases.insert(copy, name);
        }
        if stage == Stage::Ready {
            self.visible.insert(id);
        }
        self.note_span(source);
        true
    }

    /// A copy of a dead letter is in the log at `copy` of the group's retry queue, now or on replay: it can be leased, as if it had never been
    /// delivered. That record says so, hence there is no event.
    pub fn redriven(&mut self, retry: &LeaseOwner, copy: QueueOffset) {
        let id = self.begin_retry(retry, copy);
        self.take_in_before(id, copy);
        self.slots.get_mut(id).expect("a slot that was just begun").insert(copy, Entry::new(Stage::Ready));
        self.visible.insert(id);
    }

    /// Whether a group's retry queue takes one more.
    #[must_use]
    pub fn has_room_in(&self, retry: &LeaseOwner) -> bool {
        let slot = self.slots.find(retry, RETRY_QUEUE).and_then(|id| self.slots.get(id));
        slot.is_none_or(|slot| slot.entries.len() < RETRIES_MAX)
    }

    /// The number of a group's retry queue, which begins with the group's first copy in it.
    fn begin_retry(&mut self, retry: &LeaseOwner, copy: QueueOffset) -> SlotId {
        self.slots.find(retry, RETRY_QUEUE).unwrap_or_else(|| {
            let id = self.slots.next_id();
            let is_new = self.slots.insert(id, Slot::new(retry.clone(), RETRY_QUEUE, copy));
            debug_assert!(is_new, "a free number for a queue without one");
            id
        })
    }

    /// What others wrote into the retry queue before this copy can be leased; the copy itself is looked at.
    fn take_in_before(&mut self, id: SlotId, copy: QueueOffset) {
        let slot = self.slots.get_mut(id).expect("a slot that was just looked up");
        for offset in (slot.next.0..copy.0).map(QueueOffset) {
            slot.insert(offset, Entry::new(Stage::Ready));
            self.visible.insert(id);
        }
        slot.next = slot.next.max(copy.next());
    }

    /// Retry queues that may have got something that can be handed out now: to be called when the log shows it.
    pub fn retries_arrived(&mut self, topic: &TopicName) {
        for group in topic.retry_groups() {
            if let Some(id) = self.slots.find_in(group, topic.as_str(), RETRY_QUEUE) {
                self.slots.get_mut(id).expect("a slot that was just found").is_unread = true;
                self.visible.insert(id);
            }
        }
    }

    /// The retry topics of a group.
    #[must_use]
    pub fn retries_of_group(&self, group: &GroupName) -> Vec<TopicName> {
        self.retry_topics(self.slots.of_group(group))
    }

    /// The retry topics of all groups for a topic.
    #[must_use]
    pub fn retries_of_topic(&self, topic: &TopicName) -> Vec<TopicName> {
        self.retry_topics(self.slots.of_topic(topic))
    }

    fn retry_topics(&self, ids: Vec<SlotId>) -> Vec<TopicName> {
        let retries = ids.into_iter().filter_map(|id| self.slots.get(id)).filter(|slot| slot.is_retry);
        retries.map(|slot| slot.owner.topic.clone()).collect()
    }

    /// Whether a group has anything in a topic.
    #[must_use]
    pub fn is_consumed(&self, topic: &TopicName) -> bool {
        !self.slots.of_topic(topic).is_empty()
    }

    /// The unfinished entry at or after `cursor`, which moves past it. Queues come by their numbers, so one that is begun
    /// meanwhile may be missed.
    pub fn look(&self, cursor: &mut Cursor) -> Look {
        if cursor.slot >= self.slots.end() {
            return Look::End;
        }
        let slot = self.slots.get(SlotId(cursor.slot));
        match slot.and_then(|slot| Some((slot, slot.entries.range(cursor.offset..).next()?))) {
            Some((slot, (offset, entry))) => {
                cursor.offset = offset.next();
                Look::Entry(unfinished(slot, *offset, entry), is_movable(entry))
            }
            None => {
                cursor.skip_queue();
                Look::NextQueue
            }
        }
    }

    /// Notes an entry that waits so long that it is better moved.
    pub(super) fn note_delay(&mut self, id: SlotId, offset: QueueOffset, delay: std::time::Duration) {
        let slot = self.slots.get(id).expect("the slot of a changed entry");
        if delay > MOVE_DELAY && !slot.is_retry && slot.entries[&offset].line == 0 {
            self.delayed.insert((id, offset));
        }
    }

    /// Notes a queue whose unfinished entries lie so far apart that the first is better moved.
    pub(super) fn note_span(&mut self, id: SlotId) {
        if self.slots.get(id).is_some_and(|slot| first_of_span(slot).is_some()) {
            self.wide.insert(id);
        }
    }

    /// After replay: what there is to move.
    pub(super) fn note_all_moves(&mut self, now: Timestamp) {
        self.delayed.clear();
        self.wide.clear();
        let in_place = self.slots.iter().filter(|(_, slot)| !slot.is_retry);
        for (id, slot) in in_place {
            if first_of_span(slot).is_some() {
                self.wide.insert(id);
            }
            for (offset, entry) in slot.entries.iter().filter(|(_, entry)| is_movable(entry)) {
                let Stage::Leased(lease) = entry.stage else { continue };
                let lease = self.leases.get(lease);
                if lease.holder.is_none() && lease.visible_at.since(now) > MOVE_DELAY {
                    self.delayed.insert((id, *offset));
                }
            }
        }
    }

    /// The group's progress on a queue was set.
    pub(super) fn forget_aliases_of(&mut self, id: SlotId) {
        let slot = self.slots.get(id).expect("the slot of an event");
        let queue = slot.queue;
        if let Some(retry) = self.slots.retry(&slot.owner) {
            self.slots.get_mut(retry).expect("the slot of a number").aliases.forget_queue(queue);
        }
    }

    fn is_delayed(&self, id: SlotId, offset: QueueOffset, now: Timestamp) -> bool {
        let entry = self.slots.get(id).filter(|slot| !slot.is_retry).and_then(|slot| slot.entries.get(&offset));
        let Some(Entry { stage: Stage::Leased(lease), line: 0, .. }) = entry else { return false };
        let lease = self.leases.get(*lease);
        lease.holder.is_none() && lease.visible_at > now
    }

    fn has_retry_room(&self, slot: &Slot) -> bool {
        let retry = self.slots.retry(&slot.owner).and_then(|retry| self.slots.get(retry));
        retry.is_none_or(|retry| retry.entries.len() < RETRIES_MAX)
    }
}

/// Whether an entry may go to the retry topic: nothing waits behind it, and it is not on its way to another one.
fn is_movable(entry: &Entry) -> bool {
    entry.line == 0 && entry.stage != Stage::Exhausted
}

/// The retry topic for a slot's entries; that of a retry queue is its own.
fn retry_topic(slot: &Slot) -> Option<TopicName> {
    if slot.is_retry {
        return Some(slot.owner.topic.clone());
    }
    TopicName::retry(&slot.owner.group, &slot.owner.topic)
}

/// The entry that holds a queue's progress back too far.
fn first_of_span(slot: &Slot) -> Option<(QueueOffset, &Entry)> {
    let (first, entry) = slot.entries.first_key_value()?;
    let is_wide = !slot.is_retry && slot.next.0 - first.0 > SPAN_MAX;
    (is_wide && is_movable(entry)).then_some((*first, entry))
}

fn unfinished(slot: &Slot, offset: QueueOffset, entry: &Entry) -> Unfinished {
    Unfinished { owner: slot.owner.clone(), queue: slot.queue, offset, attempts: u32::from(entry.attempts) }
}
