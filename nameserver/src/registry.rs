//! Who registered with which topics, and what follows from it. No I/O; the time is told.
//!
//! Source of the rules: Apache 5.5 `RouteInfoManager`. Where it differs on purpose:
//! - the end of a connection unregisters all brokers that registered on it, not only one of them;
//! - a broker that lives on at another address is forgotten at the old one when its time there is over;
//! - a registration that is refused leaves nothing behind, not even the broker's name;
//! - servers that filter for consumers (`filterServerTable`, until 4.x) are not kept.

mod liveness;
mod notice;
mod register;
mod route;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use env::clock::Moment;
use remoting::ConnectionId;
use remoting_proto::body::{BrokerData, BrokerMemberGroup, ClusterInfo, DataVersion, QueueData};
use serde_json::Value;

pub use notice::Notice;
pub use register::{Registered, Registration, Rejection};
pub use route::RouteOptions;
pub use topics::Units;

/// The broker id of a master.
const MASTER: i64 = 0;
/// Most addresses of brokers.
pub const BROKERS_MAX: usize = 10_000;
/// Most topics on brokers, each counted once for each broker name that has it.
pub const ROUTES_MAX: usize = 2_000_000;

/// The routes.
///
/// Invariants: a broker name has at least one address, and is in its cluster's set; a topic has queues on at least one
/// broker name; `routes` counts the queues of all topics.
#[derive(Debug, Default)]
pub struct Registry {
    /// Queues by topic and broker name.
    topics: BTreeMap<String, BTreeMap<String, QueueData>>,
    brokers: BTreeMap<String, BrokerData>,
    clusters: BTreeMap<String, BTreeSet<String>>,
    alive: BTreeMap<Address, Alive>,
    /// How queues of static topics are spread, by topic and broker name.
    mappings: BTreeMap<String, BTreeMap<String, Value>>,
    routes: usize,
    /// What brokers are to be told; at most one a broker name for each change, taken after it.
    notices: Vec<Notice>,
}

/// A broker process, as it names itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Its cluster.
    pub cluster: String,
    /// `HOST:PORT`.
    pub broker: String,
}

/// What is known of a broker process that lives.
#[derive(Debug)]
struct Alive {
    seen: Moment,
    /// How long it may be silent.
    timeout: Duration,
    version: DataVersion,
    connection: ConnectionId,
    ha_address: String,
}

impl Registry {
    /// All brokers.
    #[must_use]
    pub fn cluster_info(&self) -> ClusterInfo {
        ClusterInfo { broker_addr_table: self.brokers.clone(), cluster_addr_table: self.clusters.clone() }
    }

    /// Master and slaves of a name, as far as they live.
    #[must_use]
    pub fn member_group(&self, cluster: &str, broker: &str) -> BrokerMemberGroup {
        let broker_addrs = self.brokers.get(broker).map(|data| data.broker_addrs.clone()).unwrap_or_default();
        BrokerMemberGroup { broker_addrs, broker_name: broker.to_owned(), cluster: cluster.to_owned() }
    }

    /// How many brokers live and how many topics they have in all.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.alive.len(), self.topics.len())
    }

    /// Sets a topic's queues on a broker name; `false` if there is no room.
    fn set_queues(&mut self, topic: &str, queues: QueueData) -> bool {
        if let Some(of_topic) = self.topics.get_mut(topic)
            && let Some(known) = of_topic.get_mut(&queues.broker_name)
        {
            *known = queues;
            return true;
        }
        if self.routes == ROUTES_MAX {
            return false;
        }
        self.routes += 1;
        self.topics.entry(topic.to_owned()).or_default().insert(queues.broker_name.clone(), queues);
        true
    }

    /// Forgets the queues that `is_gone` names.
    fn remove_queues(&mut self, mut is_gone: impl FnMut(&str, &str) -> bool) {
        let routes = &mut self.routes;
        self.topics.retain(|topic, of_topic| {
            of_topic.retain(|broker, _| {
                let is_gone = is_gone(topic, broker);
                *routes -= usize::from(is_gone);
                !is_gone
            });
            !of_topic.is_empty()
        });
    }

    #[cfg(test)]
    fn assert_valid(&self) {
        assert_eq!(self.routes, self.topics.values().map(BTreeMap::len).sum::<usize>());
        assert!(self.topics.values().all(|of_topic| !of_topic.is_empty()));
        for (name, data) in &self.brokers {
            assert!(!data.broker_addrs.is_empty(), "{name} has no address");
            assert!(self.clusters[&data.cluster].contains(name), "{name} is not in {}", data.cluster);
        }
        for name in self.clusters.values().flatten() {
            assert!(self.brokers.contains_key(name), "nothing is known of {name}");
        }
    }
}

#[cfg(test)]
mod tests;
