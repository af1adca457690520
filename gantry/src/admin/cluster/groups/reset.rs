//! Where groups go on, as operators set it.

use clap::Args;
use remoting_proto::RequestCode;
use remoting_proto::body::{ConsumeOffset, ConsumeStats, MessageQueue, ResetOffsets};
use remoting_proto::requests::{CloneGroupOffset as CloneOffset, ResetOffset};
use serde::Serialize;

use super::super::answers::{Answers, sort};
use super::super::network::{Network, Question, done, json, masters};
use super::super::which;
use super::progress;
use crate::output::{Output, table};

#[derive(Debug, Args)]
pub(in crate::admin) struct ResetOffsetByTime {
    /// The group
    #[arg(short, long)]
    group: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Go on at the first message stored at or after this time: 2026-11-25T08:00:00Z, milliseconds since 1970, or now for the end
    #[arg(short = 's', long = "time", value_name = "TIME", value_parser = reset_time, allow_hyphen_values = true)]
    at_ms: i64,
    /// Only at this broker of the topic
    #[arg(short, long)]
    broker: Option<String>,
    /// Only on this queue of each broker
    #[arg(short, long, value_name = "NUMBER")]
    queue: Option<u32>,
}

/// What brokers take for the time of the end.
const END: i64 = -1;

fn reset_time(text: &str) -> Result<i64, String> {
    if text == "now" {
        return Ok(END);
    }
    match gateway_http::text::time(text)?.0 {
        at_ms @ 0.. => Ok(at_ms),
        at_ms => Err(format!("{at_ms} is before 1970; the end is: now")),
    }
}

#[derive(Debug, Serialize)]
struct Reset {
    group: String,
    topic: String,
    queues: Vec<ResetAt>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ResetAt {
    broker: String,
    queue: i32,
    offset: i64,
}

impl ResetOffsetByTime {
    pub(in super::super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = masters(which::of_topic(network, &self.topic, self.broker.as_deref()).await?)?;
        let header = ResetOffset {
            topic: self.topic.clone(),
            group: self.group.clone(),
            timestamp: self.at_ms,
            is_force: Some(true),
            queue_id: self.queue.map(i64::from),
            offset: None,
        };
        let of = format!("group {} and topic {}", self.group, self.topic);
        let question = Question::new(RequestCode::InvokeBrokerToResetOffset, of, header.to_fields());
        let (found, missing) = sort(network.ask_each(nodes, &question, json::<ResetOffsets>).await);
        let queues = found.into_iter().flat_map(|(_, offsets)| offsets.offset_table.0);
        Answers { found: Reset::of(&self.group, &self.topic, queues), missing }.print(output, reset_text)
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct SkipAccumulatedMessage {
    /// The group
    #[arg(short, long)]
    group: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
}

impl SkipAccumulatedMessage {
    pub(in super::super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let (group, topic) = (self.group.clone(), self.topic.clone());
        ResetOffsetByTime { group, topic, at_ms: END, broker: None, queue: None }.run(network, output).await
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct CloneGroupOffset {
    /// The group that is far enough
    #[arg(short, long, value_name = "GROUP")]
    src_group: String,
    /// The group that goes on where the first is; where it is further, it goes back
    #[arg(short, long, value_name = "GROUP")]
    dest_group: String,
    /// The topic
    #[arg(short, long)]
    topic: String,
}

impl CloneGroupOffset {
    pub(in super::super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = masters(which::of_topic(network, &self.topic, None).await?)?;
        let header = CloneOffset {
            src_group: self.src_group.clone(),
            dest_group: self.dest_group.clone(),
            topic: Some(self.topic.clone()),
            // Whether its consumers subscribe to the topic now says nothing of how far the group is.
            offline: Some(true),
        };
        let of = format!("group {} from {} on topic {}", self.dest_group, self.src_group, self.topic);
        let question = Question::new(RequestCode::CloneGroupOffset, of, header.to_fields());
        let (cloned, mut missing) = sort(network.ask_each(nodes, &question, done).await);
        let question = progress::asked(&self.dest_group, Some(&self.topic));
        let nodes = cloned.into_iter().map(|(node, ())| node).collect();
        let (found, gone) = sort(network.ask_each(nodes, &question, json::<ConsumeStats>).await);
        missing.extend(gone);
        let of = |(queue, at): (MessageQueue, ConsumeOffset)| (queue, at.consumer_offset);
        let queues = found.into_iter().flat_map(|(_, stats)| stats.offset_table.0).map(of);
        Answers { found: Reset::of(&self.dest_group, &self.topic, queues), missing }.print(output, reset_text)
    }
}

impl Reset {
    fn of(group: &str, topic: &str, queues: impl Iterator<Item = (MessageQueue, i64)>) -> Self {
        let at =
            |(queue, offset): (MessageQueue, i64)| ResetAt { broker: queue.broker_name, queue: queue.queue_id, offset };
        let mut queues: Vec<ResetAt> = queues.map(at).collect();
        queues.sort();
        Self { group: group.to_owned(), topic: topic.to_owned(), queues }
    }
}

fn reset_text(Reset { queues, .. }: &Reset) -> String {
    let rows = queues.iter().map(|at| [at.broker.clone(), at.queue.to_string(), at.offset.to_string()]);
    table(["BROKER", "QUEUE", "GOES ON AT"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_goes_to_a_time_or_to_the_end() {
        assert_eq!(reset_time("now"), Ok(-1));
        assert_eq!(reset_time("0"), Ok(0));
        assert_eq!(reset_time("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        assert!(reset_time("-1").is_err() && reset_time("yesterday").is_err());
    }
}
