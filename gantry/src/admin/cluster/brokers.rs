//! Brokers: who is there, how they are, how they are configured, and whether they may be written to.

use std::collections::BTreeMap;

use clap::Args;
use remoting_proto::body::{GANTRY_VERSION, KvTable};
use remoting_proto::requests::{AddWritePermAnswer, BrokerName, WipeWritePermAnswer};
use remoting_proto::{Command, Fields, RequestCode};
use serde::Serialize;

use super::answers::{Answers, sort};
use super::network::{Error, Network, Node, Question, Read, done, success, unreadable};
use super::which::{self, Which};
use crate::output::{Output, table};

#[derive(Debug, Args)]
pub(in crate::admin) struct ClusterList {
    /// Only this cluster
    #[arg(short, long)]
    cluster: Option<String>,
}

#[derive(Debug, Serialize)]
struct Brokers {
    brokers: Vec<Broker>,
}

/// A broker as it describes itself; what it does not say is none.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Broker {
    cluster: String,
    broker: String,
    id: i64,
    address: String,
    /// The release of Apache's that it is one of, or is like.
    version: Option<String>,
    /// Ours only.
    gantry_version: Option<String>,
    sent_per_second: Option<f64>,
    received_per_second: Option<f64>,
    /// Of the disk that the CommitLog is on, 0 to 1.
    disk_used: Option<f64>,
}

impl ClusterList {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = network.brokers().await?;
        let nodes = match &self.cluster {
            Some(cluster) => which::of_cluster(nodes, cluster)?,
            None => nodes,
        };
        let (found, missing) = sort(network.each(nodes, status).await);
        let brokers = found.into_iter().map(|(node, status)| Broker::of(node, &status)).collect();
        Answers { found: Brokers { brokers }, missing }.print(output, |found| brokers_text(&found.brokers))
    }
}

async fn status(network: Network, node: Node) -> Result<Texts, Error> {
    let question = Question::new(RequestCode::GetBrokerRuntimeInfo, "", Fields::default());
    let KvTable { table } = network.ask_for(&node, &question).await?;
    Ok(table)
}

impl Broker {
    fn of(node: Node, status: &Texts) -> Self {
        let Node { cluster, broker, id, address } = node;
        // Rates are those of the last 10 s, minute and 10 minutes.
        let first = |key: &str| status.get(key)?.split_whitespace().next()?.parse().ok();
        Self {
            cluster,
            broker,
            id,
            address,
            version: status.get("brokerVersionDesc").cloned(),
            gantry_version: status.get(GANTRY_VERSION).cloned(),
            sent_per_second: first("putTps"),
            received_per_second: first("getTransferredTps"),
            // Who does not measure it says 0.
            disk_used: first("commitLogDiskRatio").filter(|used| *used > 0.0),
        }
    }
}

fn brokers_text(brokers: &[Broker]) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(unknown, |rate| format!("{rate:.2}"));
    let rows = brokers.iter().map(|broker| {
        let version = broker.version.clone().unwrap_or_else(unknown);
        [
            broker.cluster.clone(),
            broker.broker.clone(),
            broker.id.to_string(),
            broker.address.clone(),
            broker.gantry_version.as_ref().map_or(version.clone(), |ours| format!("{version} (gantry {ours})")),
            rate(broker.sent_per_second),
            rate(broker.received_per_second),
            broker.disk_used.map_or_else(unknown, |used| format!("{:.0} %", used * 100.0)),
        ]
    });
    table(["CLUSTER", "BROKER", "ID", "ADDRESS", "VERSION", "SENT/S", "RECEIVED/S", "DISK"], rows)
}

fn unknown() -> String {
    "-".to_owned()
}

#[derive(Debug, Args)]
pub(in crate::admin) struct BrokerStatus {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(in crate::admin) struct GetBrokerConfig {
    #[command(flatten)]
    which: Which,
    /// Only this key
    #[arg(short, long)]
    key: Option<String>,
}

#[derive(Debug, Serialize)]
struct Tables {
    brokers: Vec<BrokerTable>,
}

/// Texts by key, of one broker.
#[derive(Debug, Serialize)]
struct BrokerTable {
    broker: String,
    address: String,
    table: Texts,
}

/// Values by key.
type Texts = BTreeMap<String, String>;

impl BrokerStatus {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.all(network).await?;
        print_tables(network.each(nodes, status).await, output)
    }
}

impl GetBrokerConfig {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.all(network).await?;
        let mut answers = network.each(nodes, config).await;
        if let Some(only) = &self.key {
            for (_, table) in &mut answers {
                if let Ok(table) = table {
                    table.retain(|key, _| key == only);
                }
            }
        }
        print_tables(answers, output)
    }
}

async fn config(network: Network, node: Node) -> Result<Texts, Error> {
    let answer = network.ask(&node, &Question::new(RequestCode::GetBrokerConfig, "", Fields::default())).await?;
    Ok(settings(&String::from_utf8_lossy(&answer.body)))
}

/// Lines of `KEY=VALUE`. Nothing in them is escaped, in spite of Java's form of properties. Source: `MixAll#properties2String`.
fn settings(text: &str) -> Texts {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

fn print_tables(answers: Vec<(Node, Result<Texts, Error>)>, output: Output) -> anyhow::Result<()> {
    let (found, missing) = sort(answers);
    let of = |(node, table): (Node, _)| BrokerTable { broker: node.broker, address: node.address, table };
    let brokers = found.into_iter().map(of).collect();
    Answers { found: Tables { brokers }, missing }.print(output, tables_text)
}

fn tables_text(Tables { brokers }: &Tables) -> String {
    let text = |BrokerTable { broker, address, table: values }: &BrokerTable| {
        let rows = values.iter().map(|(key, value)| [key.clone(), value.clone()]);
        format!("{broker} at {address}\n{}", table(["KEY", "VALUE"], rows))
    };
    brokers.iter().map(text).collect::<Vec<_>>().join("\n\n")
}

#[derive(Debug, Args)]
pub(in crate::admin) struct UpdateBrokerConfig {
    #[command(flatten)]
    which: Which,
    /// The setting, under Apache's name, such as brokerPermission
    #[arg(short, long, value_parser = setting_key)]
    key: String,
    /// Its value
    #[arg(short, long, value_parser = setting_value)]
    value: String,
}

/// One line of properties must not become two, or a remark.
fn setting_key(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if is_name { Ok(text.to_owned()) } else { Err("expected letters, digits, '.', '_' and '-'".to_owned()) }
}

fn setting_value(text: &str) -> Result<String, String> {
    let is_plain = !text.contains(|c: char| c.is_control() || c == '\\');
    if is_plain { Ok(text.to_owned()) } else { Err("expected a text without control characters and '\\'".to_owned()) }
}

impl UpdateBrokerConfig {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let line = format!("{}={}\n", self.key, self.value);
        let question =
            Question::new(RequestCode::UpdateBrokerConfig, format!("setting {}", self.key), Fields::default())
                .with_body(line);
        let nodes = self.which.masters(network).await?;
        let (found, missing) = sort(network.ask_each(nodes, &question, done).await);
        let set = BTreeMap::from([(self.key.clone(), self.value.clone())]);
        let of =
            |(node, ()): (Node, ())| BrokerTable { broker: node.broker, address: node.address, table: set.clone() };
        let brokers = found.into_iter().map(of).collect();
        Answers { found: Tables { brokers }, missing }.print(output, tables_text)
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct WritePermission {
    /// The broker's name
    #[arg(short, long)]
    broker: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    broker: String,
    name_servers: Vec<ChangedAt>,
}

#[derive(Debug, Serialize)]
struct ChangedAt {
    address: String,
    /// How many topics were changed.
    topics: i64,
}

impl WritePermission {
    pub(super) async fn wipe(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        self.change(network, output, RequestCode::WipeWritePermOfBroker, wiped).await
    }

    pub(super) async fn add(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        self.change(network, output, RequestCode::AddWritePermOfBroker, added).await
    }

    async fn change(
        &self,
        network: &Network,
        output: Output,
        code: RequestCode,
        count: Read<i64>,
    ) -> anyhow::Result<()> {
        // A name server changes nothing of a broker that it does not know, and says nothing of it either.
        which::of_broker(network, &self.broker).await?;
        let header = BrokerName { broker_name: self.broker.clone() };
        let question = Question::new(code, format!("broker {}", self.broker), header.to_fields());
        let (found, missing) = sort(network.ask_each(network.name_servers(), &question, count).await);
        let name_servers =
            found.into_iter().map(|(node, topics)| ChangedAt { address: node.address, topics }).collect();
        let found = Changed { broker: self.broker.clone(), name_servers };
        Answers { found, missing }.print(output, |changed| {
            let rows = changed.name_servers.iter().map(|at| [at.address.clone(), at.topics.to_string()]);
            table(["NAME SERVER", "TOPICS CHANGED"], rows)
        })
    }
}

fn wiped(node: &Node, question: &Question, answer: Command) -> Result<i64, Error> {
    let count = WipeWritePermAnswer::of(&success(node, question, answer)?.fields);
    count.map(|count| count.wipe_topic_count).map_err(|error| unreadable(node, question, error))
}

fn added(node: &Node, question: &Question, answer: Command) -> Result<i64, Error> {
    let count = AddWritePermAnswer::of(&success(node, question, answer)?.fields);
    count.map(|count| count.add_topic_count).map_err(|error| unreadable(node, question, error))
}

#[cfg(test)]
mod tests {
    use super::super::network::tests::node;
    use super::*;

    fn status(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_a_broker_does_not_say_is_not_made_up() {
        let said = [
            ("brokerVersionDesc", "V5_5_0"),
            ("putTps", "1.5 2.5 3.5"),
            ("getTransferredTps", "0.0 0.0"),
            ("commitLogDiskRatio", "0.37"),
        ];
        let apaches = Broker::of(node("a", 0), &status(&said));
        let ours = Broker::of(node("b", 1), &status(&[(GANTRY_VERSION, "0.1.0"), ("commitLogDiskRatio", "0")]));
        assert_eq!((apaches.sent_per_second, apaches.disk_used), (Some(1.5), Some(0.37)));
        assert_eq!((ours.sent_per_second, ours.disk_used), (None, None));
        let text = brokers_text(&[apaches, ours]);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["C", "a", "0", "10.0.0.1:10910", "V5_5_0", "1.50", "0.00", "37", "%"]);
        assert_eq!(words[2], ["C", "b", "1", "10.0.0.1:10911", "-", "(gantry", "0.1.0)", "-", "-", "-"]);
    }

    #[test]
    fn a_setting_stays_one_line() {
        assert_eq!(settings("a=1\nb=c=d\nnothing\n"), status(&[("a", "1"), ("b", "c=d")]));
        for bad in ["", "a=b", "a\nb", "#a", "a b"] {
            assert!(setting_key(bad).is_err(), "{bad:?}");
        }
        assert!(setting_value("1\nb=2").is_err() && setting_value("a\\").is_err());
        assert_eq!(setting_value("a b=c"), Ok("a b=c".to_owned()));
    }
}
