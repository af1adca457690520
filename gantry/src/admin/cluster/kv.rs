//! The key-value configuration of name servers, which each keeps for itself: changes go to all of them.

use std::fmt;

use clap::{Args, ValueEnum};
use remoting_proto::requests::{GetKvConfig, GetKvConfigAnswer, PutKvConfig};
use remoting_proto::{Command, RequestCode, ResponseCode};
use serde::Serialize;

use super::answers::{Answers, sort};
use super::network::{Error, Network, Node, Question, Read, done, success, unreadable};
use crate::cli::Misuse;
use crate::output::{Output, table};

/// The namespace that says which brokers hold ordered topics. Source: `NamesrvUtil.NAMESPACE_ORDER_TOPIC_CONFIG`.
pub(super) const ORDERED: &str = "ORDER_TOPIC_CONFIG";

#[derive(Debug, Args)]
pub(in crate::admin) struct UpdateKvConfig {
    /// The namespace
    #[arg(short = 's', long)]
    namespace: String,
    /// The key in it
    #[arg(short, long)]
    key: String,
    /// Its value
    #[arg(short, long)]
    value: String,
}

#[derive(Debug, Args)]
pub(in crate::admin) struct DeleteKvConfig {
    /// The namespace
    #[arg(short = 's', long)]
    namespace: String,
    /// The key in it
    #[arg(short, long)]
    key: String,
}

#[derive(Debug, Args)]
pub(in crate::admin) struct UpdateOrderConf {
    /// What to do
    #[arg(short, long)]
    method: Method,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// With put: the brokers and how many queues each has, such as broker-a:4;broker-b:4
    #[arg(short = 'v', long, value_name = "BROKERS")]
    order_conf: Option<String>,
}

/// What is done with the order of a topic.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    /// Show it
    Get,
    /// Set it
    Put,
    /// Forget it
    Delete,
}

/// An entry, at each name server that answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    namespace: String,
    key: String,
    name_servers: Vec<EntryAt>,
}

#[derive(Debug, Serialize)]
struct EntryAt {
    address: String,
    /// None where there is none.
    value: Option<String>,
}

impl UpdateKvConfig {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        Key { namespace: &self.namespace, key: &self.key }.put(network, output, &self.value).await
    }
}

impl DeleteKvConfig {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        Key { namespace: &self.namespace, key: &self.key }.delete(network, output).await
    }
}

impl UpdateOrderConf {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let key = Key { namespace: ORDERED, key: &self.topic };
        match (self.method, &self.order_conf) {
            (Method::Put, Some(order)) => key.put(network, output, order).await,
            (Method::Get, None) => key.get(network, output).await,
            (Method::Delete, None) => key.delete(network, output).await,
            (Method::Put, None) => Err(Misuse("put needs --order-conf BROKERS (-v)".to_owned()).into()),
            (Method::Get | Method::Delete, Some(_)) => {
                Err(Misuse("--order-conf (-v) is what put sets; get and delete take none".to_owned()).into())
            }
        }
    }
}

/// Where an entry is.
struct Key<'a> {
    namespace: &'a str,
    key: &'a str,
}

impl Key<'_> {
    async fn put(&self, network: &Network, output: Output, value: &str) -> anyhow::Result<()> {
        let [namespace, key, value] = [self.namespace, self.key, value].map(str::to_owned);
        let fields = PutKvConfig { namespace, key, value: value.clone() }.to_fields();
        let question = Question::new(RequestCode::PutKvConfig, self.to_string(), fields);
        self.ask(network, output, &question, done, |()| Some(value.clone())).await
    }

    async fn delete(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        self.ask(network, output, &self.question(RequestCode::DeleteKvConfig), done, |()| None).await
    }

    async fn get(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        self.ask(network, output, &self.question(RequestCode::GetKvConfig), value, |value| value).await
    }

    fn question(&self, code: RequestCode) -> Question {
        let [namespace, key] = [self.namespace, self.key].map(str::to_owned);
        Question::new(code, self.to_string(), GetKvConfig { namespace, key }.to_fields())
    }

    /// Asks all name servers the same, and shows what each has then.
    async fn ask<T: Send + 'static>(
        &self,
        network: &Network,
        output: Output,
        question: &Question,
        read: Read<T>,
        value: impl Fn(T) -> Option<String>,
    ) -> anyhow::Result<()> {
        let (found, missing) = sort(network.ask_each(network.name_servers(), question, read).await);
        let of = |(node, answer): (Node, T)| EntryAt { address: node.address, value: value(answer) };
        let name_servers = found.into_iter().map(of).collect();
        let [namespace, key] = [self.namespace, self.key].map(str::to_owned);
        Answers { found: Entry { namespace, key, name_servers }, missing }.print(output, entry_text)
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {} in {}", self.key, self.namespace)
    }
}

/// The value of an answer; that there is none is an answer too.
fn value(node: &Node, question: &Question, answer: Command) -> Result<Option<String>, Error> {
    if answer.response_code() == ResponseCode::QueryNotFound {
        return Ok(None);
    }
    let answer = GetKvConfigAnswer::of(&success(node, question, answer)?.fields);
    answer.map(|answer| Some(answer.value)).map_err(|error| unreadable(node, question, error))
}

fn entry_text(Entry { namespace, key, name_servers }: &Entry) -> String {
    let rows = name_servers.iter().map(|at| {
        let value = at.value.clone().unwrap_or_else(|| "-".to_owned());
        [at.address.clone(), namespace.clone(), key.clone(), value]
    });
    table(["NAME SERVER", "NAMESPACE", "KEY", "VALUE"], rows)
}
