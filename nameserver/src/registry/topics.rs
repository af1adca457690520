//! Topics: lists of them, and what operators do to them.

use std::collections::BTreeSet;

use remoting_proto::body::{Permission, QueueData, TopicList};

use super::{Registry, Rejection};

/// Bits of a topic that belongs to units. Source: Apache 5.5 `TopicSysFlag`.
const UNIT: i32 = 1;
const HAS_UNIT_SUBSCRIPTION: i32 = 2;

/// Topics of units; a topic's flags are those on the first of its brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Those that belong to units.
    Unit,
    /// Those with subscriptions of units.
    HasSubscription,
    /// The same, without those that belong to units.
    HasSubscriptionOnly,
}

impl Registry {
    /// All topics.
    #[must_use]
    pub fn topics(&self) -> TopicList {
        TopicList { broker_addr: None, topic_list: self.topics.keys().cloned().collect() }
    }

    /// The topics that have queues in a cluster.
    #[must_use]
    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let Some(names) = self.clusters.get(cluster) else { return TopicList::default() };
        let in_cluster = self.topics.iter().filter(|(_, of_topic)| of_topic.keys().any(|name| names.contains(name)));
        TopicList { broker_addr: None, topic_list: in_cluster.map(|(topic, _)| topic.clone()).collect() }
    }

    /// The topics named like clusters and brokers, which brokers make themselves.
    #[must_use]
    pub fn system_topics(&self) -> TopicList {
        let names = self.clusters.values().flatten();
        let topic_list: BTreeSet<_> = self.clusters.keys().chain(names).cloned().collect();
        let first = self.brokers.values().next();
        TopicList { broker_addr: first.and_then(|data| data.broker_addrs.values().next().cloned()), topic_list }
    }

    /// Topics of units.
    #[must_use]
    pub fn unit_topics(&self, units: Units) -> TopicList {
        let is_wanted = |queues: &QueueData| {
            let (is_unit, has_subscription) =
                (queues.topic_sys_flag & UNIT != 0, queues.topic_sys_flag & HAS_UNIT_SUBSCRIPTION != 0);
            match units {
                Units::Unit => is_unit,
                Units::HasSubscription => has_subscription,
                Units::HasSubscriptionOnly => has_subscription && !is_unit,
            }
        };
        let wanted = self.topics.iter().filter(|(_, of_topic)| of_topic.values().next().is_some_and(is_wanted));
        TopicList { broker_addr: None, topic_list: wanted.map(|(topic, _)| topic.clone()).collect() }
    }

    /// Adds queues of one topic. If one of their brokers is unknown none is added, and there is no error, as in Apache's.
    ///
    /// # Errors
    /// There is no room; some may have been added.
    pub fn register_topic(&mut self, topic: &str, queues: Vec<QueueData>) -> Result<(), Rejection> {
        if !queues.iter().all(|queues| self.brokers.contains_key(&queues.broker_name)) {
            tracing::warn!(topic, "a topic with queues on an unknown broker is not registered");
            return Ok(());
        }
        if queues.into_iter().all(|queues| self.set_queues(topic, queues)) {
            Ok(())
        } else {
            Err(Rejection::TooManyRoutes)
        }
    }

    /// Forgets a topic, in one cluster or everywhere.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Self { topics, clusters, routes, .. } = self;
        let Some(of_topic) = topics.get_mut(topic) else { return };
        let before = of_topic.len();
        match cluster {
            None => of_topic.clear(),
            Some(cluster) => {
                let names = clusters.get(cluster);
                of_topic.retain(|name, _| names.is_none_or(|names| !names.contains(name)));
            }
        }
        *routes -= before - of_topic.len();
        if of_topic.is_empty() {
            topics.remove(topic);
        }
    }

    /// Takes the permission to write from all queues of a broker name; how many topics have some.
    pub fn wipe_write_permission(&mut self, broker: &str) -> usize {
        self.change_permissions(broker, Permission::without_writing)
    }

    /// Lets all queues of a broker name be read and written, whatever they were before; how many topics have some.
    pub fn add_write_permission(&mut self, broker: &str) -> usize {
        self.change_permissions(broker, |_| Permission::READ_WRITE)
    }
}
