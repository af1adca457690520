//! The queues as the pop machine sees them, and what else it needs to know.

use std::cell::RefCell;

use store::Store;
use types::broker::LeaseOwner;
use types::{GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::Engine;
use super::arrivals::Arrivals;
use super::clients::Clients;
use crate::catalog::Catalog;
use crate::offset::Offsets;
use crate::pop::{GroupLimits, QueueEntry, QueueView, Surroundings};

/// The store's queues, as far as they may be handed out and belong to the topic that is there now.
pub(super) struct Queues<'a> {
    store: RefCell<&'a mut Store>,
    catalog: &'a Catalog,
    arrivals: &'a Arrivals,
    offsets: &'a Offsets,
    buffer: RefCell<Vec<store::QueueEntry>>,
}

impl<'a> Queues<'a> {
    pub(super) fn new(
        store: &'a mut Store,
        catalog: &'a Catalog,
        arrivals: &'a Arrivals,
        offsets: &'a Offsets,
    ) -> Self {
        Self { store: RefCell::new(store), catalog, arrivals, offsets, buffer: RefCell::new(Vec::new()) }
    }
}

/// First offset and end of what may be handed out of a queue.
pub(super) fn range(
    store: &Store,
    catalog: &Catalog,
    arrivals: &Arrivals,
    topic: &TopicName,
    queue: QueueId,
) -> (QueueOffset, QueueOffset) {
    let floor = catalog.floor(topic, queue);
    let Some(range) = store.queue_range(topic.as_str(), queue) else { return (floor, floor) };
    let min = range.min.max(floor);
    (min, arrivals.visible_end(topic, queue, range.next).max(min))
}

impl QueueView for Queues<'_> {
    fn range(&self, topic: &TopicName, queue: QueueId) -> (QueueOffset, QueueOffset) {
        range(&self.store.borrow(), self.catalog, self.arrivals, topic, queue)
    }

    fn stays_from(&self, topic: &TopicName, queue: QueueId) -> QueueOffset {
        let store = self.store.borrow();
        // Most of the time there is nothing to look up.
        let range = store.is_expiring().then(|| store.queue_range(topic.as_str(), queue)).flatten();
        range.map_or(QueueOffset(0), |range| range.stays_from)
    }

    fn floor(&self, topic: &TopicName, queue: QueueId) -> QueueOffset {
        self.catalog.floor(topic, queue)
    }

    fn pulled_to(&self, owner: &LeaseOwner, queue: QueueId) -> Option<QueueOffset> {
        self.offsets.get(&owner.group, &owner.topic, queue)
    }

    fn read(&self, topic: &TopicName, queue: QueueId, from: QueueOffset, max: usize, entries: &mut Vec<QueueEntry>) {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        if let Err(error) = self.store.borrow_mut().entries(topic.as_str(), queue, from, max, &mut buffer) {
            tracing::error!(%error, %topic, %queue, "a queue cannot be read");
            return;
        }
        entries.extend(buffer.iter().map(|entry| QueueEntry {
            offset: entry.queue_offset,
            physical_offset: entry.physical_offset,
            size: entry.record_bytes,
            tag_hash: entry.tag_hash.into(),
            group_hash: entry.group_hash.map_or(0, std::num::NonZeroU32::get),
        }));
    }
}

/// Who lives, and what groups allow.
pub(super) struct Around<'a> {
    pub(super) clients: &'a Clients,
    pub(super) catalog: &'a Catalog,
    pub(super) now: Timestamp,
}

impl Surroundings for Around<'_> {
    fn is_alive(&self, client: &str) -> bool {
        self.clients.is_alive(client, self.now)
    }

    fn limits(&self, group: &GroupName) -> Option<GroupLimits> {
        let config = self.catalog.group(group)?;
        Some(GroupLimits { attempts_max: config.attempts_max, consume_timeout: config.consume_timeout })
    }
}

impl Engine {
    /// First offset and end of what may be handed out of a queue.
    pub(super) fn range(&self, topic: &TopicName, queue: QueueId) -> (QueueOffset, QueueOffset) {
        range(&self.store, &self.machines.catalog, &self.arrivals, topic, queue)
    }

    /// Where a queue begins, if none of the messages that its topic ever had there has expired.
    pub(super) fn beginning(&self, topic: &TopicName, queue: QueueId) -> Option<QueueOffset> {
        let (first, _) = self.range(topic, queue);
        (first == self.machines.catalog.floor(topic, queue)).then_some(first)
    }

    /// One entry of a queue, if it is there.
    pub(super) fn entry(
        &mut self,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Option<store::QueueEntry> {
        let mut entries = Vec::new();
        if let Err(error) = self.store.entries(topic.as_str(), queue, offset, 1, &mut entries) {
            tracing::error!(%error, %topic, %queue, "a queue cannot be read");
        }
        entries.pop()
    }
}
