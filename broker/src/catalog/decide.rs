//! What a request would change in the catalog, or why it may not.

use types::admin::AdminError;
use types::topic::QUEUES_MAX;
use types::{GroupConfig, GroupName, QueueId, QueueOffset, TopicConfig, TopicName};

use super::{Catalog, Event, auto_topic};

/// Whether first use makes topics and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auto {
    /// Topics are made.
    pub topics: bool,
    /// Groups are made.
    pub groups: bool,
    /// With so many queues.
    pub queues: u32,
}

impl Auto {
    /// Whether first use makes a topic of this name, if there is room.
    #[must_use]
    pub fn may_make_topic(self, name: &TopicName) -> bool {
        self.topics && TopicName::for_client(name.as_str()).is_ok()
    }

    /// Whether first use makes a group of this name, if there is room.
    #[must_use]
    pub fn may_make_group(self, name: &GroupName) -> bool {
        self.groups && GroupName::for_client(name.as_str()).is_ok()
    }
}

impl Catalog {
    /// A topic's first use: the change that makes it, `None` when it may not be made.
    #[must_use]
    pub fn decide_first_use(&self, name: &TopicName, auto: Auto) -> Option<Event> {
        let may = auto.may_make_topic(name) && self.topics.len() < Self::TOPICS_MAX;
        may.then(|| Event::PutTopic(auto_topic(name.clone(), auto.queues)))
    }

    /// A message that was accepted earlier comes to a topic that is gone: the change that makes it again, whatever first use may now, with
    /// all queues that it had and that message's; `None` when no client may use such a name.
    #[must_use]
    pub fn decide_again(&self, name: &TopicName, auto: Auto, queue: QueueId) -> Option<Event> {
        let had = self.floors.get(name).map_or(0, |ends| u32::try_from(ends.len()).unwrap_or(QUEUES_MAX));
        let queues = auto.queues.max(had).max(queue.0.saturating_add(1));
        let may = Auto { topics: true, ..auto }.may_make_topic(name);
        may.then(|| Event::PutTopic(auto_topic(name.clone(), queues)))
    }

    /// A group's first use: the change that makes it, `None` when it may not be made.
    #[must_use]
    pub fn decide_group_first_use(&self, name: &GroupName, auto: Auto) -> Option<Event> {
        let may = auto.may_make_group(name) && self.groups.len() < Self::GROUPS_MAX;
        may.then(|| Event::PutGroup(GroupConfig { is_auto_created: true, ..GroupConfig::new(name.clone()) }))
    }

    /// A topic is made or changed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn decide_put_topic(&self, config: TopicConfig, is_update: bool) -> Result<Event, AdminError> {
        if config.name.is_system() && !config.name.is_trace() {
            return Err(AdminError::System { name: config.name.to_string() });
        }
        for queues in [config.read_queues, config.write_queues] {
            if !(1..=QUEUES_MAX).contains(&queues) {
                return Err(AdminError::QueueCount { queues });
            }
        }
        match self.topic(&config.name) {
            Some(_) if !is_update => Err(AdminError::Exists { what: "topic", name: config.name.to_string() }),
            None if is_update => Err(self.find_topic(&config.name).expect_err("it is not there").into()),
            Some(topic) => match shrunk(&topic.config, &config) {
                Some((queues, asked)) => Err(AdminError::QueuesShrink { topic: config.name, queues, asked }),
                None => Ok(Event::PutTopic(config)),
            },
            None => Ok(Event::PutTopic(config)),
        }
    }

    /// A topic is deleted; `ends` are the ends of its queues.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn decide_delete_topic(&self, name: &TopicName, ends: Vec<QueueOffset>) -> Result<Event, AdminError> {
        if name.is_system() {
            return Err(AdminError::System { name: name.to_string() });
        }
        self.find_topic(name)?;
        Ok(Event::DeleteTopic { name: name.clone(), ends })
    }

    /// A group is made or changed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn decide_put_group(&self, mut config: GroupConfig, is_update: bool) -> Result<Event, AdminError> {
        if GroupName::for_peer(config.name.as_str()).is_err() {
            return Err(AdminError::System { name: config.name.to_string() });
        }
        match self.group(&config.name) {
            Some(_) if !is_update => {
                return Err(AdminError::Exists { what: "group", name: config.name.to_string() });
            }
            None if is_update => self.find_group(&config.name).map(drop)?,
            _ => {}
        }
        // A message is delivered at least once before it can be given up.
        config.attempts_max = config.attempts_max.max(1);
        Ok(Event::PutGroup(config))
    }

    /// A group is deleted.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn decide_delete_group(&self, name: &GroupName) -> Result<Event, AdminError> {
        self.find_group(name)?;
        Ok(Event::DeleteGroup { name: name.clone() })
    }
}

/// The first queue count that an update takes back, and to what: messages would become unreachable.
fn shrunk(old: &TopicConfig, new: &TopicConfig) -> Option<(u32, u32)> {
    let counts = [(old.read_queues, new.read_queues), (old.write_queues, new.write_queues)];
    counts.into_iter().find(|(had, asked)| asked < had)
}
