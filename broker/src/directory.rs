//! Topics and groups as callers look them up, without visiting the engine.
//!
//! The engine writes, everyone reads without a lock. A look-up may be a moment old: what depends on it being exact is decided
//! by the engine again.

use std::sync::Arc;

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
    topics: HashMap<TopicName, Arc<TopicConfig>, FixedState>,
    groups: HashMap<GroupName, Arc<GroupConfig>, FixedState>,
    /// Counts changes of topics.
    changes: watch::Sender<u64>,
}

impl Directory {
    pub(crate) fn new(catalog: &Catalog) -> Self {
        let directory = Self {
            topics: HashMap::with_hasher(FixedState::default()),
            groups: HashMap::with_hasher(FixedState::default()),
            changes: watch::Sender::new(0),
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

    /// Shows what the catalog says of a topic now.
    pub(crate) fn publish_topic(&self, catalog: &Catalog, name: &TopicName) {
        let topics = self.topics.pin();
        match catalog.topic(name) {
            Some(topic) => drop(topics.insert(name.clone(), Arc::clone(&topic.config))),
            None => drop(topics.remove(name)),
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Shows what the catalog says of a group now.
    fn publish_group(&self, catalog: &Catalog, name: &GroupName) {
        let groups = self.groups.pin();
        match catalog.group(name) {
            Some(group) => drop(groups.insert(name.clone(), Arc::clone(group))),
            None => drop(groups.remove(name)),
        }
    }

    /// All topics by name, retry topics included.
    pub(crate) fn topics(&self) -> Vec<Arc<TopicConfig>> {
        let mut topics: Vec<_> = self.topics.pin().values().cloned().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    /// Counts the changes of topics since the start, and tells of further ones.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn topic(&self, name: &TopicName) -> Option<Arc<TopicConfig>> {
        self.topics.pin().get(name).cloned()
    }

    pub(crate) fn group(&self, name: &GroupName) -> Option<Arc<GroupConfig>> {
        self.groups.pin().get(name).cloned()
    }
}
