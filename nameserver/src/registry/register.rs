//! A broker registers, or leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use env::clock::Moment;
use remoting::ConnectionId;
use remoting_proto::body::{BrokerData, DataVersion, Permission, QueueData, RegisterBroker, TopicConfig};

use super::{Address, Alive, BROKERS_MAX, MASTER, Notice, ROUTES_MAX, Registry};

/// How long a broker that says nothing else counts as living. Source: Apache 5.5 `RouteInfoManager`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(120);

/// What a broker says of itself.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The process.
    pub address: Address,
    /// The name that master and slaves share.
    pub broker: String,
    /// 0 is the master.
    pub id: i64,
    /// Where slaves get the log from.
    pub ha_address: String,
    /// Where it stands.
    pub zone: Option<String>,
    /// How long it counts as living without a sign of life; `None`: two minutes.
    pub timeout_ms: Option<i64>,
    /// Whether a slave may stand in for the master; `None`: a broker before 5.0.
    pub enable_acting_master: Option<bool>,
    /// Its topics.
    pub topics: RegisterBroker,
    /// What it came on.
    pub connection: ConnectionId,
}

/// What it is told: for slaves whose master lives, where that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Where the master has its log.
    pub ha_address: Option<String>,
    /// The master.
    pub master: Option<String>,
}

/// Why it is not registered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// One topic alone is an addition to those that it registered before, and it did not.
    #[error("register broker failed")]
    NotRegistered,
    /// Too many brokers.
    #[error("there are {BROKERS_MAX} brokers, which is the limit")]
    TooManyBrokers,
    /// Too many topics.
    #[error("there are {ROUTES_MAX} topics on brokers, which is the limit")]
    TooManyRoutes,
}

impl Registry {
    /// Registers a broker, or takes what it says as a sign of life and as its newest topics.
    ///
    /// A process whose place (name and id) another one has that is ahead of it (state version) changes nothing and is told
    /// nothing.
    ///
    /// # Errors
    /// [`Rejection`]; nothing is changed then, except that a broker with too many topics is registered with those that found room.
    pub fn register(
        &mut self,
        registration: Registration,
        delete_missing_topics: bool,
        now: Moment,
    ) -> Result<Registered, Rejection> {
        let Registration { address, broker, id, topics, .. } = &registration;
        let addresses = self.brokers.get(broker).map(|data| data.broker_addrs.clone()).unwrap_or_default();
        if let Some(other) = addresses.get(id).filter(|other| **other != address.broker) {
            let other = Address { cluster: address.cluster.clone(), broker: other.clone() };
            let is_ahead = |alive: &Alive| alive.version.state_version > topics.version.state_version;
            if self.alive.get(&other).is_some_and(is_ahead) {
                tracing::warn!(%broker, id, refused = %address.broker, kept = %other.broker, "a broker that is ahead has this place");
                self.alive.remove(address);
                return Ok(Registered::default());
            }
        }
        if !addresses.contains_key(id) && topics.topics.len() == 1 {
            return Err(Rejection::NotRegistered);
        }
        if !self.alive.contains_key(address) && self.alive.len() == BROKERS_MAX {
            return Err(Rejection::TooManyBrokers);
        }

        // What comes below the lowest is told of, what comes to nobody is not.
        let is_lowest_new = addresses.keys().next().is_some_and(|lowest| id < lowest);
        let is_first = self.place(&registration);
        if is_lowest_new {
            self.note_arrival(&registration.broker, &registration.ha_address);
        }
        let has_room = self.take_topics(&registration, is_first, delete_missing_topics);
        let told = self.master_of(&registration);
        self.set_alive(registration, now);
        if has_room { Ok(told) } else { Err(Rejection::TooManyRoutes) }
    }

    /// Gives it its name's place with its id; whether nobody had it.
    fn place(&mut self, registration: &Registration) -> bool {
        let Registration { address, broker, id, .. } = registration;
        self.clusters.entry(address.cluster.clone()).or_default().insert(broker.clone());
        let data = self.brokers.entry(broker.clone()).or_insert_with(|| BrokerData {
            broker_name: broker.clone(),
            cluster: address.cluster.clone(),
            ..BrokerData::default()
        });
        data.enable_acting_master = registration.enable_acting_master.unwrap_or(false);
        data.zone_name = registration.zone.clone();
        // A slave that became the master leaves its old place.
        data.broker_addrs.retain(|known, there| *there != address.broker || known == id);
        data.broker_addrs.insert(*id, address.broker.clone()).is_none()
    }

    /// Takes its topics, if it speaks for its name: as the master, or as the slave that stands in for a missing one.
    /// `false` if there is no room for some.
    fn take_topics(&mut self, registration: &Registration, is_first: bool, delete_missing: bool) -> bool {
        let Registration { address, broker, id, topics, .. } = registration;
        let Some(data) = self.brokers.get(broker) else { return true };
        let is_lowest = data.broker_addrs.keys().next() == Some(id);
        let is_prime_slave = *id != MASTER && registration.enable_acting_master.is_some() && is_lowest;
        if *id != MASTER && !is_prime_slave {
            return true;
        }
        let is_read_only = is_prime_slave && data.enable_acting_master;
        if delete_missing && topics.mappings.is_empty() {
            self.remove_queues(|topic, of| of == broker && !topics.topics.contains_key(topic));
        }
        let is_changed = is_first || self.is_changed(address, &topics.version);
        let mut has_room = true;
        for topic in topics.topics.values() {
            let is_known = self.topics.get(&topic.topic_name).is_some_and(|queues| queues.contains_key(broker));
            if is_changed || !is_known {
                has_room &= self.set_queues(&topic.topic_name, queues(broker, topic, is_read_only));
            }
        }
        if is_changed {
            for (topic, mapping) in &topics.mappings {
                let of = mapping.get("bname").and_then(|name| name.as_str()).unwrap_or(broker);
                self.mappings.entry(topic.clone()).or_default().insert(of.to_owned(), mapping.clone());
            }
        }
        has_room
    }

    fn master_of(&self, registration: &Registration) -> Registered {
        let told = || {
            if registration.id == MASTER {
                return None;
            }
            let master = self.brokers.get(&registration.broker)?.broker_addrs.get(&MASTER)?.clone();
            let address = Address { cluster: registration.address.cluster.clone(), broker: master.clone() };
            let ha_address = self.alive.get(&address)?.ha_address.clone();
            Some(Registered { ha_address: Some(ha_address), master: Some(master) })
        };
        told().unwrap_or_default()
    }

    fn set_alive(&mut self, registration: Registration, now: Moment) {
        let Registration { address, timeout_ms, topics, connection, ha_address, .. } = registration;
        let alive = Alive {
            seen: now,
            // Below 0 it is over at once.
            timeout: timeout_ms.map_or(TIMEOUT, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or_default())),
            version: topics.version,
            connection,
            ha_address,
        };
        if self.alive.insert(address.clone(), alive).is_none() {
            tracing::info!(cluster = %address.cluster, broker = %address.broker, "broker registered");
        }
    }

    /// Whether a broker's topics are others than those it registered last.
    #[must_use]
    pub fn is_changed(&self, address: &Address, version: &DataVersion) -> bool {
        self.version(address) != Some(*version)
    }

    /// The version of the topics that a broker registered last.
    #[must_use]
    pub fn version(&self, address: &Address) -> Option<DataVersion> {
        self.alive.get(address).map(|alive| alive.version)
    }

    /// Forgets a broker process, and its name with all its queues if it was the last. Unknown ones are no error.
    pub fn unregister(&mut self, address: &Address, broker: &str) {
        if self.alive.remove(address).is_some() {
            tracing::info!(cluster = %address.cluster, broker = %address.broker, "broker unregistered");
        }
        let Some(data) = self.brokers.get_mut(broker) else { return };
        let was_lowest = data.broker_addrs.values().next() == Some(&address.broker);
        data.broker_addrs.retain(|_, there| *there != address.broker);
        if !data.broker_addrs.is_empty() {
            if was_lowest && data.enable_acting_master {
                self.notices.extend(Notice::of_departure(data, &address.broker));
            }
            let has_no_master = !data.broker_addrs.contains_key(&MASTER);
            if data.enable_acting_master && has_no_master {
                self.change_permissions(broker, Permission::without_writing);
            }
            return;
        }
        self.brokers.remove(broker);
        self.clusters.retain(|_, names| {
            names.remove(broker);
            !names.is_empty()
        });
        self.remove_queues(|_, of| of == broker);
        self.mappings.retain(|_, of_topic| {
            of_topic.remove(broker);
            !of_topic.is_empty()
        });
    }

    /// Changes what may be done with all queues of a broker name; how many topics have some.
    pub(super) fn change_permissions(&mut self, broker: &str, change: impl Fn(Permission) -> Permission) -> usize {
        let of_broker =
            self.topics.values_mut().filter_map(|of_topic: &mut BTreeMap<_, QueueData>| of_topic.get_mut(broker));
        let mut topics = 0;
        for queues in of_broker {
            queues.perm = change(queues.perm);
            topics += 1;
        }
        topics
    }
}

fn queues(broker: &str, topic: &TopicConfig, is_read_only: bool) -> QueueData {
    QueueData {
        broker_name: broker.to_owned(),
        perm: if is_read_only { topic.perm.without_writing() } else { topic.perm },
        read_queue_nums: topic.read_queue_nums,
        topic_sys_flag: topic.topic_sys_flag,
        write_queue_nums: topic.write_queue_nums,
    }
}
