//! Clients that are connected to brokers.

use std::collections::BTreeMap;

use clap::Args;
use remoting_proto::body::{self, ClientConnection, ProducerInfo, ProducerTable};
use remoting_proto::requests::ConsumerGroup;
use remoting_proto::{Fields, RequestCode, ResponseCode};
use serde::Serialize;
use types::Timestamp;

use super::answers::{Answers, sort};
use super::network::{Error, Network, Node, Question, json, one_each};
use crate::output::{Output, table};
use crate::time;

#[derive(Debug, Args)]
pub(in crate::admin) struct ConsumerConnection {
    /// The group
    #[arg(short, long)]
    group: String,
}

/// The consumers of a group. What they say of their group is that of the last that was asked: all should say the same.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Consumers {
    group: String,
    consume_type: String,
    message_model: String,
    consume_from: String,
    clients: Vec<Client>,
    subscriptions: Vec<Subscription>,
}

/// A client, at all brokers that it is connected to.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Client {
    client_id: String,
    address: String,
    language: String,
    /// An ordinal of Apache's releases.
    version: i32,
    brokers: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    topic: String,
    expression: String,
    expression_type: String,
}

impl ConsumerConnection {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = one_each(network.brokers().await?);
        let group = self.group.clone();
        let (found, missing) = sort(network.each(nodes, |network, node| of_group(network, node, group.clone())).await);
        let consumers = Consumers::of(self.group.clone(), found);
        Answers { found: consumers, missing }.print(output, consumers_text)
    }
}

/// The consumers at one broker; nobody is an answer too.
pub(super) async fn of_group(
    network: Network,
    node: Node,
    group: String,
) -> Result<Option<body::ConsumerConnection>, Error> {
    let header = ConsumerGroup { consumer_group: group };
    let of = format!("group {}", header.consumer_group);
    let question = Question::new(RequestCode::GetConsumerConnectionList, of, header.to_fields());
    match network.ask_for(&node, &question).await {
        Err(error) if error.is_refusal(ResponseCode::ConsumerNotOnline) => Ok(None),
        answer => answer.map(Some),
    }
}

impl Consumers {
    fn of(group: String, found: Vec<(Node, Option<body::ConsumerConnection>)>) -> Self {
        let mut consumers = Self { group, ..Self::default() };
        let mut clients = BTreeMap::new();
        for (node, connection) in found.into_iter().filter_map(|(node, connection)| Some((node, connection?))) {
            consumers.consume_type = connection.consume_type;
            consumers.message_model = connection.message_model;
            consumers.consume_from = connection.consume_from_where;
            consumers.subscriptions.extend(connection.subscription_table.into_values().map(|data| Subscription {
                topic: data.topic,
                expression: data.sub_string,
                expression_type: data.expression_type.unwrap_or_else(|| "TAG".to_owned()),
            }));
            for client in connection.connection_set {
                join(&mut clients, client, &node.broker);
            }
        }
        consumers.clients = clients.into_values().collect();
        consumers.subscriptions.sort();
        consumers.subscriptions.dedup();
        consumers
    }
}

/// Adds a client, or the broker to one that is known.
fn join(clients: &mut BTreeMap<String, Client>, connection: ClientConnection, broker: &str) {
    let ClientConnection { client_addr, client_id, language, version } = connection;
    let new = || Client { client_id: client_id.clone(), address: client_addr, language, version, brokers: Vec::new() };
    clients.entry(client_id.clone()).or_insert_with(new).brokers.push(broker.to_owned());
}

fn consumers_text(consumers: &Consumers) -> String {
    let Consumers { group, consume_type, message_model, consume_from, clients, subscriptions } = consumers;
    if clients.is_empty() {
        return format!("no consumer of group {group} is connected");
    }
    let clients = clients.iter().map(|client| {
        let Client { client_id, address, language, version, brokers } = client;
        [client_id.clone(), address.clone(), language.clone(), version.to_string(), brokers.join(", ")]
    });
    let clients = table(["CLIENT", "ADDRESS", "LANGUAGE", "VERSION", "BROKERS"], clients);
    let subscriptions = subscriptions.iter().map(|subscription| {
        let Subscription { topic, expression, expression_type } = subscription;
        [topic.clone(), expression.clone(), expression_type.clone()]
    });
    let subscriptions = table(["TOPIC", "EXPRESSION", "TYPE"], subscriptions);
    format!("{group}: {consume_type}, {message_model}, {consume_from}\n\n{clients}\n\n{subscriptions}")
}

#[derive(Debug, Args)]
pub(in crate::admin) struct ProducerConnection {
    /// Only producers of this group
    #[arg(short, long)]
    group: Option<String>,
    /// Only at the brokers of this topic
    #[arg(short, long)]
    topic: Option<String>,
}

#[derive(Debug, Serialize)]
struct Producers {
    producers: Vec<Producer>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Producer {
    group: String,
    broker: String,
    client_id: String,
    address: String,
    language: String,
    version: i32,
    last_heard_at_ms: i64,
}

impl ProducerConnection {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = match &self.topic {
            Some(topic) => network.brokers_of(topic).await?,
            None => one_each(network.brokers().await?),
        };
        // The request for one group answers an error where none is there, which could be any other error.
        let question = Question::new(RequestCode::GetAllProducerInfo, "", Fields::default());
        let (found, missing) = sort(network.ask_each(nodes, &question, json::<ProducerTable>).await);
        let producers = found.into_iter().flat_map(|(node, table)| self.producers(&node, table)).collect();
        Answers { found: Producers { producers }, missing }.print(output, producers_text)
    }

    fn producers(&self, node: &Node, ProducerTable { data }: ProducerTable) -> Vec<Producer> {
        let is_asked = |group: &String| self.group.as_ref().is_none_or(|only| only == group);
        let of = |(group, infos): (String, Vec<ProducerInfo>)| {
            let broker = node.broker.clone();
            infos.into_iter().map(move |info| Producer {
                group: group.clone(),
                broker: broker.clone(),
                client_id: info.client_id,
                address: info.remote_ip,
                language: info.language,
                version: info.version,
                last_heard_at_ms: info.last_update_timestamp,
            })
        };
        data.into_iter().filter(|(group, _)| is_asked(group)).flat_map(of).collect()
    }
}

fn producers_text(Producers { producers }: &Producers) -> String {
    if producers.is_empty() {
        return "no such producer is connected".to_owned();
    }
    let rows = producers.iter().map(|producer| {
        [
            producer.group.clone(),
            producer.broker.clone(),
            producer.client_id.clone(),
            producer.address.clone(),
            producer.language.clone(),
            producer.version.to_string(),
            time::text(Timestamp(producer.last_heard_at_ms)),
        ]
    });
    table(["GROUP", "BROKER", "CLIENT", "ADDRESS", "LANGUAGE", "VERSION", "LAST HEARD"], rows)
}

#[cfg(test)]
mod tests {
    use remoting_proto::body::SubscriptionData;

    use super::super::network::tests::node;
    use super::*;

    #[test]
    fn a_client_at_two_brokers_is_one() {
        let connection = |clients: &[&str]| body::ConsumerConnection {
            connection_set: clients
                .iter()
                .map(|id| ClientConnection { client_id: (*id).to_owned(), ..ClientConnection::default() })
                .collect(),
            message_model: "CLUSTERING".to_owned(),
            subscription_table: BTreeMap::from([(
                "T".to_owned(),
                SubscriptionData { topic: "T".to_owned(), sub_string: "*".to_owned(), ..SubscriptionData::default() },
            )]),
            ..body::ConsumerConnection::default()
        };
        let found = vec![
            (node("a", 0), Some(connection(&["y", "x"]))),
            (node("b", 0), None),
            (node("c", 0), Some(connection(&["y"]))),
        ];
        let consumers = Consumers::of("g".to_owned(), found);
        let at: Vec<_> = consumers.clients.iter().map(|c| (c.client_id.as_str(), c.brokers.join(","))).collect();
        assert_eq!(at, [("x", "a".to_owned()), ("y", "a,c".to_owned())]);
        assert_eq!((consumers.subscriptions.len(), consumers.message_model.as_str()), (1, "CLUSTERING"));
        assert!(consumers_text(&consumers).contains("a, c"));
        let nobody = Consumers::of("g".to_owned(), vec![(node("a", 0), None)]);
        assert_eq!(consumers_text(&nobody), "no consumer of group g is connected");
    }

    #[test]
    fn producers_are_those_of_the_group() {
        let info = ProducerInfo { client_id: "x".to_owned(), ..ProducerInfo::default() };
        let table = || ProducerTable {
            data: BTreeMap::from([("g".to_owned(), vec![info.clone()]), ("h".to_owned(), vec![info.clone()])]),
        };
        let asked = |group: Option<&str>| ProducerConnection { group: group.map(str::to_owned), topic: None };
        assert_eq!(asked(None).producers(&node("a", 0), table()).len(), 2);
        let only = asked(Some("g")).producers(&node("a", 0), table());
        assert_eq!((only.len(), only[0].group.as_str(), only[0].broker.as_str()), (1, "g", "a"));
    }
}
