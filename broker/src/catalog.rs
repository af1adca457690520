//! The catalog machine: topics and groups, by command or made on their first use.
//!
//! A plain value: `decide_*` looks at it and says what would change, `apply` changes it. The byte form of the
//! changes is in `catalog/event.rs`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use types::broker::LookupError;
use types::topic::QUEUES_MAX;
use types::{GroupConfig, GroupName, MessageType, QueueId, QueueOffset, TopicConfig, TopicName, TopicType};

use crate::codec::{Input, Malformed, put_text, put_u64};

mod decide;
mod event;
mod types_used;

pub use decide::Auto;
pub use event::Event;
pub use types_used::TypesUsed;

/// Topics and groups; about 500 bytes a topic, 600 a group.
///
/// What operators make is theirs to bound; what first use makes stops at [`Catalog::TOPICS_MAX`] and
/// [`Catalog::GROUPS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    topics: BTreeMap<TopicName, Topic>,
    groups: BTreeMap<GroupName, Arc<GroupConfig>>,
    /// Where queues of topics that were once deleted begin: what lies before is not the new topic's.
    floors: BTreeMap<TopicName, Vec<QueueOffset>>,
    /// How many queues these are.
    floor_queues: usize,
}

fn had_messages(ends: &[QueueOffset]) -> bool {
    ends.iter().any(|end| *end > QueueOffset(0))
}

/// A topic and what was sent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its settings.
    pub config: Arc<TopicConfig>,
    /// The kinds of messages that were sent to it since it was made.
    pub used: TypesUsed,
}

impl Catalog {
    /// Topics from which on none is made by first use.
    pub const TOPICS_MAX: usize = 100_000;
    /// Groups from which on none is made by first use.
    pub const GROUPS_MAX: usize = 100_000;
    /// Queues of deleted topics whose ends are remembered, from which on no topic expires that had messages: 8 bytes each, and 100 a name.
    pub const FLOORS_MAX: usize = 1_000_000;

    /// The topic, if there is one.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The group, if there is one.
    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<&Arc<GroupConfig>> {
        self.groups.get(name)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Topic> {
        self.topics.values()
    }

    /// All groups, by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Arc<GroupConfig>> {
        self.groups.values()
    }

    /// The topic's settings, or the error that says that there is none.
    ///
    /// # Errors
    /// [`LookupError::TopicNotFound`].
    pub fn find_topic(&self, name: &TopicName) -> Result<&Topic, LookupError> {
        self.topic(name).ok_or_else(|| LookupError::TopicNotFound { topic: name.clone() })
    }

    /// The group's settings, or the error that says that there is none.
    ///
    /// # Errors
    /// [`LookupError::GroupNotFound`].
    pub fn find_group(&self, name: &GroupName) -> Result<&Arc<GroupConfig>, LookupError> {
        self.group(name).ok_or_else(|| LookupError::GroupNotFound { group: name.clone() })
    }

    /// The first offset of a queue that is not of an earlier topic of this name.
    #[must_use]
    pub fn floor(&self, topic: &TopicName, queue: QueueId) -> QueueOffset {
        let floors = self.floors.get(topic);
        let index = usize::try_from(queue.0).unwrap_or(usize::MAX);
        floors.and_then(|floors| floors.get(index)).copied().unwrap_or_default()
    }

    /// Whether the ends of another topic's queues may be remembered; of one that never had a message there is nothing to remember.
    #[must_use]
    pub fn has_floor_room(&self, ends: &[QueueOffset]) -> bool {
        self.floor_queues + ends.len() <= Self::FLOORS_MAX || !had_messages(ends)
    }

    /// The topics behind one, by name; without one all.
    pub fn topics_behind(&self, behind: Option<&TopicName>) -> impl Iterator<Item = &Topic> {
        self.topics
            .range::<TopicName, _>((behind.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    /// The groups behind one, by name; without one all.
    pub fn groups_behind(&self, behind: Option<&GroupName>) -> impl Iterator<Item = &Arc<GroupConfig>> {
        self.groups
            .range::<GroupName, _>((behind.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
            .map(|(_, group)| group)
    }

    /// A message of this kind was stored in the topic.
    pub fn used(&mut self, topic: &TopicName, kind: MessageType) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.used.insert(kind);
        }
    }

    fn remember(&mut self, name: TopicName, ends: Vec<QueueOffset>) {
        self.floor_queues += ends.len();
        self.floor_queues -= self.floors.insert(name, ends).map_or(0, |before| before.len());
    }

    /// Takes a change.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::PutTopic(config) => {
                let config = Arc::new(config.clone());
                let topic = self.topics.entry(config.name.clone());
                topic
                    .and_modify(|topic| topic.config = Arc::clone(&config))
                    .or_insert(Topic { config, used: TypesUsed::default() });
            }
            Event::DeleteTopic { name, ends } => {
                self.topics.remove(name);
                if had_messages(ends) {
                    self.remember(name.clone(), ends.clone());
                }
            }
            Event::PutGroup(config) => {
                self.groups.insert(config.name.clone(), Arc::new(config.clone()));
            }
            Event::DeleteGroup { name } => {
                self.groups.remove(name);
            }
        }
    }

    /// Writes the whole state.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        put_u64(out, self.topics.len() as u64);
        for topic in self.topics.values() {
            event::put_topic(out, &topic.config);
            out.push(topic.used.bits());
        }
        put_u64(out, self.groups.len() as u64);
        for group in self.groups.values() {
            event::put_group(out, group);
        }
        put_u64(out, self.floors.len() as u64);
        for (name, ends) in &self.floors {
            put_text(out, name.as_str());
            event::put_ends(out, ends);
        }
    }

    /// Reads what [`Catalog::snapshot`] wrote.
    pub(crate) fn restore(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut catalog = Self::default();
        for _ in 0..input.count()? {
            let config = Arc::new(event::topic(input)?);
            let used = TypesUsed::from_bits(input.u8()?).ok_or(Malformed { what: "used types" })?;
            catalog.topics.insert(config.name.clone(), Topic { config, used });
        }
        for _ in 0..input.count()? {
            let config = event::group(input)?;
            catalog.groups.insert(config.name.clone(), Arc::new(config));
        }
        for _ in 0..input.count()? {
            catalog.remember(input.topic()?, event::ends(input)?);
        }
        Ok(catalog)
    }
}

/// A topic as its first use makes it.
#[must_use]
pub(crate) fn auto_topic(name: TopicName, queues: u32) -> TopicConfig {
    let queues = if name.is_dead_letter() || name.is_retry() { 1 } else { queues.clamp(1, QUEUES_MAX) };
    TopicConfig {
        name,
        read_queues: queues,
        write_queues: queues,
        is_readable: true,
        is_writable: true,
        topic_type: TopicType::Mixed,
        is_auto_created: true,
    }
}

#[cfg(test)]
mod tests;
