//! Slots by number, and by group, topic and queue.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use types::broker::LeaseOwner;
use types::{GroupName, QueueId, TopicName};

use super::event::SlotId;
use super::slot::Slot;

/// Every so many pops of a group and topic one looks at its retry queue first, the others last, if there is room.
/// Source: Apache `popFromRetryProbability`, 20 % at random.
const RETRY_FIRST_EVERY: u32 = 5;

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
    /// The group's retry queue for the topic; a topic of its own, named here so that a pop finds both at once.
    retry: Option<SlotId>,
    /// Where the next pop from any queue begins. Not durable.
    rotation: u32,
    /// Pops since one began with the retry queue. Not durable.
    pops: u32,
}

/// What a pop finds at its group and topic, all at once.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Whether the group has consumed from each of the queues asked for.
    pub(super) has_all: bool,
    /// At which queue to begin.
    pub(super) rotation: u32,
    /// The retry queue, if there is one.
    pub(super) retry: Option<SlotId>,
    /// Whether it comes first this time.
    pub(super) is_retry_first: bool,
}

impl Topic {
    fn is_unused(&self) -> bool {
        self.retry.is_none() && self.slots.iter().all(Option::is_none)
    }
}

impl Slots {
    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.places.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.places.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn find(&self, owner: &LeaseOwner, queue: QueueId) -> Option<SlotId> {
        self.find_in(owner.group.as_str(), owner.topic.as_str(), queue)
    }

    pub(super) fn find_in(&self, group: &str, topic: &str, queue: QueueId) -> Option<SlotId> {
        let topic = self.by_group.get(group)?.get(topic)?;
        *topic.slots.get(queue.0 as usize)?
    }

    /// A group's retry queue for a topic.
    pub(super) fn retry(&self, owner: &LeaseOwner) -> Option<SlotId> {
        self.by_group.get(&owner.group)?.get(&owner.topic)?.retry
    }

    /// The next pop's turn among the topic's first `queues` queues.
    pub(super) fn turn(&mut self, owner: &LeaseOwner, queues: u32) -> Turn {
        let topic = self.by_group.get_mut(&owner.group).and_then(|topics| topics.get_mut(&owner.topic));
        let Some(topic) = topic else { return Turn::default() };
        let slots = topic.slots.get(..queues as usize);
        if topic.retry.is_some() {
            topic.pops = (topic.pops + 1) % RETRY_FIRST_EVERY;
        }
        Turn {
            has_all: slots.is_some_and(|slots| slots.iter().all(Option::is_some)),
            rotation: topic.rotation,
            retry: topic.retry,
            is_retry_first: topic.retry.is_some() && topic.pops == 0,
        }
    }

    pub(super) fn set_rotation(&mut self, owner: &LeaseOwner, rotation: u32) {
        let topic = self.by_group.get_mut(&owner.group).and_then(|topics| topics.get_mut(&owner.topic));
        if let Some(topic) = topic {
            topic.rotation = rotation;
        }
    }

    /// The number that the next slot gets: the lowest free one, so that replay numbers alike.
    pub(super) fn next_id(&self) -> SlotId {
        self.free.first().copied().unwrap_or_else(|| self.next_end())
    }

    fn next_end(&self) -> SlotId {
        SlotId(u32::try_from(self.places.len()).expect("slot numbers are 32 bits wide"))
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
        if let Some(topic) = slot.retried_topic() {
            topics.entry(topic).or_default().retry = Some(id);
        }
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
        if topic.is_unused() {
            topics.remove(&slot.owner.topic);
        }
        if let Some(name) = slot.retried_topic()
            && let Some(topic) = topics.get_mut(&name)
        {
            topic.retry = None;
            if topic.is_unused() {
                topics.remove(&name);
            }
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

    /// A group's slots on a topic.
    pub(super) fn of_owner(&self, owner: &LeaseOwner) -> impl Iterator<Item = SlotId> {
        let topic = self.by_group.get(&owner.group).and_then(|topics| topics.get(&owner.topic));
        topic.into_iter().flat_map(|topic| topic.slots.iter().flatten().copied())
    }

    /// All groups' slots on a topic, and on their retry topics for it, by number.
    pub(super) fn of_topic(&self, topic: &TopicName) -> Vec<SlotId> {
        let topics = self.by_group.values().filter_map(|topics| topics.get(topic));
        sorted(topics.flat_map(|topic| topic.slots.iter().flatten().copied().chain(topic.retry)))
    }

    /// One more than the highest number.
    pub(super) fn end(&self) -> u32 {
        self.next_end().0
    }
}

fn sorted(ids: impl Iterator<Item = SlotId>) -> Vec<SlotId> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}
