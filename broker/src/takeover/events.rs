//! What an Apache directory says, as journal events of ours. Behind [`Event::Imported`] they alone are the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::smallvec;
use store::Store;
use types::broker::LeaseOwner;
use types::topic::{QUEUES_MAX, RETRY_QUEUE};
use types::{GroupName, QueueId, QueueOffset, TopicName};

use super::config::Config;
use super::pending::Unfinished;
use super::pops::Lease;
use crate::journal::Event;
use crate::pop::PopEvent;
use crate::pop::event::{Popped, Run, RunKind, SlotId, Terms};
use crate::{catalog, offset};

/// Who holds the leases that are taken over: Apache's records do not say it. Nobody who is alive, so they just run out.
const HOLDER: &str = "apache";

/// Gives `push` the events in the order in which they must be applied.
pub(super) fn of(config: &Config, unfinished: Unfinished, store: &Store, mut push: impl FnMut(Event)) {
    push(Event::Imported);
    deleted_topics(config, store).into_iter().for_each(|event| push(Event::Catalog(event)));
    for topic in &config.topics {
        push(Event::Catalog(catalog::Event::PutTopic(topic.clone())));
    }
    for group in &config.groups {
        push(Event::Catalog(catalog::Event::PutGroup(group.clone())));
    }
    let Unfinished { levels, timers, halves, leases } = unfinished;
    let waits = levels.into_iter().map(|level| level.waits).chain(timers);
    waits.for_each(|waits| push(Event::Waits(waits)));
    halves.into_iter().for_each(|half| push(Event::Undecided(half)));
    let mut leases: BTreeMap<_, _> = leases
        .into_iter()
        .filter_map(|((group, topic, queue), leases)| Some((key(&group, &topic, queue)?, leases)))
        .collect();
    let mut slots = Slots { push, next: 0 };
    let mut begun = BTreeSet::new();
    for offset::Committed { group, topic, queue, offset } in &config.offsets {
        let key = (group.clone(), topic.clone(), *queue);
        // Offsets may be ahead of a log that lost its end. Apache lets such a group go on at the end too.
        let end = store.queue_range(topic.as_str(), *queue).map(|range| range.next).unwrap_or_default();
        slots.begin(&key, Some((*offset).min(end)), &leases.remove(&key).unwrap_or_default());
        begun.insert(key);
    }
    for (key, leases) in leases {
        slots.begin(&key, None, &leases);
        begun.insert(key);
    }
    for key in retries(config).into_iter().filter(|key| !begun.contains(key)) {
        let range = store.queue_range(key.1.as_str(), key.2);
        slots.begin(&key, range.map(|range| range.min), &BTreeMap::new());
    }
}

type Key = (GroupName, TopicName, QueueId);

fn key(group: &str, topic: &str, queue: u32) -> Option<Key> {
    Some((GroupName::new(group).ok()?, TopicName::new(topic).ok()?, QueueId(queue)))
}

/// Topics that only the log knows: one that is made anew begins behind the old records.
fn deleted_topics(config: &Config, store: &Store) -> Vec<catalog::Event> {
    let known: BTreeSet<&str> = config.topics.iter().map(|topic| topic.name.as_str()).collect();
    let mut deleted: BTreeMap<TopicName, Vec<QueueOffset>> = BTreeMap::new();
    for (topic, queue, range) in store.queues() {
        let Ok(topic) = TopicName::new(topic) else { continue };
        if known.contains(topic.as_str()) || topic.is_system() || queue.0 >= QUEUES_MAX {
            continue;
        }
        let (ends, index) = (deleted.entry(topic).or_default(), queue.0 as usize);
        ends.resize(ends.len().max(index + 1), QueueOffset(0));
        ends[index] = range.next;
    }
    deleted.into_iter().map(|(name, ends)| catalog::Event::DeleteTopic { name, ends }).collect()
}

/// The retry queues of all groups: who never read one begins at its first message, not at its end.
fn retries(config: &Config) -> Vec<Key> {
    let names: BTreeSet<&str> = config.topics.iter().map(|topic| topic.name.as_str()).collect();
    let groups: BTreeMap<&str, &GroupName> =
        config.groups.iter().map(|group| (group.name.as_str(), &group.name)).collect();
    let mut retries = Vec::new();
    for topic in config.topics.iter().map(|topic| &topic.name).filter(|topic| topic.is_retry()) {
        let of_topic = topic.retry_groups().filter_map(|group| groups.get(group).copied());
        let is_used = |group: &&GroupName| topic.retried(group).is_some_and(|retried| names.contains(retried));
        retries.extend(of_topic.filter(is_used).map(|group| (group.clone(), topic.clone(), RETRY_QUEUE)));
    }
    retries
}

/// Gives the groups' progress numbers, in the order in which the pop machine does.
struct Slots<P> {
    push: P,
    next: u32,
}

impl<P: FnMut(Event)> Slots<P> {
    /// A group's progress on a queue: the first offset that it never looked at as Apache last noted it, and what it had popped
    /// before. Without a note it begins at the first of those. What lies behind the note is delivered anew, as Apache would.
    fn begin(&mut self, (group, topic, queue): &Key, noted: Option<QueueOffset>, leases: &BTreeMap<u64, Lease>) {
        let first_leased = leases.keys().next().copied().map(QueueOffset);
        let Some(end) = noted.or(first_leased) else { return };
        let slot = SlotId(self.next);
        self.next += 1;
        let start = first_leased.unwrap_or(end).min(end);
        let owner = LeaseOwner { group: group.clone(), topic: topic.clone() };
        self.pop(PopEvent::Began { slot, owner, queue: *queue, start });
        let mut next = start.0;
        let mut open = leases.range(..end.0).peekable();
        while let Some((&first, &lease)) = open.next() {
            let mut popped = Popped { slot, again: smallvec![], fresh: smallvec![], terms: Some(terms(lease)) };
            next = self.skip(slot, next, first);
            let mut count = 1;
            while open.next_if(|(offset, of)| **offset == first + u64::from(count) && **of == lease).is_some() {
                count += 1;
            }
            popped.fresh.push(Run { count, kind: RunKind::Free });
            next += u64::from(count);
            self.pop(PopEvent::Popped(popped));
        }
        self.skip(slot, next, end.0);
    }

    /// What lies between is done.
    fn skip(&mut self, slot: SlotId, mut from: u64, to: u64) -> u64 {
        while from < to {
            let count = u32::try_from(to - from).unwrap_or(u32::MAX);
            let fresh = smallvec![Run { count, kind: RunKind::Skipped }];
            self.pop(PopEvent::Popped(Popped { slot, again: smallvec![], fresh, terms: None }));
            from += u64::from(count);
        }
        to
    }

    fn pop(&mut self, event: PopEvent) {
        (self.push)(Event::Pop(event));
    }
}

fn terms(lease: Lease) -> Terms {
    let Lease { popped_at, invisible } = lease;
    Terms {
        popped_at,
        visible_at: popped_at.plus(invisible),
        invisible,
        client: Arc::from(HOLDER),
        auto_renew: false,
        is_reentry: false,
        attempt_id: None,
    }
}
