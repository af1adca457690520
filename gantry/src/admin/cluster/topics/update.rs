//! Topics that are made or changed.

use clap::Args;
use remoting_proto::body::TopicSettings;
use remoting_proto::requests::{AUTO_CREATE_TOPIC, TopicName, UpdateAndCreateTopic};
use remoting_proto::{RequestCode, ResponseCode};
use serde::Serialize;

use super::super::answers::{Answers, sort};
use super::super::network::{Error, Network, Node, Question};
use super::super::which::Which;
use crate::output::{Output, table};

/// Queues of a new topic at each broker, as Apache's tools have it.
const QUEUES: i64 = 8;

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
    pub(in super::super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
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
    let known = match known(network, node, &topic).await {
        Err(error) if error.is_refusal(ResponseCode::TopicNotExist) => None,
        answer => Some(answer?),
    };
    let is_new = known.is_none();
    let mut header = settings(topic, known);
    change(&mut header);
    write(network, node, &header).await?;
    Ok((is_new, header))
}

/// A topic's settings at a broker.
async fn known(network: &Network, node: &Node, topic: &str) -> Result<TopicSettings, Error> {
    let asked = TopicName { topic: topic.to_owned() }.to_fields();
    network.ask_for(node, &Question::new(RequestCode::GetTopicConfig, format!("topic {topic}"), asked)).await
}

async fn write(network: &Network, node: &Node, header: &UpdateAndCreateTopic) -> Result<(), Error> {
    let of = format!("topic {}", header.topic);
    network.ask(node, &Question::new(RequestCode::UpdateAndCreateTopic, of, header.to_fields())).await.map(drop)
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
pub(in crate::admin) struct UpdateTopicPerm {
    #[command(flatten)]
    which: Which,
    /// The topic, which must be there
    #[arg(short, long)]
    topic: String,
    /// 2 to write, 4 to read, 6 for both
    #[arg(short, long, value_name = "BITS", value_parser = clap::value_parser!(i64).range(0..=7))]
    perm: i64,
}

#[derive(Debug, Serialize)]
struct Permitted {
    topic: String,
    brokers: Vec<PermittedAt>,
}

#[derive(Debug, Serialize)]
struct PermittedAt {
    broker: String,
    address: String,
    /// What it was before.
    before: i64,
    perm: i64,
}

impl UpdateTopicPerm {
    pub(in super::super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.masters(network).await?;
        let permit = |network: Network, node: Node| {
            let (topic, perm) = (self.topic.clone(), self.perm);
            async move {
                let known = known(&network, &node, &topic).await?;
                let header = settings(topic, Some(known));
                write(&network, &node, &UpdateAndCreateTopic { perm, ..header.clone() }).await?;
                Ok(header.perm)
            }
        };
        let (found, missing) = sort(network.each(nodes, permit).await);
        let of = |(node, before): (Node, i64)| PermittedAt {
            broker: node.broker,
            address: node.address,
            before,
            perm: self.perm,
        };
        let brokers = found.into_iter().map(of).collect();
        Answers { found: Permitted { topic: self.topic.clone(), brokers }, missing }.print(output, permitted_text)
    }
}

fn permitted_text(Permitted { brokers, .. }: &Permitted) -> String {
    let rows = brokers.iter().map(|at| {
        let [before, perm] = [at.before, at.perm].map(|bits| bits.to_string());
        [at.broker.clone(), at.address.clone(), before, perm]
    });
    table(["BROKER", "ADDRESS", "PERM BEFORE", "PERM"], rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use remoting_proto::body::{Permission, TopicConfig};

    use super::*;

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
