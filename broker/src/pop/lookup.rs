//! Slots by number, and by group, topic and queue.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use types::broker::LeaseOwner;
use types::{GroupName, QueueId, TopicName};

use super::event::SlotId;
use super::slot::Slot;

/// All slots. The maps are only looked into, never walked where order could matter.
#[derive(Debug, Default)]
pub(super) struct Slots {
    places: Vec<Option<Box<Slot>>>,
    free: BTreeSet<SlotId>,
    by_group: HashMap<GroupName, HashMap<TopicName, Topic, FixedState>, FixedState>,
}

/// A group's slots on one topic.
#[derive(Debug, Default)]
struct Topic {
    /// By queue.
    slots: Vec<Option<SlotId>>,
    /// Where the next pop from any queue begins. Not durable.
    rotation: u32,
}

impl Slots {
    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.places.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.places.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn find(&self, owner: &LeaseOwner, queue: QueueId) -> Option<SlotId> {
        let topic = self.by_group.get(&owner.group)?.get(&owner.topic)?;
        *topic.slots.get(queue.0 as usize)?
    }

    /// Whether the group has consumed from each of the topic's first `queues` queues.
    pub(super) fn has_all(&self, owner: &LeaseOwner, queues: u32) -> bool {
        let topic = self.by_group.get(&owner.group).and_then(|topics| topics.get(&owner.topic));
        topic
            .and_then(|topic| topic.slots.get(..queues as usize))
            .is_some_and(|slots| slots.iter().all(Option::is_some))
    }

    /// Where a pop from any of so many queues begins, the next one after the queue of the last.
    pub(super) fn rotation(&self, owner: &LeaseOwner) -> u32 {
        let topic = self.by_group.get(&owner.group).and_then(|topics| topics.get(&owner.topic));
        topic.map_or(0, |topic| topic.rotation)
    }

    pub(super) fn set_rotation(&mut self, owner: &LeaseOwner, rotation: u32) {
        let topic = self.by_group.get_mut(&owner.group).and_then(|topics| topics.get_mut(&owner.topic));
        if let Some(topic) = topic {
            topic.rotation = rotation;
        }
    }

    /// The number that the next slot gets: the lowest free one, so that replay numbers alike.
    pub(super) fn next_id(&self) -> SlotId {
        let end = || SlotId(u32::try_from(self.places.len()).expect("slot numbers are 32 bits wide"));
        self.free.first().copied().unwrap_or_else(end)
    }

    /// Puts a slot at a number; `false` when the number or the queue is taken.
    pub(super) fn insert(&mut self, id: SlotId, slot: Slot) -> bool {
        let topics = self.by_group.entry(slot.owner.group.clone()).or_default();
        let slots = &mut topics.entry(slot.owner.topic.clone()).or_default().slots;
        let queue = slot.queue.0 as usize;
        if slots.len() <= queue {
            slots.resize(queue + 1, None);
        }
        if slots[queue].is_some() || self.places.get(id.0 as usize).is_some_and(Option::is_some) {
            return false;
        }
        slots[queue] = Some(id);
        let end = self.places.len();
        if id.0 as usize >= end {
            self.places.resize_with(id.0 as usize + 1, || None);
            self.free.extend((end..id.0 as usize).filter_map(|free| u32::try_from(free).ok().map(SlotId)));
        }
        self.free.remove(&id);
        self.places[id.0 as usize] = Some(Box::new(slot));
        true
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<Box<Slot>> {
        let slot = self.places.get_mut(id.0 as usize)?.take()?;
        self.free.insert(id);
        let topics = self.by_group.get_mut(&slot.owner.group).expect("the group of a slot");
        let topic = topics.get_mut(&slot.owner.topic).expect("the topic of a slot");
        topic.slots[slot.queue.0 as usize] = None;
        if topic.slots.iter().all(Option::is_none) {
            topics.remove(&slot.owner.topic);
        }
        if topics.is_empty() {
            self.by_group.remove(&slot.owner.group);
        }
        // So that a restored machine and this one number their next slot alike.
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
            self.free.pop_last();
        }
        Some(slot)
    }

    /// All slots by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.places.iter().zip(0..).filter_map(|(place, id)| Some((SlotId(id), place.as_deref()?)))
    }

    /// A group's slots by number.
    pub(super) fn of_group(&self, group: &GroupName) -> Vec<SlotId> {
        let topics = self.by_group.get(group).into_iter().flat_map(HashMap::values);
        sorted(topics.flat_map(|topic| topic.slots.iter().flatten().copied()))
    }

    /// All groups' slots on a topic by number.
    pub(super) fn of_topic(&self, topic: &TopicName) -> Vec<SlotId> {
        let topics = self.by_group.values().filter_map(|topics| topics.get(topic));
        sorted(topics.flat_map(|topic| topic.slots.iter().flatten().copied()))
    }
}

fn sorted(ids: impl Iterator<Item = SlotId>) -> Vec<SlotId> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}
