//! `gantry admin statsAll`: how much comes into topics and goes out to their groups.

use std::collections::BTreeSet;

use clap::Args;
use remoting_proto::body::{BrokerStatsData, GroupList, TopicList};
use remoting_proto::requests::{TopicName, ViewBrokerStatsData};
use remoting_proto::{Command, Fields, RequestCode, ResponseCode};
use serde::Serialize;

use super::answers::{Answers, Missing, note, sort};
use super::groups;
use super::network::{Error, Network, Node, Question, json};
use crate::output::{Output, table};
use crate::progress::Bar;

/// What brokers count of messages that are sent to a topic, and of those that go out to a group, `topic@group`. Source: Apache 5.5
/// `Stats`.
const SENT: &str = "TOPIC_PUT_NUMS";
const TAKEN: &str = "GROUP_GET_NUMS";
/// How the remarks of Apache's brokers and of ours begin when nothing was counted.
const UNCOUNTED: [&str; 2] = ["The stats <", "nothing was counted of "];

#[derive(Debug, Args)]
pub(in crate::admin) struct StatsAll {
    /// Only this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// Only where something was sent or taken in the last day
    #[arg(short, long)]
    active_topic: bool,
}

#[derive(Debug, Serialize)]
struct Stats {
    topics: Vec<Flow>,
}

/// A topic, and one of its groups.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Flow {
    topic: String,
    /// None if nobody consumes the topic.
    group: Option<String>,
    /// Messages that the group has not finished.
    lag: i64,
    /// Of the last minute.
    sent_per_second: f64,
    /// Of the last minute.
    received_per_second: f64,
    /// Of the last day, as far as it is counted.
    sent: u64,
    /// Of the last day, as far as it is counted.
    received: u64,
}

impl StatsAll {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let names = match &self.topic {
            Some(topic) => vec![topic.clone()],
            None => topics(network).await?,
        };
        let bar = Bar::counting("topics", names.len() as u64);
        let (mut topics, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            let flows = match of_topic(network, &name, &mut missing).await {
                // A name that is no topic's: of a cluster or broker, or it was deleted meanwhile.
                Err(error) if self.topic.is_none() && error.is_refusal(ResponseCode::TopicNotExist) => Vec::new(),
                flows => flows?,
            };
            topics.extend(flows.into_iter().filter(|flow| !self.active_topic || flow.sent > 0 || flow.received > 0));
            bar.add(1);
        }
        drop(bar);
        Answers { found: Stats { topics }, missing }.print(output, stats_text)
    }
}

/// Those that are sent to: not those of failed messages.
async fn topics(network: &Network) -> Result<Vec<String>, Error> {
    let question = Question::new(RequestCode::GetAllTopicListFromNameserver, "", Fields::default());
    let TopicList { topic_list, .. } = network.ask_names(&question).await?;
    let is_sent_to = |topic: &String| !["%RETRY%", "%DLQ%"].iter().any(|start| topic.starts_with(start));
    Ok(topic_list.into_iter().filter(is_sent_to).collect())
}

async fn of_topic(network: &Network, topic: &str, missing: &mut Vec<Missing>) -> Result<Vec<Flow>, Error> {
    let nodes = network.brokers_of(topic).await?;
    let (sent_per_second, sent) = counted(network, &nodes, SENT, topic.to_owned(), missing).await;
    let asked = TopicName { topic: topic.to_owned() };
    let question = Question::new(RequestCode::QueryTopicConsumeByWho, format!("topic {topic}"), asked.to_fields());
    let (lists, gone) = sort(network.ask_each(nodes.clone(), &question, json::<GroupList>).await);
    note(missing, gone);
    let groups: BTreeSet<String> = lists.into_iter().flat_map(|(_, list)| list.group_list).collect();
    let idle = Flow { topic: topic.to_owned(), sent_per_second, sent, ..Flow::default() };
    if groups.is_empty() {
        return Ok(vec![idle]);
    }
    let mut flows = Vec::with_capacity(groups.len());
    for group in groups {
        let (received_per_second, received) =
            counted(network, &nodes, TAKEN, format!("{topic}@{group}"), missing).await;
        let (lag, gone) = groups::lag_on(network, nodes.clone(), &group, topic).await?;
        note(missing, gone);
        let topic = topic.to_owned();
        flows.push(Flow { topic, group: Some(group), lag, received_per_second, received, ..idle });
    }
    Ok(flows)
}

/// Messages a second of the last minute and messages of the last day, at all of `nodes`.
async fn counted(network: &Network, nodes: &[Node], name: &str, key: String, missing: &mut Vec<Missing>) -> (f64, u64) {
    let of = format!("{name} of {key}");
    let header = ViewBrokerStatsData { stats_name: name.to_owned(), stats_key: key };
    let question = Question::new(RequestCode::ViewBrokerStatsData, of, header.to_fields());
    let (found, gone) = sort(network.ask_each(nodes.to_vec(), &question, data).await);
    note(missing, gone);
    let of_all = |(rate, sum): (f64, u64), (_, data): (Node, BrokerStatsData)| {
        (rate + data.stats_minute.tps, sum + of_day(&data))
    };
    found.into_iter().fold((0.0, 0), of_all)
}

/// What was counted. Brokers have no code for that nothing was, only remarks.
fn data(node: &Node, question: &Question, answer: Command) -> Result<BrokerStatsData, Error> {
    let remark = answer.remark.as_deref().unwrap_or_default();
    let is_uncounted = UNCOUNTED.iter().any(|start| remark.starts_with(start));
    if answer.response_code() == ResponseCode::SystemError && is_uncounted {
        return Ok(BrokerStatsData::default());
    }
    json(node, question, answer)
}

/// The longest time that something is known of: a broker that has just begun knows of no whole hour. Source: Apache 5.5
/// `StatsAllSubCommand#compute24HourSum`.
fn of_day(data: &BrokerStatsData) -> u64 {
    let sums = [data.stats_day.sum, data.stats_hour.sum, data.stats_minute.sum];
    sums.into_iter().find(|sum| *sum > 0).unwrap_or_default()
}

fn stats_text(Stats { topics }: &Stats) -> String {
    let rows = topics.iter().map(|flow| {
        let group = |text: String| if flow.group.is_some() { text } else { "-".to_owned() };
        [
            flow.topic.clone(),
            group(flow.group.clone().unwrap_or_default()),
            group(flow.lag.to_string()),
            format!("{:.2}", flow.sent_per_second),
            group(format!("{:.2}", flow.received_per_second)),
            flow.sent.to_string(),
            group(flow.received.to_string()),
        ]
    });
    table(["TOPIC", "GROUP", "LAG", "SENT/S", "RECEIVED/S", "SENT 24H", "RECEIVED 24H"], rows)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remoting_proto::body::BrokerStatsItem;

    use super::super::network::tests::node;
    use super::*;

    #[test]
    fn only_a_broker_that_says_so_counted_nothing() {
        let question = Question::new(RequestCode::ViewBrokerStatsData, "", Fields::default());
        let read = |code: ResponseCode, remark: &str| {
            let asked = Command::request(RequestCode::ViewBrokerStatsData, Fields::default(), Bytes::new());
            data(&node("a", 0), &question, Command { remark: Some(remark.to_owned()), ..asked.answer(code) })
        };
        for remark in ["The stats <TOPIC_PUT_NUMS> <t> not exist", "nothing was counted of TOPIC_PUT_NUMS t"] {
            assert_eq!(of_day(&read(ResponseCode::SystemError, remark).expect("nothing")), 0);
            read(ResponseCode::SystemBusy, remark).expect_err("another code");
        }
        read(ResponseCode::SystemError, "disk full").expect_err("another failure");
    }

    #[test]
    fn the_longest_known_time_is_taken_for_the_day() {
        let item = |sum| BrokerStatsItem { sum, ..BrokerStatsItem::default() };
        let data = |day, hour, minute| BrokerStatsData {
            stats_day: item(day),
            stats_hour: item(hour),
            stats_minute: item(minute),
        };
        assert_eq!(
            [data(3, 2, 1), data(0, 2, 1), data(0, 0, 1), data(0, 0, 0)].map(|data| of_day(&data)),
            [3, 2, 1, 0]
        );
    }

    #[test]
    fn a_topic_that_nobody_consumes_is_a_line_too() {
        let idle = Flow { topic: "T".to_owned(), sent: 4, ..Flow::default() };
        let text = stats_text(&Stats { topics: vec![idle] });
        let words: Vec<&str> = text.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!(words, ["T", "-", "-", "0.00", "-", "4", "-"]);
    }
}
