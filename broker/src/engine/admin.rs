//! Topics and groups: made, changed, deleted, described.

use std::sync::Arc;

use types::admin::{AdminError, GroupDescription, GroupProgress, TopicDescription};
use types::broker::LookupError;
use types::{GroupConfig, GroupName, QueueId, QueueOffset, TopicConfig, TopicName};

use super::Engine;
use super::answer::{Answer, tell};
use crate::catalog::{self, Auto};
use crate::command::{AdminCommand, Reply};
use crate::journal::Event;
use crate::pop::Progress;

impl Engine {
    pub(super) fn auto(&self) -> Auto {
        Auto {
            topics: self.options.auto_create_topics,
            groups: self.options.auto_create_groups,
            queues: self.options.default_queues,
        }
    }

    /// A topic that the directory did not have is asked for.
    pub(super) fn first_use(&mut self, name: &TopicName, reply: Reply<Result<Arc<TopicConfig>, LookupError>>) {
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why.into()));
        }
        if self.machines.catalog.topic(name).is_none()
            && let Some(event) = self.machines.catalog.decide_first_use(name, self.auto())
        {
            self.change_catalog(event);
        }
        match self.machines.catalog.find_topic(name) {
            Ok(topic) => {
                let topic = Arc::clone(&topic.config);
                self.answers.push(Answer::TopicMade { reply, topic });
            }
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// A group that the directory did not have is asked for.
    pub(super) fn group_first_use(&mut self, name: &GroupName, reply: Reply<Result<Arc<GroupConfig>, LookupError>>) {
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why.into()));
        }
        if self.machines.catalog.group(name).is_none()
            && let Some(event) = self.machines.catalog.decide_group_first_use(name, self.auto())
        {
            self.change_catalog(event);
        }
        match self.machines.catalog.find_group(name) {
            Ok(group) => {
                let group = Arc::clone(group);
                self.answers.push(Answer::GroupMade { reply, group });
            }
            Err(error) => tell(reply, Err(error)),
        }
    }

    pub(super) fn administer(&mut self, command: AdminCommand) {
        match command {
            AdminCommand::PutTopic { config, is_update, reply } => {
                let decided = self.machines.catalog.decide_put_topic(config, is_update);
                self.change_by(decided, reply);
            }
            AdminCommand::DeleteTopic { name, reply } => {
                let ends = self.queue_ends(&name);
                let decided = self.machines.catalog.decide_delete_topic(&name, ends);
                self.change_by(decided, reply);
            }
            AdminCommand::PutGroup { config, is_update, reply } => {
                let decided = self.machines.catalog.decide_put_group(config, is_update);
                self.change_by(decided, reply);
            }
            AdminCommand::DeleteGroup { name, reply } => {
                let decided = self.machines.catalog.decide_delete_group(&name);
                self.change_by(decided, reply);
            }
            AdminCommand::Topics { reply } => {
                let of_users = self.machines.catalog.topics().filter(|topic| !topic.config.name.is_retry());
                tell(reply, of_users.map(|topic| (*topic.config).clone()).collect());
            }
            AdminCommand::Groups { reply } => {
                tell(reply, self.machines.catalog.groups().map(|group| (**group).clone()).collect());
            }
            AdminCommand::DescribeTopic { name, reply } => tell(reply, self.describe_topic(&name)),
            AdminCommand::DescribeGroup { name, reply } => tell(reply, self.describe_group(&name)),
            AdminCommand::Pops { owner, reply } => {
                let group = self.machines.catalog.find_group(&owner.group).map(drop);
                tell(reply, group.map(|()| self.machines.pop.pops(&owner)));
            }
            AdminCommand::Blocked { name, reply } => tell(reply, self.blocked(&name)),
        }
    }

    fn change_by(&mut self, decided: Result<catalog::Event, AdminError>, reply: Reply<Result<(), AdminError>>) {
        if let Some(why) = self.refusal() {
            return tell(reply, Err(LookupError::Unavailable(why).into()));
        }
        match decided {
            Ok(event) => {
                self.change_catalog(event);
                self.answers.push(Answer::Administered { reply });
            }
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// Makes a change; what belonged to what is deleted goes with it, retry topics included.
    pub(super) fn change_catalog(&mut self, event: catalog::Event) {
        let is_topic_deleted = matches!(event, catalog::Event::DeleteTopic { .. });
        let pop = &mut self.machines.pop;
        let mut retries = match &event {
            catalog::Event::DeleteTopic { name, .. } => pop.retries_of_topic(name),
            catalog::Event::DeleteGroup { name } => pop.retries_of_group(name),
            catalog::Event::PutTopic(_) | catalog::Event::PutGroup(_) => Vec::new(),
        };
        match &event {
            catalog::Event::DeleteTopic { name, .. } => pop.forget_topic(name, &mut self.events),
            catalog::Event::DeleteGroup { name } => pop.forget_group(name, &mut self.events),
            catalog::Event::PutTopic(_) | catalog::Event::PutGroup(_) => {}
        }
        // Another group may have one of the same name.
        retries.retain(|retry| !pop.is_consumed(retry));
        self.commit_pop_events();
        self.publish_catalog(event);
        for name in retries {
            let ends = self.queue_ends(&name);
            if let Ok(event) = self.machines.catalog.decide_delete_topic(&name, ends) {
                self.publish_catalog(event);
            }
        }
        if is_topic_deleted {
            // Replay must not forget the keys of messages that come to a new topic of this name, even in this round. If the log takes
            // no events now, it takes no messages either.
            drop(self.flush_journal());
        }
    }

    /// Journals and applies a change and shows it to everyone.
    pub(super) fn publish_catalog(&mut self, event: catalog::Event) {
        let event = Event::Catalog(event);
        self.commit_event(&event);
        if let Event::Catalog(event) = event {
            self.shared.directory.publish(&self.machines.catalog, &event);
        }
    }

    /// Where each queue of a topic ends, so that a later topic of its name begins there.
    pub(super) fn queue_ends(&self, name: &TopicName) -> Vec<QueueOffset> {
        let Some(topic) = self.machines.catalog.topic(name) else { return Vec::new() };
        let queues = topic.config.read_queues.max(topic.config.write_queues);
        let end = |queue| self.store.queue_range(name.as_str(), QueueId(queue)).map(|range| range.next);
        (0..queues).map(|queue| end(queue).unwrap_or_default()).collect()
    }

    fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, AdminError> {
        let topic = self.machines.catalog.find_topic(name)?;
        let queues = topic.config.read_queues.max(topic.config.write_queues);
        Ok(TopicDescription {
            config: (*topic.config).clone(),
            queues: (0..queues).map(|queue| self.range(name, QueueId(queue))).collect(),
            used: topic.used.iter().collect(),
        })
    }

    fn describe_group(&self, name: &GroupName) -> Result<GroupDescription, AdminError> {
        let config = (**self.machines.catalog.find_group(name)?).clone();
        let popped = self.machines.pop.progress(name);
        let is_popped = |topic: &TopicName, queue: QueueId| {
            popped.binary_search_by(|at| at.place().cmp(&(topic, false, queue))).is_ok()
        };
        let pulled = self.machines.offsets.of_group(name).filter(|(topic, queue, _)| !is_popped(topic, *queue));
        let pulled = pulled.map(|(topic, queue, committed)| {
            let topic = topic.clone();
            Progress { topic, queue, is_retry: false, committed, next: committed, in_flight: 0 }
        });
        let mut progress: Vec<_> = pulled.map(|at| self.group_progress(name, at)).collect();
        progress.extend(popped.iter().map(|at| self.group_progress(name, at.clone())));
        progress.sort_by(|a, b| (&a.topic, a.is_retry, a.queue).cmp(&(&b.topic, b.is_retry, b.queue)));
        Ok(GroupDescription { config, progress })
    }

    fn group_progress(&self, group: &GroupName, at: Progress) -> GroupProgress {
        let Progress { topic, queue, is_retry, committed, in_flight, .. } = at;
        let retry = is_retry.then(|| TopicName::retry(group, &topic)).flatten();
        let end = self.range(retry.as_ref().unwrap_or(&topic), queue).1;
        GroupProgress { topic, queue, is_retry, committed, end, in_flight }
    }
}
