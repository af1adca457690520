//! Consumer groups: how far they are, how they are made, changed and deleted, and where they go on.

mod progress;
mod reset;

use clap::{ArgAction, Args};
use remoting_proto::body::SubscriptionGroupConfig;
use remoting_proto::requests::{DeleteSubscriptionGroup, GroupName};
use remoting_proto::{Dialect, Fields, RequestCode, ResponseCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::answers::{Answers, sort};
use super::network::{Error, Network, Node, Question, done, unreadable};
use super::topics;
use super::which::Which;
use crate::output::{Output, table};
pub(in crate::admin) use progress::ConsumerProgress;
pub(super) use progress::lag_on;
pub(in crate::admin) use reset::{CloneGroupOffset, ResetOffsetByTime, SkipAccumulatedMessage};

#[derive(Debug, Args)]
pub(in crate::admin) struct UpdateSubGroup {
    #[command(flatten)]
    which: Which,
    /// Its name: letters, digits, '%', '|', '_' and '-', at most 120
    #[arg(short, long)]
    group: String,
    /// Whether its members may consume [default of a new one: true]
    #[arg(short = 's', long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Whether each queue is consumed in order [default of a new one: false]
    #[arg(short, long, value_name = "BOOL")]
    orderly: Option<bool>,
    /// Whether its members may each consume everything [default of a new one: true]
    #[arg(short = 'd', long, value_name = "BOOL")]
    broadcast: Option<bool>,
    /// Deliveries after the first, before a message goes to the dead-letter topic [default of a new one: 16]
    #[arg(short, long, value_name = "COUNT")]
    retry_max: Option<u32>,
    /// Queues of its retry topic at each broker [default of a new one: 1]
    #[arg(short = 'q', long, value_name = "COUNT")]
    retry_queues: Option<u32>,
    /// How long failed messages wait, in Apache's JSON: {"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":5000,"max":60000,"multiplier":2}}
    #[arg(short = 'p', long, value_name = "JSON", value_parser = policy)]
    retry_policy: Option<Value>,
}

fn policy(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(policy @ Value::Object(_)) => Ok(policy),
        Ok(other) => Err(format!("expected a JSON object, not {other}")),
        Err(error) => Err(format!("expected a JSON object: {error}")),
    }
}

#[derive(Debug, Serialize)]
struct Updated {
    group: String,
    brokers: Vec<UpdatedAt>,
}

#[derive(Debug, Serialize)]
struct UpdatedAt {
    broker: String,
    address: String,
    created: bool,
    /// As they were written, under Apache's names.
    settings: Map<String, Value>,
}

impl UpdateSubGroup {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.masters(network).await?;
        let put = |network: Network, node: Node| {
            let (group, changes) = (self.group.clone(), self.changes());
            async move { put(&network, &node, group, changes).await }
        };
        let (found, missing) = sort(network.each(nodes, put).await);
        let of = |(node, (created, settings)): (Node, (bool, Map<String, Value>))| UpdatedAt {
            broker: node.broker,
            address: node.address,
            created,
            settings,
        };
        let brokers = found.into_iter().map(of).collect();
        Answers { found: Updated { group: self.group.clone(), brokers }, missing }.print(output, updated_text)
    }

    /// What is named, under Apache's names.
    fn changes(&self) -> Map<String, Value> {
        let named = [
            ("consumeEnable", self.enabled.map(Value::from)),
            ("consumeMessageOrderly", self.orderly.map(Value::from)),
            ("consumeBroadcastEnable", self.broadcast.map(Value::from)),
            ("retryMaxTimes", self.retry_max.map(Value::from)),
            ("retryQueueNums", self.retry_queues.map(Value::from)),
            ("groupRetryPolicy", self.retry_policy.clone()),
        ];
        named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// Reads a group's settings at a broker, changes them and writes them; whether it was made, and what was written. What we do not know
/// of the settings stays as it is.
async fn put(
    network: &Network,
    node: &Node,
    group: String,
    changes: Map<String, Value>,
) -> Result<(bool, Map<String, Value>), Error> {
    let of = format!("group {group}");
    let asked = GroupName { group: group.clone() }.to_fields();
    let question = Question::new(RequestCode::GetSubscriptionGroupConfig, of.clone(), asked);
    let (is_new, known) = match network.ask_for(node, &question).await {
        Err(error) if error.is_refusal(ResponseCode::SubscriptionGroupNotExist) => (true, new_group(group)),
        answer => (false, answer?),
    };
    let Value::Object(mut settings) = known else {
        return Err(unreadable(node, &question, "expected a JSON object"));
    };
    settings.extend(changes);
    let body = remoting_proto::to_vec(&settings, Dialect::Standard);
    let question = Question::new(RequestCode::UpdateAndCreateSubscriptionGroup, of, Fields::default());
    network.ask(node, &question.with_body(body)).await?;
    Ok((is_new, settings))
}

fn new_group(group_name: String) -> Value {
    let config = SubscriptionGroupConfig { group_name, ..SubscriptionGroupConfig::default() };
    serde_json::to_value(config).expect("bodies have a JSON form")
}

fn updated_text(Updated { brokers, .. }: &Updated) -> String {
    let rows = brokers.iter().map(|at| {
        let setting = |name: &str| at.settings.get(name).map(ToString::to_string).unwrap_or_default();
        [
            at.broker.clone(),
            at.address.clone(),
            if at.created { "created" } else { "updated" }.to_owned(),
            setting("consumeEnable"),
            setting("consumeMessageOrderly"),
            setting("consumeBroadcastEnable"),
            setting("retryMaxTimes"),
        ]
    });
    table(["BROKER", "ADDRESS", "GROUP", "ENABLED", "ORDERLY", "BROADCAST", "RETRIES"], rows)
}

#[derive(Debug, Args)]
pub(in crate::admin) struct DeleteSubGroup {
    #[command(flatten)]
    which: Which,
    /// The group
    #[arg(short, long)]
    group: String,
    /// Whether its offsets go too; brokers of ours keep none of a group that is not there, and refuse without
    #[arg(short, long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = true)]
    remove_offsets: bool,
}

#[derive(Debug, Serialize)]
struct Deleted {
    group: String,
    brokers: Vec<String>,
}

impl DeleteSubGroup {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = self.which.masters(network).await?;
        let header =
            DeleteSubscriptionGroup { group_name: self.group.clone(), clean_offset: Some(self.remove_offsets) };
        let of = format!("group {}", self.group);
        let question = Question::new(RequestCode::DeleteSubscriptionGroup, of, header.to_fields());
        let (found, mut missing) = sort(network.ask_each(nodes.clone(), &question, done).await);
        // The topics of its failed messages are those of a whole cluster, so they go only with it.
        if let Some(cluster) = self.which.cluster().filter(|_| missing.is_empty()) {
            for kind in ["%RETRY%", "%DLQ%"] {
                let topic = format!("{kind}{}", self.group);
                missing.extend(topics::delete(network, nodes.clone(), cluster, &topic).await.1);
            }
        }
        let brokers = found.into_iter().map(|(node, ())| node.broker).collect();
        Answers { found: Deleted { group: self.group.clone(), brokers }, missing }
            .print(output, |deleted| format!("group {} is deleted at: {}", deleted.group, deleted.brokers.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_what_is_named_is_changed() {
        let update = UpdateSubGroup {
            which: Which::broker("a"),
            group: "g".to_owned(),
            enabled: Some(false),
            orderly: None,
            broadcast: None,
            retry_max: Some(3),
            retry_queues: None,
            retry_policy: Some(policy(r#"{"type":"EXPONENTIAL"}"#).expect("an object")),
        };
        let named: BTreeSet<String> =
            update.changes().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let policy_named = "groupRetryPolicy={\"type\":\"EXPONENTIAL\"}";
        assert_eq!(named, ["consumeEnable=false", policy_named, "retryMaxTimes=3"].map(str::to_owned).into());
        assert!(policy("3").is_err() && policy("{").is_err());
        assert_eq!(new_group("g".to_owned())["groupName"], "g");
    }
}
