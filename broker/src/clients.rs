//! Which clients produce and consume in which groups, as their heartbeats say: a plain value, told the time.
//!
//! A client is known by its connection: what it is asked goes there. Nothing is stored; clients tell it again within 30 s.
//! Source: Apache 5.5 `ConsumerManager`, `ConsumerGroupInfo`, `ProducerManager`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use remoting::ConnectionId;
use remoting_proto::Language;
use remoting_proto::body::{
    ClientConnection, ConsumerConnection, ConsumerData, HeartbeatData, ProducerConnection, ProducerInfo, ProducerTable,
    SubscriptionData,
};
use types::Timestamp;

/// How long a client counts as living without a heartbeat. Source: `channelExpiredTimeout`.
pub(crate) const ALIVE_FOR: Duration = Duration::from_secs(120);
/// How often it is looked for those that do not. Source: `ClientHousekeepingService`.
pub(crate) const SCAN_EVERY: Duration = Duration::from_secs(10);
const _: () = assert!(SCAN_EVERY.as_secs() == crate::statistics::SAMPLE_EVERY.as_secs(), "one loop does both");
/// Most memberships of clients in groups; about 200 bytes each.
pub(crate) const MEMBERS_MAX: usize = 500_000;

/// A client's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) connection: ConnectionId,
    pub(crate) remote: SocketAddr,
    pub(crate) language: Language,
    pub(crate) version: i32,
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    consumers: BTreeMap<String, ConsumerGroup>,
    producers: BTreeMap<String, Members>,
    /// Where each producer is, by the client's name.
    producing: BTreeMap<String, ConnectionId>,
    members: usize,
}

type Members = BTreeMap<ConnectionId, Member>;

#[derive(Debug)]
struct Member {
    client: String,
    peer: Peer,
    seen: Timestamp,
}

#[derive(Debug, Default)]
struct ConsumerGroup {
    members: Members,
    consume_type: String,
    message_model: String,
    consume_from_where: String,
    subscriptions: BTreeMap<String, SubscriptionData>,
}

/// Too many clients.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MEMBERS_MAX} memberships of clients in groups are known, which is the limit")]
pub(crate) struct Full;

/// A group whose members or subscriptions are others now, and who is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) group: String,
    pub(crate) members: Vec<ConnectionId>,
}

impl Clients {
    /// A client lives.
    pub(crate) fn heartbeat(
        &mut self,
        peer: Peer,
        heartbeat: HeartbeatData,
        now: Timestamp,
    ) -> Result<Vec<Changed>, Full> {
        let HeartbeatData { client_id, consumer_data_set, producer_data_set, .. } = heartbeat;
        if self.members + consumer_data_set.len() + producer_data_set.len() > MEMBERS_MAX {
            return Err(Full);
        }
        let member = || Member { client: client_id.clone(), peer, seen: now };
        for producer in producer_data_set {
            let group = self.producers.entry(producer.group_name).or_default();
            let is_new = group.insert(peer.connection, member()).is_none();
            self.members += usize::from(is_new);
            if is_new {
                self.producing.insert(client_id.clone(), peer.connection);
            }
        }
        let mut changed = Vec::new();
        for consumer in consumer_data_set {
            let name = consumer.group_name.clone();
            let group = self.consumers.entry(name.clone()).or_default();
            let is_new = group.members.insert(peer.connection, member()).is_none();
            self.members += usize::from(is_new);
            let is_changed = group.subscribe(consumer);
            if is_new || is_changed {
                changed.push(group.changed(name));
            }
        }
        Ok(changed)
    }

    /// A client leaves groups, or ended without a word.
    pub(crate) fn leave(
        &mut self,
        connection: ConnectionId,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) -> Vec<Changed> {
        self.retain(
            |name, member| member.peer.connection != connection || producer_group != Some(name),
            |name, member| member.peer.connection != connection || consumer_group != Some(name),
        )
    }

    /// A connection has ended.
    pub(crate) fn disconnect(&mut self, connection: ConnectionId) -> Vec<Changed> {
        self.retain(|_, member| member.peer.connection != connection, |_, member| member.peer.connection != connection)
    }

    /// Forgets those that were silent for too long.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Changed> {
        let lives = |_: &str, member: &Member| now.since(member.seen) <= ALIVE_FOR;
        self.retain(lives, lives)
    }

    fn retain(
        &mut self,
        produces: impl Fn(&str, &Member) -> bool,
        consumes: impl Fn(&str, &Member) -> bool,
    ) -> Vec<Changed> {
        let mut has_lost_producers = false;
        self.producers.retain(|name, members| {
            let before = members.len();
            members.retain(|_, member| produces(name, member));
            has_lost_producers |= members.len() < before;
            !members.is_empty()
        });
        if has_lost_producers {
            let of = |member: &Member| (member.client.clone(), member.peer.connection);
            self.producing = self.producers.values().flat_map(BTreeMap::values).map(of).collect();
        }
        let mut changed = Vec::new();
        self.consumers.retain(|name, group| {
            let before = group.members.len();
            group.members.retain(|_, member| consumes(name, member));
            if group.members.len() < before {
                changed.push(group.changed(name.clone()));
            }
            !group.members.is_empty()
        });
        let of_consumers = self.consumers.values().map(|group| group.members.len());
        self.members = of_consumers.chain(self.producers.values().map(BTreeMap::len)).sum();
        changed
    }

    /// The clients that consume in a group, by name.
    pub(crate) fn consumer_ids(&self, group: &str) -> Vec<String> {
        let group = self.consumers.get(group);
        let ids: BTreeSet<_> =
            group.into_iter().flat_map(|group| group.members.values()).map(|member| member.client.clone()).collect();
        ids.into_iter().collect()
    }

    /// What a group subscribes to of a topic; the outer `None` when nobody of the group is there.
    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Option<Option<&SubscriptionData>> {
        Some(self.consumers.get(group)?.subscriptions.get(topic))
    }

    /// The topics that a group subscribes to; `None` when nobody of it is there.
    pub(crate) fn subscribed(&self, group: &str) -> Option<BTreeSet<String>> {
        Some(self.consumers.get(group)?.subscriptions.keys().cloned().collect())
    }

    /// The clients that consume in a group, with their connections.
    pub(crate) fn consumers(&self, group: &str) -> Vec<(String, Peer)> {
        let members = self.consumers.get(group).into_iter().flat_map(|group| group.members.values());
        members.map(|member| (member.client.clone(), member.peer)).collect()
    }

    /// The connection of a client of a group.
    pub(crate) fn consumer(&self, group: &str, client: &str) -> Option<ConnectionId> {
        let mut members = self.consumers.get(group)?.members.values();
        members.find(|member| member.client == client).map(|member| member.peer.connection)
    }

    /// All producers.
    pub(crate) fn all_producers(&self) -> ProducerTable {
        let of = |member: &Member| {
            let ClientConnection { client_addr, client_id, language, version } = member.connection();
            let last_update_timestamp = member.seen.0;
            ProducerInfo { client_id, remote_ip: client_addr, language, version, last_update_timestamp }
        };
        let groups = self.producers.iter();
        ProducerTable {
            data: groups.map(|(name, members)| (name.clone(), members.values().map(of).collect())).collect(),
        }
    }

    /// The groups that subscribe to a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> impl Iterator<Item = &str> {
        let subscribes = |(_, group): &(&String, &ConsumerGroup)| group.subscriptions.contains_key(topic);
        self.consumers.iter().filter(move |named| subscribes(named)).map(|(name, _)| name.as_str())
    }

    /// The clients of a group and what they subscribe to.
    pub(crate) fn consumer_connection(&self, group: &str) -> Option<ConsumerConnection> {
        let group = self.consumers.get(group)?;
        Some(ConsumerConnection {
            connection_set: group.members.values().map(Member::connection).collect(),
            consume_from_where: group.consume_from_where.clone(),
            consume_type: group.consume_type.clone(),
            message_model: group.message_model.clone(),
            subscription_table: group.subscriptions.clone(),
        })
    }

    /// The clients that produce in a group.
    pub(crate) fn producer_connection(&self, group: &str) -> Option<ProducerConnection> {
        let members = self.producers.get(group)?;
        Some(ProducerConnection { connection_set: members.values().map(Member::connection).collect() })
    }

    /// The connection of a client that produces, in whatever group.
    pub(crate) fn producer_client(&self, client: &str) -> Option<ConnectionId> {
        self.producing.get(client).copied()
    }

    /// One of the connections of a group's producers; `choice` decides between several.
    pub(crate) fn producer(&self, group: &str, choice: u64) -> Option<ConnectionId> {
        let members = self.producers.get(group)?;
        // Smaller than the number of members.
        members.keys().nth((choice % members.len().max(1) as u64) as usize).copied()
    }
}

impl ConsumerGroup {
    /// Takes over what a member says of the group; says whether it subscribes to other topics or in another way.
    fn subscribe(&mut self, consumer: ConsumerData) -> bool {
        self.consume_type = consumer.consume_type;
        self.message_model = consumer.message_model;
        self.consume_from_where = consumer.consume_from_where;
        let told: BTreeMap<_, _> =
            consumer.subscription_data_set.into_iter().map(|data| (data.topic.clone(), data)).collect();
        let had = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| told.contains_key(topic));
        let mut is_changed = self.subscriptions.len() < had;
        for (topic, data) in told {
            match self.subscriptions.get_mut(&topic) {
                Some(known) if known.sub_version >= data.sub_version => {}
                Some(known) => {
                    is_changed |= known.sub_string != data.sub_string || known.expression_type != data.expression_type;
                    *known = data;
                }
                None => {
                    is_changed = true;
                    self.subscriptions.insert(topic, data);
                }
            }
        }
        is_changed
    }

    fn changed(&self, group: String) -> Changed {
        Changed { group, members: self.members.keys().copied().collect() }
    }
}

impl Member {
    fn connection(&self) -> ClientConnection {
        ClientConnection {
            client_addr: self.peer.remote.to_string(),
            client_id: self.client.clone(),
            language: self.peer.language.name().to_owned(),
            version: self.peer.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use remoting_proto::body::ProducerData;

    use super::*;

    fn peer(id: u64) -> Peer {
        let remote = SocketAddr::from(([10, 0, 0, 1], 1000));
        Peer { connection: ConnectionId(id), remote, language: Language::JAVA, version: 399 }
    }

    fn consumes(client: &str, topics: &[(&str, &str, i64)]) -> HeartbeatData {
        let subscription = |(topic, sub_string, sub_version): &(&str, &str, i64)| SubscriptionData {
            topic: (*topic).to_owned(),
            sub_string: (*sub_string).to_owned(),
            sub_version: *sub_version,
            ..SubscriptionData::default()
        };
        let consumer = ConsumerData {
            group_name: "g".to_owned(),
            subscription_data_set: topics.iter().map(subscription).collect(),
            ..ConsumerData::default()
        };
        HeartbeatData {
            client_id: client.to_owned(),
            consumer_data_set: vec![consumer],
            producer_data_set: vec![ProducerData { group_name: "p".to_owned() }],
            ..HeartbeatData::default()
        }
    }

    fn told(ids: &[u64]) -> Vec<Changed> {
        vec![Changed { group: "g".to_owned(), members: ids.iter().map(|id| ConnectionId(*id)).collect() }]
    }

    #[test]
    fn members_are_told_of_each_others_coming_and_going() {
        let mut clients = Clients::default();
        let beat = |clients: &mut Clients, id, now| {
            clients.heartbeat(peer(id), consumes(&format!("c{id}"), &[("t", "*", 1)]), Timestamp(now)).expect("room")
        };
        assert_eq!(beat(&mut clients, 1, 0), told(&[1]));
        assert_eq!(beat(&mut clients, 2, 0), told(&[1, 2]));
        assert_eq!(beat(&mut clients, 1, 100_000), []);
        assert_eq!(clients.consumer_ids("g"), ["c1", "c2"]);
        assert_eq!(clients.expire(Timestamp(120_000)), []);
        assert_eq!(clients.expire(Timestamp(120_001)), told(&[1]));
        assert_eq!(clients.leave(ConnectionId(1), None, Some("other")), []);
        assert_eq!(clients.leave(ConnectionId(1), None, Some("g")), told(&[]));
        assert_eq!((clients.consumer_ids("g"), clients.members), (Vec::new(), 1));
        assert_eq!(clients.producer("p", 7), Some(ConnectionId(1)));
        assert_eq!(clients.producer_client("c1"), Some(ConnectionId(1)));
        assert_eq!((clients.producer_client("c2"), clients.producer_client("c")), (None, None));
        assert_eq!(clients.disconnect(ConnectionId(1)), []);
        assert_eq!(clients.producer_client("c1"), None);
        assert_eq!((clients.producer("p", 7), clients.members), (None, 0));
    }

    #[test]
    fn a_groups_subscription_is_the_newest_that_a_member_told() {
        let mut clients = Clients::default();
        let mut beat = |topics: &[(&str, &str, i64)]| {
            let changed = clients.heartbeat(peer(1), consumes("c", topics), Timestamp(0)).expect("room");
            let of = |topic| clients.subscription("g", topic).flatten().map(|data| data.sub_string.clone());
            (changed.len(), of("t"), of("u"))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(beat(&[("t", "a", 5), ("u", "*", 1)]), (1, text("a"), text("*")));
        assert_eq!(beat(&[("t", "old", 4), ("u", "*", 1)]), (0, text("a"), text("*")));
        assert_eq!(beat(&[("t", "b", 6), ("u", "*", 2)]), (1, text("b"), text("*")));
        assert_eq!(beat(&[("t", "b", 6)]), (1, text("b"), None));
        assert!(clients.subscription("nobody", "t").is_none());
        assert!(clients.groups_of("t").eq(["g"]) && clients.groups_of("u").next().is_none());
    }
}
