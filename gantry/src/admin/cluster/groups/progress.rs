//! How far groups are.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use remoting_proto::body::{ConsumeOffset, ConsumeStats, SubscriptionGroups};
use remoting_proto::requests::GetConsumeStats;
use remoting_proto::{Fields, RequestCode, ResponseCode};
use serde::Serialize;

use super::super::answers::{Answers, Missing, note, sort};
use super::super::clients;
use super::super::network::{Error, Network, Node, Question, json, one_each};
use super::super::topics::moment;
use crate::output::{Output, table};
use crate::progress::Bar;

#[derive(Debug, Args)]
pub(in crate::admin) struct ConsumerProgress {
    /// The group, queue by queue [default: all groups, a line each]
    #[arg(short, long)]
    group: Option<String>,
    /// Only on this topic
    #[arg(short, long, requires = "group")]
    topic: Option<String>,
}

impl ConsumerProgress {
    pub(in super::super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = one_each(network.brokers().await?);
        match &self.group {
            Some(group) => {
                let (queues, missing) = of_group(network, nodes, group, self.topic.as_deref()).await?;
                Answers { found: Progress::of(group, queues), missing }.print(output, progress_text)
            }
            None => {
                let (groups, missing) = of_all(network, nodes).await?;
                Answers { found: Groups { groups }, missing }.print(output, groups_text)
            }
        }
    }
}

/// A group, queue by queue.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    group: String,
    /// Messages that it has not finished.
    lag: i64,
    queues: Vec<Queue>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    topic: String,
    broker: String,
    queue: i32,
    committed_offset: i64,
    end_offset: i64,
    lag: i64,
    /// Of these, those that were delivered and are not finished.
    in_flight: i64,
    /// When the last message that it has finished was stored; 0 if none is known.
    last_consumed_at_ms: i64,
}

impl Progress {
    fn of(group: &str, queues: Vec<Queue>) -> Self {
        Self { group: group.to_owned(), lag: lag(&queues), queues }
    }
}

fn lag(queues: &[Queue]) -> i64 {
    queues.iter().map(|queue| queue.lag).sum()
}

/// What all brokers know of a group.
///
/// # Errors
/// None of them knows the group.
async fn of_group(
    network: &Network,
    nodes: Vec<Node>,
    group: &str,
    topic: Option<&str>,
) -> Result<(Vec<Queue>, Vec<Missing>), Error> {
    let answers = network.ask_each(nodes, &asked(group, topic), json::<ConsumeStats>).await;
    let (unknown, answers): (Vec<_>, Vec<_>) = answers.into_iter().partition(
        |(_, answer)| matches!(answer, Err(error) if error.is_refusal(ResponseCode::SubscriptionGroupNotExist)),
    );
    if answers.is_empty()
        && let Some((_, Err(refusal))) = unknown.into_iter().next()
    {
        return Err(refusal);
    }
    let (found, missing) = sort(answers);
    let mut queues: Vec<Queue> = found.into_iter().flat_map(|(_, stats)| queues(stats)).collect();
    queues.sort();
    Ok((queues, missing))
}

/// Asks where a group is, with one topic or with all that it consumes; answered by [`ConsumeStats`].
pub(super) fn asked(group: &str, topic: Option<&str>) -> Question {
    let header =
        GetConsumeStats { consumer_group: group.to_owned(), topic: topic.map(str::to_owned), topic_list: None };
    Question::new(RequestCode::GetConsumeStats, format!("group {group}"), header.to_fields())
}

/// Messages of a topic that a group has not finished, at all of `nodes`; 0 where nobody knows the group.
pub(in super::super) async fn lag_on(
    network: &Network,
    nodes: Vec<Node>,
    group: &str,
    topic: &str,
) -> Result<(i64, Vec<Missing>), Error> {
    match of_group(network, nodes, group, Some(topic)).await {
        Err(error) if error.is_refusal(ResponseCode::SubscriptionGroupNotExist) => Ok((0, Vec::new())),
        known => known.map(|(queues, missing)| (lag(&queues), missing)),
    }
}

fn queues(ConsumeStats { offset_table, .. }: ConsumeStats) -> impl Iterator<Item = Queue> {
    offset_table.0.into_iter().map(|(queue, offsets)| {
        let ConsumeOffset { broker_offset, consumer_offset, last_timestamp, pull_offset } = offsets;
        Queue {
            topic: queue.topic,
            broker: queue.broker_name,
            queue: queue.queue_id,
            committed_offset: consumer_offset,
            end_offset: broker_offset,
            lag: broker_offset.saturating_sub(consumer_offset),
            in_flight: pull_offset.saturating_sub(consumer_offset).max(0),
            last_consumed_at_ms: last_timestamp,
        }
    })
}

fn progress_text(Progress { group, lag, queues }: &Progress) -> String {
    if queues.is_empty() {
        return format!("group {group} has consumed nothing yet");
    }
    let rows = queues.iter().map(|at| {
        [
            at.topic.clone(),
            at.broker.clone(),
            at.queue.to_string(),
            at.committed_offset.to_string(),
            at.end_offset.to_string(),
            at.lag.to_string(),
            at.in_flight.to_string(),
            moment(at.last_consumed_at_ms),
        ]
    });
    let heading = ["TOPIC", "BROKER", "QUEUE", "COMMITTED", "END", "LAG", "IN FLIGHT", "LAST CONSUMED"];
    format!("{}\n\nlag of {group}: {lag}", table(heading, rows))
}

#[derive(Debug, Serialize)]
struct Groups {
    groups: Vec<Group>,
}

/// A group in one line.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Group {
    group: String,
    clients: usize,
    topics: usize,
    lag: i64,
}

/// All groups that brokers have. One is asked about after the other, each at all brokers at once.
async fn of_all(network: &Network, nodes: Vec<Node>) -> Result<(Vec<Group>, Vec<Missing>), Error> {
    let question = Question::new(RequestCode::GetAllSubscriptionGroupConfig, "", Fields::default());
    let (found, mut missing) = sort(network.ask_each(nodes, &question, json::<SubscriptionGroups>).await);
    // A broker that did not answer this is missing once, not for each group again.
    let (nodes, tables): (Vec<Node>, Vec<SubscriptionGroups>) = found.into_iter().unzip();
    let names: BTreeSet<String> =
        tables.into_iter().flat_map(|table| table.subscription_group_table.into_keys()).collect();
    let bar = Bar::counting("groups", names.len() as u64);
    let mut groups = Vec::with_capacity(names.len());
    for name in names {
        let (queues, gone) = of_group(network, nodes.clone(), &name, None).await?;
        let asked = |network, node| clients::of_group(network, node, name.clone());
        let (connected, also_gone) = sort(network.each(nodes.clone(), asked).await);
        let clients: BTreeSet<String> = connected
            .into_iter()
            .flat_map(|(_, connection)| connection.unwrap_or_default().connection_set)
            .map(|client| client.client_id)
            .collect();
        // It may fail for every group from now on.
        note(&mut missing, gone);
        note(&mut missing, also_gone);
        groups.push(Group::of(name, clients.len(), &queues));
        bar.add(1);
    }
    Ok((groups, missing))
}

impl Group {
    fn of(group: String, clients: usize, queues: &[Queue]) -> Self {
        let mut lags: BTreeMap<&str, i64> = BTreeMap::new();
        for queue in queues {
            *lags.entry(queue.topic.as_str()).or_default() += queue.lag;
        }
        Self { group, clients, topics: lags.len(), lag: lags.values().sum() }
    }
}

fn groups_text(Groups { groups }: &Groups) -> String {
    let rows = groups.iter().map(|at| {
        let Group { group, clients, topics, lag } = at;
        [group.clone(), clients.to_string(), topics.to_string(), lag.to_string()]
    });
    table(["GROUP", "CLIENTS", "TOPICS", "LAG"], rows)
}

#[cfg(test)]
mod tests {
    use remoting_proto::body::{MessageQueue, QueueTable};

    use super::*;

    fn stats() -> ConsumeStats {
        let queue =
            |topic: &str, queue_id| MessageQueue { broker_name: "a".to_owned(), queue_id, topic: topic.to_owned() };
        let at = |consumer_offset, pull_offset| ConsumeOffset {
            broker_offset: 9,
            consumer_offset,
            last_timestamp: 0,
            pull_offset,
        };
        let table = vec![(queue("T", 0), at(4, 6)), (queue("T", 1), at(9, 9)), (queue("U", 0), at(8, 0))];
        ConsumeStats { offset_table: QueueTable(table), consume_tps: 0.0 }
    }

    #[test]
    fn lag_is_what_is_not_finished() {
        let progress = Progress::of("g", queues(stats()).collect());
        let at: Vec<_> = progress.queues.iter().map(|queue| (queue.lag, queue.in_flight)).collect();
        assert_eq!((at.as_slice(), progress.lag), ([(5, 2), (0, 0), (1, 0)].as_slice(), 6));
        let text = progress_text(&progress);
        let words: Vec<&str> = text.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!(words, ["T", "a", "0", "4", "9", "5", "2", "-"]);
        assert!(text.ends_with("lag of g: 6"), "{text}");
        assert_eq!(progress_text(&Progress::of("g", Vec::new())), "group g has consumed nothing yet");
    }

    #[test]
    fn a_group_is_one_line() {
        let queues: Vec<Queue> = queues(stats()).collect();
        let group = Group::of("g".to_owned(), 2, &queues);
        assert_eq!(group, Group { group: "g".to_owned(), clients: 2, topics: 2, lag: 6 });
    }
}
