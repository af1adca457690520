//! Topics and groups as callers look them up, without visiting the engine.
//!
//! The engine writes, everyone reads without a lock. A look-up may be a moment old: what depends on it being exact is decided
//! by the engine again. Beside each name stands when it was used last, so that a use costs no visit either: counted in *looks*, of
//! which `engine/idle.rs` begins one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;
use papaya::HashMap;
use tokio::sync::watch;
use types::{GroupConfig, GroupName, TopicConfig, TopicName};

use crate::catalog::{Catalog, Event};

/// What callers know of topics and groups. Bounded by the catalog, of which it is a copy.
///
/// A fixed hash makes the layout of its maps deterministic; who lists topics sorts them.
#[derive(Debug)]
pub(crate) struct Directory {
    topics: HashMap<TopicName, Known<TopicConfig>, FixedState>,
    groups: HashMap<GroupName, Known<GroupConfig>, FixedState>,
    /// Counts changes of topics.
    changes: watch::Sender<u64>,
    /// The number of the last look that was begun.
    look: AtomicU64,
}

/// The settings, and in which look they were used last, or [`EXPIRED`].
#[derive(Debug)]
struct Known<T> {
    config: Arc<T>,
    used_in: AtomicU64,
}

/// Nobody may use it any more: the engine is about to delete it.
const EXPIRED: u64 = u64::MAX;

impl<T> Known<T> {
    /// The settings, for who uses it in this look; `None` once it expires, even if the directory still has it.
    fn used(&self, look: u64) -> Option<Arc<T>> {
        let next = |before| (before != look && before != EXPIRED).then_some(look);
        let (Ok(before) | Err(before)) = self.used_in.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        (before != EXPIRED).then(|| Arc::clone(&self.config))
    }

    fn is_idle(&self, since: u64) -> bool {
        self.used_in.load(Ordering::Relaxed) < since
    }

    /// Ends its use unless it was used in look `since` or later; whether it did. Either a user comes first or this.
    fn expire(&self, since: u64) -> bool {
        let next = |before| (before < since).then_some(EXPIRED);
        self.used_in.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

impl Directory {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        let directory = Self {
            topics: HashMap::with_hasher(FixedState::default()),
            groups: HashMap::with_hasher(FixedState::default()),
            changes: watch::Sender::new(0),
            look: AtomicU64::new(0),
        };
        for topic in catalog.topics() {
            directory.publish_topic(catalog, &topic.config.name);
        }
        for group in catalog.groups() {
            directory.publish_group(catalog, &group.name);
        }
        directory
    }

    /// Shows what a change has made of the catalog.
    pub(crate) fn publish(&self, catalog: &Catalog, event: &Event) {
        match event {
            Event::PutTopic(config) => self.publish_topic(catalog, &config.name),
            Event::DeleteTopic { name, .. } => self.publish_topic(catalog, name),
            Event::PutGroup(config) => self.publish_group(catalog, &config.name),
            Event::DeleteGroup { name } => self.publish_group(catalog, name),
        }
    }

    /// Shows what the catalog says of a topic now; that counts as a use.
    fn publish_topic(&self, catalog: &Catalog, name: &TopicName) {
        let topics = self.topics.pin();
        match catalog.topic(name) {
            Some(topic) => drop(topics.insert(name.clone(), self.known(&topic.config))),
            None => drop(topics.remove(name)),
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Shows what the catalog says of a group now; that counts as a use.
    fn publish_group(&self, catalog: &Catalog, name: &GroupName) {
        let groups = self.groups.pin();
        match catalog.group(name) {
            Some(group) => drop(groups.insert(name.clone(), self.known(group))),
            None => drop(groups.remove(name)),
        }
    }

    fn known<T>(&self, config: &Arc<T>) -> Known<T> {
        Known { config: Arc::clone(config), used_in: AtomicU64::new(self.look()) }
    }

    fn look(&self) -> u64 {
        self.look.load(Ordering::Relaxed)
    }

    /// All topics by name, retry topics included.
    pub(crate) fn topics(&self) -> Vec<Arc<TopicConfig>> {
        let mut topics: Vec<_> = self.topics.pin().values().map(|topic| Arc::clone(&topic.config)).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    /// Counts the changes of topics since the start, and tells of further ones.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A topic for who only wants to know.
    pub(crate) fn topic(&self, name: &TopicName) -> Option<Arc<TopicConfig>> {
        self.topics.pin().get(name).map(|topic| Arc::clone(&topic.config))
    }

    /// Whether there is a group, for who only wants to know.
    pub(crate) fn has_group(&self, name: &GroupName) -> bool {
        self.groups.pin().contains_key(name)
    }

    /// A topic for a client that uses it.
    pub(crate) fn use_topic(&self, name: &TopicName) -> Option<Arc<TopicConfig>> {
        self.topics.pin().get(name)?.used(self.look())
    }

    /// A group for a client that uses it.
    pub(crate) fn use_group(&self, name: &GroupName) -> Option<Arc<GroupConfig>> {
        self.groups.pin().get(name)?.used(self.look())
    }

    /// Begins the next look, whose number it returns: what is used from now on is used in it.
    pub(crate) fn begin_look(&self) -> u64 {
        self.look.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether a topic was not used in look `since` or later.
    pub(crate) fn is_topic_idle(&self, name: &TopicName, since: u64) -> bool {
        self.topics.pin().get(name).is_some_and(|topic| topic.is_idle(since))
    }

    /// Whether a group was not used in look `since` or later.
    pub(crate) fn is_group_idle(&self, name: &GroupName, since: u64) -> bool {
        self.groups.pin().get(name).is_some_and(|group| group.is_idle(since))
    }

    /// Lets nobody use a topic any more that is idle, until it is published again; whether it is.
    pub(crate) fn expire_topic(&self, name: &TopicName, since: u64) -> bool {
        self.topics.pin().get(name).is_some_and(|topic| topic.expire(since))
    }

    /// The same of a group.
    pub(crate) fn expire_group(&self, name: &GroupName, since: u64) -> bool {
        self.groups.pin().get(name).is_some_and(|group| group.expire(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Auto;

    #[test]
    fn who_uses_a_topic_comes_before_its_end_or_after_it() {
        let mut catalog = Catalog::default();
        let name = TopicName::new("t").expect("valid");
        let auto = Auto { topics: true, groups: true, queues: 1 };
        catalog.apply(&catalog.decide_first_use(&name, auto).expect("may be made"));
        let directory = Directory::new(&catalog);
        let first = directory.begin_look();
        assert!(directory.is_topic_idle(&name, first));
        assert!(directory.topic(&name).is_some() && directory.is_topic_idle(&name, first), "to look is no use");
        assert!(directory.use_topic(&name).is_some());
        assert!(!directory.is_topic_idle(&name, first) && !directory.expire_topic(&name, first));

        let second = directory.begin_look();
        assert!(directory.expire_topic(&name, second));
        assert!(directory.use_topic(&name).is_none(), "it expires");
        assert!(!directory.expire_topic(&name, second), "it does so once");
        directory.publish_topic(&catalog, &name);
        assert!(directory.use_topic(&name).is_some() && !directory.is_topic_idle(&name, second));
    }
}
