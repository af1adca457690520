//! Expiry of what first use has made: topics and groups that are empty and that nobody uses are deleted, as an operator would delete
//! them. See `docs/decisions/0009-idle-topics-and-groups.md`.
//!
//! When something was used last is memory only and counted by the time that passes, so neither a wrong clock nor a restart makes
//! anything older. Groups go first, and a topic only once no group has a place in it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use env::clock::Moment;
use types::{GroupName, QueueId, TopicName};

use super::Engine;
use crate::catalog::Auto;

/// So many looks at all groups and topics are made within the time that was set.
const LOOKS: u32 = 100;
/// Steps of one round, each of which looks at so many groups or topics; after a deletion the round has no more.
const STEPS_PER_ROUND: usize = 5;
const LOOKED_AT_PER_STEP: usize = 64;

/// How far the look at all groups and topics is.
#[derive(Debug)]
pub(super) struct Idle {
    step: Step,
    /// When the next one begins.
    next_at: Moment,
    /// What was not used in the look of this number or later is idle.
    since: u64,
    /// Whether it was told that no more topics expire.
    is_full_told: bool,
}

#[derive(Debug)]
enum Step {
    Rest,
    /// At the groups behind this one.
    Groups(Option<GroupName>),
    /// At the topics behind this one.
    Topics(Option<TopicName>),
}

impl Idle {
    pub(super) fn new(now: Moment) -> Self {
        Self { step: Step::Rest, next_at: now, since: 0, is_full_told: false }
    }
}

impl Engine {
    /// Goes on with the look at all groups and topics, or begins the next one.
    pub(super) fn expire_idle(&mut self) {
        let Some(bound) = self.options.idle_max else { return };
        let deleted =
            |engine: &Self| engine.shared.counters.expired_topics.get() + engine.shared.counters.expired_groups.get();
        let (before, mut steps) = (deleted(self), 0..STEPS_PER_ROUND);
        while steps.next().is_some() && deleted(self) == before {
            self.idle.step = match std::mem::replace(&mut self.idle.step, Step::Rest) {
                Step::Rest if self.moment < self.idle.next_at => return,
                Step::Rest => self.begin_look(bound),
                Step::Groups(behind) => self.look_at_groups(behind),
                Step::Topics(behind) => self.look_at_topics(behind),
            };
        }
    }

    /// A topic's idempotency keys go with it, so it stays as long as they count.
    fn begin_look(&mut self, bound: Duration) -> Step {
        self.idle.next_at = self.moment.plus(bound.max(self.options.idempotency.window) / LOOKS);
        self.idle.since = self.shared.directory.begin_look().saturating_sub(LOOKS.into());
        Step::Groups(None)
    }

    /// What first use makes now, as an operator may have switched it since the start.
    fn auto_now(&self) -> Auto {
        let auto = self.auto();
        Auto { topics: auto.topics && self.shared.makes_topics.load(Ordering::Relaxed), ..auto }
    }

    fn look_at_groups(&mut self, behind: Option<GroupName>) -> Step {
        let (auto, mut looked_at) = (self.auto_now(), None);
        let groups = self.machines.catalog.groups_behind(behind.as_ref()).take(LOOKED_AT_PER_STEP);
        let idle = groups.map(|group| &**group).find(|group| {
            looked_at = Some(group.name.clone());
            group.is_auto_created
                && auto.may_make_group(&group.name)
                && self.shared.directory.is_group_idle(&group.name, self.idle.since)
                && self.is_group_through(&group.name, auto)
        });
        if let Some(name) = idle.map(|group| group.name.clone()) {
            self.expire_group(&name);
        }
        looked_at.map_or(Step::Topics(None), |name| Step::Groups(Some(name)))
    }

    /// Whether all topics that a group has a place in are gone or could go without it, and it has no topic of dead letters: then it misses
    /// nothing without its place.
    fn is_group_through(&self, name: &GroupName, auto: Auto) -> bool {
        let pulled = self.machines.offsets.of_group(name).map(|(topic, ..)| topic);
        let mut topics = self.machines.pop.topics_of_group(name).chain(pulled);
        topics.all(|topic| self.machines.catalog.topic(topic).is_none() || self.is_topic_through(topic, auto))
            && self.machines.catalog.topic(&TopicName::dead_letter(name)).is_none()
    }

    /// Whether first use has made a topic, no message of it is in the log, nobody waits for one, and nobody uses it.
    fn is_topic_through(&self, name: &TopicName, auto: Auto) -> bool {
        let Some(topic) = self.machines.catalog.topic(name) else { return false };
        let queues = topic.config.read_queues.max(topic.config.write_queues);
        topic.config.is_auto_created
            && auto.may_make_topic(name)
            && self.shared.directory.is_topic_idle(name, self.idle.since)
            && self.has_no_message(name, queues)
            && !self.waiting.has_topic(name)
    }

    fn has_no_message(&self, topic: &TopicName, queues: u32) -> bool {
        let floor = |queue| self.machines.catalog.floor(topic, queue);
        let range = |queue| self.store.queue_range(topic.as_str(), queue);
        (0..queues).map(QueueId).all(|queue| range(queue).is_none_or(|range| range.min.max(floor(queue)) >= range.next))
    }

    fn expire_group(&mut self, name: &GroupName) {
        if let Ok(event) = self.machines.catalog.decide_delete_group(name)
            && self.shared.directory.expire_group(name, self.idle.since)
        {
            tracing::info!(group = %name, "a consumer group that first use has made expires: nobody uses it");
            self.shared.counters.expired_groups.add(1);
            self.change_catalog(event);
        }
    }

    fn look_at_topics(&mut self, behind: Option<TopicName>) -> Step {
        let (auto, mut looked_at) = (self.auto_now(), None);
        let topics = self.machines.catalog.topics_behind(behind.as_ref()).take(LOOKED_AT_PER_STEP);
        let idle = topics.map(|topic| &topic.config.name).find(|name| {
            looked_at = Some((*name).clone());
            self.is_topic_through(name, auto)
        });
        if let Some(name) = idle.cloned()
            && !self.has_group(&name)
        {
            self.expire_topic(&name);
        }
        looked_at.map_or(Step::Rest, |name| Step::Topics(Some(name)))
    }

    /// Whether a group has a place in a topic, or it is the group's retry topic. Asks all groups.
    fn has_group(&self, topic: &TopicName) -> bool {
        let retrying = topic.retrying_group().and_then(|group| GroupName::new(group).ok());
        self.machines.pop.is_consumed(topic)
            || self.machines.offsets.has_topic(topic)
            || retrying.is_some_and(|group| self.machines.catalog.group(&group).is_some())
    }

    fn expire_topic(&mut self, name: &TopicName) {
        let ends = self.queue_ends(name);
        if !self.machines.catalog.has_floor_room(&ends) {
            if !std::mem::replace(&mut self.idle.is_full_told, true) {
                tracing::warn!(
                    "too many queues of deleted topics are remembered: no more topics expire that had messages"
                );
            }
        } else if let Ok(event) = self.machines.catalog.decide_delete_topic(name, ends)
            && self.shared.directory.expire_topic(name, self.idle.since)
        {
            tracing::info!(topic = %name, "a topic that first use has made expires: it is empty, and nobody uses it");
            self.shared.counters.expired_topics.add(1);
            self.change_catalog(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use env::sim::{self, World};
    use types::Broker as _;

    use super::*;
    use crate::{LocalBroker, Options};

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn nothing_expires_while_an_operator_has_first_use_switched_off() {
        sim::run(1, async |world: World| {
            let options = Options { idle_max: Some(HOUR), ..Options::local("/data".into()) };
            let broker = LocalBroker::start(world.env(), options).expect("starts");
            let topic = TopicName::new("t").expect("valid");
            broker.topic(&topic).await.expect("made");
            broker.makes_topics(false);
            world.env().clock.sleep(HOUR * 2).await;
            assert!(broker.known_topic(&topic).is_some());
            broker.makes_topics(true);
            world.env().clock.sleep(HOUR / 10).await;
            assert!(broker.known_topic(&topic).is_none());
            broker.stop().await;
        });
    }
}
