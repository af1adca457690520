//! Topics: which there are, where they are, how they are made, changed and deleted.

use clap::Args;
use remoting_proto::body::{TopicList as Listed, TopicOffset, TopicRouteData, TopicSettings, TopicStats};
use remoting_proto::requests::{
    AUTO_CREATE_TOPIC, DeleteTopic as Forget, GetKvConfig, GetTopicsByCluster, TopicName, UpdateAndCreateTopic,
};
use remoting_proto::{Fields, RequestCode, ResponseCode};
use serde::Serialize;
use types::Timestamp;

use super::answers::{Answers, Missing, sort};
use super::network::{Error, Network, Node, Question, masters};
use super::which::{self, Which};
use crate::output::{Output, table, yes};
use crate::time;

/// The namespace of a name server's key-value configuration that says which brokers hold ordered topics.
const ORDERED: &str = "ORDER_TOPIC_CONFIG";
/// Queues of a new topic at each broker, as Apache's tools have it.
const QUEUES: i64 = 8;

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
        let (found, missing) = sort(network.ask_each(nodes, &question).await);
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
pub(in crate::admin) struct UpdateTopic {
    #[command(flatten)]
    which: Which,
    /// Its name: letters, digits, '%', '|', '_' and '-', at most 127
    #[arg(short, long)]
    topic: String,
    /// Queues to read at each broker [default: as it is, 8 of a new one]
    #[arg(short, long, value_name = "COUNT")]
    read_queues: Option<i64>,
    /// Queues to write at each broker; to have fewer, reduce these first, then those to read
    #[arg(short, long, value_name = "COUNT")]
    write_queues: Option<i64>,
    /// 2 to write, 4 to read, 6 for both [default: as it is, 6 of a new one]
    #[arg(short, long, value_name = "BITS", value_parser = clap::value_parser!(i64).range(0..=7))]
    perm: Option<i64>,
    /// Attributes to set and to remove, such as +message.type=FIFO,-cleanup.policy
    #[arg(short, long, value_name = "CHANGES", allow_hyphen_values = true)]
    attributes: Option<String>,
}

#[derive(Debug, Serialize)]
struct Updated {
    topic: String,
    brokers: Vec<UpdatedAt>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdatedAt {
    broker: String,
    address: String,
    created: bool,
    read_queues: i64,
    write_queues: i64,
    perm: i64,
}

impl UpdateTopic {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.masters(network).await?;
        let put = |network: Network, node: Node| {
            let (topic, change) = (self.topic.clone(), self.change());
            async move { put(&network, &node, topic, change).await }
        };
        let (found, missing) = sort(network.each(nodes, put).await);
        let of = |(node, (created, header)): (Node, (bool, UpdateAndCreateTopic))| UpdatedAt {
            broker: node.broker,
            address: node.address,
            created,
            read_queues: header.read_queue_nums,
            write_queues: header.write_queue_nums,
            perm: header.perm,
        };
        let brokers = found.into_iter().map(of).collect();
        Answers { found: Updated { topic: self.topic.clone(), brokers }, missing }.print(output, updated_text)
    }

    fn change(&self) -> impl FnOnce(&mut UpdateAndCreateTopic) + Send + use<> {
        let (read, write, perm, attributes) = (self.read_queues, self.write_queues, self.perm, self.attributes.clone());
        move |header| {
            header.read_queue_nums = read.unwrap_or(header.read_queue_nums);
            header.write_queue_nums = write.unwrap_or(header.write_queue_nums);
            header.perm = perm.unwrap_or(header.perm);
            header.attributes = attributes;
        }
    }
}

/// Reads a topic's settings at a broker, changes them and writes them; whether it was made, and what was written.
async fn put(
    network: &Network,
    node: &Node,
    topic: String,
    change: impl FnOnce(&mut UpdateAndCreateTopic),
) -> Result<(bool, UpdateAndCreateTopic), Error> {
    let of = format!("topic {topic}");
    let asked = TopicName { topic: topic.clone() }.to_fields();
    let question = Question::new(RequestCode::GetTopicConfig, of.clone(), asked);
    let known: Option<TopicSettings> = match network.ask_for(node, &question).await {
        Err(error) if error.is_refusal(ResponseCode::TopicNotExist) => None,
        answer => Some(answer?),
    };
    let is_new = known.is_none();
    let mut header = settings(topic, known);
    change(&mut header);
    network.ask(node, &Question::new(RequestCode::UpdateAndCreateTopic, of, header.to_fields())).await?;
    Ok((is_new, header))
}

/// The request that changes nothing of a topic, or makes it as tools make them. Its attributes are changes, so none are repeated.
fn settings(topic: String, known: Option<TopicSettings>) -> UpdateAndCreateTopic {
    let is_new = known.is_none();
    let TopicSettings { config, order, topic_filter_type, .. } = known.unwrap_or_default();
    UpdateAndCreateTopic {
        topic,
        read_queue_nums: if is_new { QUEUES } else { config.read_queue_nums.into() },
        write_queue_nums: if is_new { QUEUES } else { config.write_queue_nums.into() },
        perm: config.perm.0.into(),
        default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
        topic_filter_type: Some(topic_filter_type),
        topic_sys_flag: Some(config.topic_sys_flag.into()),
        order: Some(order),
        attributes: None,
    }
}

fn updated_text(Updated { brokers, .. }: &Updated) -> String {
    let rows = brokers.iter().map(|at| {
        let done = if at.created { "created" } else { "updated" };
        let numbers = [at.read_queues, at.write_queues, at.perm].map(|number| number.to_string());
        let [read, write, perm] = numbers;
        [at.broker.clone(), at.address.clone(), done.to_owned(), read, write, perm]
    });
    table(["BROKER", "ADDRESS", "TOPIC", "READ QUEUES", "WRITE QUEUES", "PERM"], rows)
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
    let (found, mut missing) = sort(network.tell_each(nodes, &question).await);
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

    use remoting_proto::body::{BrokerData, MessageQueue, Permission, QueueData, QueueTable, TopicConfig};

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

    #[test]
    fn only_what_is_named_is_changed() {
        let config = TopicConfig {
            topic_name: "T".to_owned(),
            read_queue_nums: 3,
            write_queue_nums: 2,
            perm: Permission(4),
            topic_sys_flag: 1,
        };
        let known = TopicSettings {
            config,
            order: true,
            topic_filter_type: "MULTI_TAG".to_owned(),
            attributes: BTreeMap::from([("message.type".to_owned(), "FIFO".to_owned())]),
        };
        let update = |read_queues, attributes: Option<&str>| UpdateTopic {
            which: Which::broker("a"),
            topic: "T".to_owned(),
            read_queues,
            write_queues: None,
            perm: None,
            attributes: attributes.map(str::to_owned),
        };
        let mut header = settings("T".to_owned(), Some(known));
        update(Some(5), None).change()(&mut header);
        assert_eq!((header.read_queue_nums, header.write_queue_nums, header.perm), (5, 2, 4));
        assert_eq!((header.order, header.topic_sys_flag, header.attributes), (Some(true), Some(1), None));
        assert_eq!(header.topic_filter_type.as_deref(), Some("MULTI_TAG"));
        let mut header = settings("T".to_owned(), None);
        update(None, Some("+message.type=FIFO")).change()(&mut header);
        assert_eq!((header.read_queue_nums, header.write_queue_nums, header.perm), (8, 8, 6));
        assert_eq!(header.attributes.as_deref(), Some("+message.type=FIFO"));
    }
}
