//! Topics: which there are, where they are, how they are made, changed and deleted.

mod update;

use clap::Args;
use remoting_proto::body::{TopicList as Listed, TopicOffset, TopicRouteData, TopicStats};
use remoting_proto::requests::{DeleteTopic as Forget, GetKvConfig, GetTopicsByCluster, TopicName};
use remoting_proto::{Fields, RequestCode};
use serde::Serialize;
use types::Timestamp;

use super::answers::{Answers, Missing, sort};
use super::kv::ORDERED;
use super::network::{Network, Node, Question, done, json, masters};
use super::which;
use crate::output::{Output, table, yes};
use crate::time;
pub(in crate::admin) use update::{UpdateTopic, UpdateTopicPerm};

#[derive(Debug, Args)]
pub(in crate::admin) struct TopicList {
    /// Only those of this cluster
    #[arg(short, long)]
    cluster: Option<String>,
}

#[derive(Debug, Serialize)]
struct Topics {
    topics: Vec<String>,
}

impl TopicList {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let question = match &self.cluster {
            Some(cluster) => {
                // A name server has no topics of a cluster that it does not know, and says no more.
                which::of_cluster(network.brokers().await?, cluster)?;
                let header = GetTopicsByCluster { cluster: cluster.clone() };
                Question::new(RequestCode::GetTopicsByCluster, format!("cluster {cluster}"), header.to_fields())
            }
            None => Question::new(RequestCode::GetAllTopicListFromNameserver, "", Fields::default()),
        };
        let Listed { topic_list, .. } = network.ask_names(&question).await?;
        let topics = Topics { topics: topic_list.into_iter().collect() };
        output.show(&topics, |Topics { topics }| topics.join("\n"))
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct TopicRoute {
    /// The topic
    #[arg(short, long)]
    topic: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Route {
    topic: String,
    /// Which brokers hold its queues in order, if a name server was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    brokers: Vec<RouteAt>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteAt {
    cluster: String,
    broker: String,
    /// `ID=HOST:PORT`, 0 is the master.
    addresses: Vec<String>,
    read_queues: i32,
    write_queues: i32,
    readable: bool,
    writable: bool,
}

impl TopicRoute {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        output.show(&Route::of(&self.topic, network.route(&self.topic).await?), route_text)
    }
}

impl Route {
    fn of(topic: &str, route: TopicRouteData) -> Self {
        let TopicRouteData { broker_datas, order_topic_conf: order, queue_datas, .. } = route;
        let mut brokers: Vec<RouteAt> = queue_datas
            .into_iter()
            .map(|queues| {
                let data = broker_datas.iter().find(|data| data.broker_name == queues.broker_name);
                let addresses = data.into_iter().flat_map(|data| &data.broker_addrs);
                RouteAt {
                    cluster: data.map(|data| data.cluster.clone()).unwrap_or_default(),
                    broker: queues.broker_name,
                    addresses: addresses.map(|(id, address)| format!("{id}={address}")).collect(),
                    read_queues: queues.read_queue_nums,
                    write_queues: queues.write_queue_nums,
                    readable: queues.perm.is_readable(),
                    writable: queues.perm.is_writable(),
                }
            })
            .collect();
        brokers.sort_by(|a, b| (&a.cluster, &a.broker).cmp(&(&b.cluster, &b.broker)));
        Self { topic: topic.to_owned(), order, brokers }
    }
}

fn route_text(Route { order, brokers, .. }: &Route) -> String {
    let rows = brokers.iter().map(|at| {
        [
            at.cluster.clone(),
            at.broker.clone(),
            at.addresses.join(", "),
            at.read_queues.to_string(),
            at.write_queues.to_string(),
            yes(at.readable),
            yes(at.writable),
        ]
    });
    let heading = ["CLUSTER", "BROKER", "ADDRESSES", "READ QUEUES", "WRITE QUEUES", "READABLE", "WRITABLE"];
    let order = order.as_ref().map_or_else(String::new, |order| format!("\n\nin order on: {order}"));
    format!("{}{order}", table(heading, rows))
}

#[derive(Debug, Args)]
pub(in crate::admin) struct TopicStatus {
    /// The topic
    #[arg(short, long)]
    topic: String,
}

#[derive(Debug, Serialize)]
struct Status {
    topic: String,
    queues: Vec<Queue>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    broker: String,
    queue: i32,
    first_offset: i64,
    end_offset: i64,
    /// When a message was stored last; 0 if none was.
    last_stored_at_ms: i64,
}

impl TopicStatus {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let header = TopicName { topic: self.topic.clone() };
        let of = format!("topic {}", self.topic);
        let question = Question::new(RequestCode::GetTopicStatsInfo, of, header.to_fields());
        let nodes = network.brokers_of(&self.topic).await?;
        let (found, missing) = sort(network.ask_each(nodes, &question, json).await);
        let mut queues: Vec<Queue> = found.into_iter().flat_map(|(_, stats)| queues(stats)).collect();
        queues.sort();
        Answers { found: Status { topic: self.topic.clone(), queues }, missing }.print(output, status_text)
    }
}

fn queues(TopicStats { offset_table, .. }: TopicStats) -> impl Iterator<Item = Queue> {
    offset_table.0.into_iter().map(|(queue, offsets)| {
        let TopicOffset { last_update_timestamp, max_offset, min_offset } = offsets;
        Queue {
            broker: queue.broker_name,
            queue: queue.queue_id,
            first_offset: min_offset,
            end_offset: max_offset,
            last_stored_at_ms: last_update_timestamp,
        }
    })
}

fn status_text(Status { queues, .. }: &Status) -> String {
    let rows = queues.iter().map(|at| {
        [
            at.broker.clone(),
            at.queue.to_string(),
            at.first_offset.to_string(),
            at.end_offset.to_string(),
            at.end_offset.saturating_sub(at.first_offset).to_string(),
            moment(at.last_stored_at_ms),
        ]
    });
    table(["BROKER", "QUEUE", "FIRST", "END", "MESSAGES", "LAST STORED"], rows)
}

/// A time as people read it; brokers say 0 or less where there is none.
pub(super) fn moment(ms: i64) -> String {
    if ms > 0 { time::text(Timestamp(ms)) } else { "-".to_owned() }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct DeleteTopic {
    /// The cluster on whose brokers it is deleted
    #[arg(short, long)]
    cluster: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
}

#[derive(Debug, Serialize)]
struct Deleted {
    topic: String,
    brokers: Vec<String>,
}

impl DeleteTopic {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = masters(which::of_cluster(network.brokers().await?, &self.cluster)?)?;
        let (brokers, missing) = delete(network, nodes, &self.cluster, &self.topic).await;
        Answers { found: Deleted { topic: self.topic.clone(), brokers }, missing }
            .print(output, |deleted| format!("topic {} is deleted at: {}", deleted.topic, deleted.brokers.join(", ")))
    }
}

/// Deletes a topic at these brokers of a cluster, and where none of them has it any more lets all name servers forget it. Answers the
/// brokers that did, and who did not.
pub(super) async fn delete(
    network: &Network,
    nodes: Vec<Node>,
    cluster: &str,
    topic: &str,
) -> (Vec<String>, Vec<Missing>) {
    let of = format!("topic {topic}");
    let question =
        Question::new(RequestCode::DeleteTopicInBroker, of.clone(), TopicName { topic: topic.to_owned() }.to_fields());
    let (found, mut missing) = sort(network.ask_each(nodes, &question, done).await);
    if missing.is_empty() {
        let forget = Forget { topic: topic.to_owned(), cluster_name: Some(cluster.to_owned()) };
        let forget = Question::new(RequestCode::DeleteTopicInNamesrv, of.clone(), forget.to_fields());
        let order = GetKvConfig { namespace: ORDERED.to_owned(), key: topic.to_owned() };
        let order = Question::new(RequestCode::DeleteKvConfig, format!("the order of {of}"), order.to_fields());
        let answers = network.each(network.name_servers(), |network, node| {
            let (forget, order) = (forget.clone(), order.clone());
            async move {
                network.ask(&node, &forget).await?;
                network.ask(&node, &order).await.map(|_| ())
            }
        });
        missing = sort(answers.await).1;
    }
    (found.into_iter().map(|(node, ())| node.broker).collect(), missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use remoting_proto::body::{BrokerData, MessageQueue, Permission, QueueData, QueueTable};

    use super::*;

    #[test]
    fn a_route_is_a_line_for_each_broker() {
        let addrs = BTreeMap::from([(0, "h:1".to_owned()), (1, "h:2".to_owned())]);
        let data = BrokerData {
            broker_addrs: addrs,
            broker_name: "a".to_owned(),
            cluster: "C".to_owned(),
            ..BrokerData::default()
        };
        let queues = |broker: &str| QueueData {
            broker_name: broker.to_owned(),
            perm: Permission(4),
            read_queue_nums: 8,
            write_queue_nums: 4,
            topic_sys_flag: 0,
        };
        let route = TopicRouteData {
            broker_datas: vec![data],
            queue_datas: vec![queues("a"), queues("gone")],
            order_topic_conf: Some("a:8".to_owned()),
            ..TopicRouteData::default()
        };
        let text = route_text(&Route::of("T", route));
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["gone", "8", "4", "yes", "no"]);
        assert_eq!(words[2], ["C", "a", "0=h:1,", "1=h:2", "8", "4", "yes", "no"]);
        assert_eq!(words[4], ["in", "order", "on:", "a:8"]);
    }

    #[test]
    fn a_queue_shows_how_many_messages_it_has() {
        let queue = MessageQueue { broker_name: "a".to_owned(), queue_id: 3, topic: "T".to_owned() };
        let offsets = TopicOffset { last_update_timestamp: 0, max_offset: 7, min_offset: 2 };
        let stats = TopicStats { offset_table: QueueTable(vec![(queue, offsets)]), topic_put_tps: 0.0 };
        let text = status_text(&Status { topic: "T".to_owned(), queues: queues(stats).collect() });
        let words: Vec<&str> = text.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!(words, ["a", "3", "2", "7", "5", "-"]);
    }
}
