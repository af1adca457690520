//! `gantry admin printMsg` and `consumeMessage`: a topic's messages as they come, without keeping them.

use std::io::{self, Write as _};
use std::ops::ControlFlow;

use anyhow::ensure;
use clap::Args;
use remoting_proto::requests::{OffsetAnswer, SearchOffset, TopicQueue};
use remoting_proto::{Fields, RequestCode};
use types::Timestamp;

use super::messages::{Found, Pull, Pulled, TOOLS_GROUP};
use super::network::{Error, Network, Node, Question, unreadable};
use super::which;
use crate::output::{Output, printed};
use crate::progress::Bar;
use crate::time;

/// Messages that are asked for at once. Source: Apache 5.5 `maxTransferCountOnMessageInMemory`.
const AT_ONCE: i64 = 32;

#[derive(Debug, Args)]
pub(in crate::admin) struct PrintMsg {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Only at this broker of the topic: its name, or HOST:PORT
    #[arg(short, long)]
    broker: Option<String>,
    /// Only of this queue of each broker
    #[arg(short, long, value_name = "NUMBER")]
    queue: Option<u32>,
    /// Stored at or after this time, such as 2026-11-25T08:00:00Z, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = gateway_http::text::time)]
    from: Option<Timestamp>,
    /// Stored before this time
    #[arg(long, value_name = "TIME", value_parser = gateway_http::text::time)]
    to: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    max: Option<u64>,
}

impl PrintMsg {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let reading = Reading {
            group: TOOLS_GROUP,
            topic: &self.topic,
            queue: self.queue,
            offset: None,
            from: self.from,
            to: self.to,
            messages_max: self.max,
        };
        reading.run(network, self.broker.as_deref(), output).await
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct ConsumeMessage {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The group in whose name it is read, and which must be allowed to; it stays where it is
    #[arg(short, long, default_value = TOOLS_GROUP)]
    group: String,
    /// Only at this broker of the topic: its name, or HOST:PORT
    #[arg(short, long)]
    broker: Option<String>,
    /// Only of this queue of each broker
    #[arg(short = 'i', long, value_name = "NUMBER")]
    queue: Option<u32>,
    /// From this offset of the queue on
    #[arg(short, long, value_name = "NUMBER", requires = "broker", requires = "queue", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// Stored at or after this time, such as 2026-11-25T08:00:00Z, or milliseconds since 1970
    #[arg(short = 's', long, value_name = "TIME", value_parser = gateway_http::text::time)]
    from: Option<Timestamp>,
    /// Stored before this time
    #[arg(short = 'e', long, value_name = "TIME", value_parser = gateway_http::text::time)]
    to: Option<Timestamp>,
    /// At most so many
    #[arg(short = 'c', long = "count", value_name = "COUNT", default_value_t = 128)]
    messages_max: u64,
}

impl ConsumeMessage {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let reading = Reading {
            group: &self.group,
            topic: &self.topic,
            queue: self.queue,
            offset: self.offset,
            from: self.from,
            to: self.to,
            messages_max: Some(self.messages_max),
        };
        reading.run(network, self.broker.as_deref(), output).await
    }
}

/// What is read of a topic. Nothing is committed.
struct Reading<'a> {
    group: &'a str,
    topic: &'a str,
    queue: Option<u32>,
    /// Of each queue; none is from its beginning.
    offset: Option<i64>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    messages_max: Option<u64>,
}

/// A part of a queue.
struct Stretch {
    node: Node,
    queue: i64,
    begin: i64,
    end: i64,
}

impl Reading<'_> {
    async fn run(&self, network: &Network, broker: Option<&str>, output: Output) -> anyhow::Result<()> {
        let nodes = which::of_topic(network, self.topic, broker).await?;
        let (mut stretches, mut failures) = (Vec::new(), Vec::new());
        for (node, queues) in self.queues(network, nodes).await? {
            match self.stretches(network, &node, queues).await {
                Ok(found) => stretches.extend(found),
                Err(error) => failures.push(error),
            }
        }
        let total: i64 = stretches.iter().map(|stretch| stretch.end - stretch.begin).sum();
        let total = u64::try_from(total).unwrap_or_default();
        let bar = Bar::counting("messages", self.messages_max.map_or(total, |max| max.min(total)));
        let mut left = self.messages_max.unwrap_or(u64::MAX);
        for stretch in stretches {
            match self.print(network, &stretch, output, &bar, &mut left).await {
                Ok(ControlFlow::Continue(())) => {}
                // There were as many as were asked for, or nobody reads on.
                Ok(ControlFlow::Break(ended)) => {
                    printed(ended)?;
                    break;
                }
                Err(error) => failures.push(error),
            }
        }
        drop(bar);
        let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
        ensure!(failures.is_empty(), "not all is printed: {}", failures.join("; "));
        Ok(())
    }

    /// How many queues each broker has.
    async fn queues(&self, network: &Network, nodes: Vec<Node>) -> Result<Vec<(Node, i64)>, Error> {
        let route = network.route(self.topic).await?;
        let of = |node: Node| {
            let queues = route.queue_datas.iter().find(|queues| queues.broker_name == node.broker);
            let queues = queues.map_or(0, |queues| queues.read_queue_nums.max(queues.write_queue_nums));
            (node, queues.into())
        };
        Ok(nodes.into_iter().map(of).collect())
    }

    async fn stretches(&self, network: &Network, node: &Node, queues: i64) -> Result<Vec<Stretch>, Error> {
        let mut stretches = Vec::new();
        for queue in (0..queues).filter(|queue| self.queue.is_none_or(|only| i64::from(only) == *queue)) {
            let begin = self.offset(network, node, queue, self.from, RequestCode::GetMinOffset).await?;
            let end = self.offset(network, node, queue, self.to, RequestCode::GetMaxOffset).await?;
            let begin = self.offset.map_or(begin, |offset| offset.max(begin));
            stretches.push(Stretch { node: node.clone(), queue, begin, end: end.max(begin) });
        }
        Ok(stretches)
    }

    /// The first offset at or after a time, or one of the queue's ends.
    async fn offset(
        &self,
        network: &Network,
        node: &Node,
        queue_id: i64,
        time: Option<Timestamp>,
        otherwise: RequestCode,
    ) -> Result<i64, Error> {
        let topic = self.topic.to_owned();
        let (code, fields): (RequestCode, Fields) = match time {
            Some(Timestamp(timestamp)) => {
                let header = SearchOffset { topic, queue_id, timestamp, boundary_type: None, broker_name: None };
                (RequestCode::SearchOffsetByTimestamp, header.to_fields())
            }
            None => (otherwise, TopicQueue { topic, queue_id, broker_name: None }.to_fields()),
        };
        let question = Question::new(code, format!("queue {queue_id} of topic {}", self.topic), fields);
        let answer = network.ask(node, &question).await?;
        let offset = OffsetAnswer::of(&answer.fields).map_err(|error| unreadable(node, &question, error))?.offset;
        offset.ok_or_else(|| unreadable(node, &question, "there is no offset in it"))
    }

    /// Prints a stretch; breaks when nothing more is wanted.
    async fn print(
        &self,
        network: &Network,
        stretch: &Stretch,
        output: Output,
        bar: &Bar,
        left: &mut u64,
    ) -> Result<ControlFlow<io::Result<()>>, Error> {
        let [group, topic] = [self.group, self.topic].map(str::to_owned);
        let pull = Pull { group, topic, queue: stretch.queue, messages_max: AT_ONCE };
        let mut offset = stretch.begin;
        while offset < stretch.end {
            let Pulled { messages, next_offset } = pull.at(network, &stretch.node, offset).await?;
            let end = u64::try_from(stretch.end).unwrap_or_default();
            for found in messages.iter().filter(|found| found.message.offset < end && self.is_in_time(found)) {
                if *left == 0 {
                    return Ok(ControlFlow::Break(Ok(())));
                }
                *left -= 1;
                if let Err(error) = bar.aside(|| writeln!(io::stdout(), "{}", line(found, output))) {
                    return Ok(ControlFlow::Break(Err(error)));
                }
            }
            if next_offset <= offset {
                // There should be more, but there is not: its messages have expired meanwhile.
                break;
            }
            bar.add(u64::try_from(next_offset.min(stretch.end) - offset).unwrap_or_default());
            offset = next_offset;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn is_in_time(&self, found: &Found) -> bool {
        let stored = Timestamp(found.message.stored_at_ms);
        self.from.is_none_or(|from| from <= stored) && self.to.is_none_or(|to| stored < to)
    }
}

/// One message, whatever is in its body.
fn line(found: &Found, output: Output) -> String {
    if output.is_json {
        return serde_json::to_string(found).expect("plain data is JSON");
    }
    let Found { broker, message } = found;
    let body = match (&message.body, &message.body_base64) {
        (Some(text), _) => text.chars().fold(String::new(), |mut line, c| {
            if c.is_control() {
                line.extend(c.escape_default())
            } else {
                line.push(c)
            }
            line
        }),
        (None, base64) => format!("{} (Base64)", base64.as_deref().unwrap_or_default()),
    };
    let stored = time::text(Timestamp(message.stored_at_ms));
    let tag = message.tag.as_deref().unwrap_or("-");
    format!("{stored} {broker} {} {} {tag} {} {body}", message.queue, message.offset, message.message_id)
}

#[cfg(test)]
mod tests {
    use gateway_http::views::messages::Message;

    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let message = |body: Option<&str>, body_base64: Option<&str>| Found {
            broker: "a".to_owned(),
            message: Message {
                topic: "orders".to_owned(),
                queue: 2,
                offset: 7,
                message_id: "ID".to_owned(),
                offset_message_id: String::new(),
                tag: None,
                keys: Vec::new(),
                message_group: None,
                stored_at_ms: 1_700_000_000_123,
                born_at_ms: 0,
                born_host: String::new(),
                reconsume_times: 0,
                body_bytes: 0,
                body: body.map(str::to_owned),
                body_base64: body_base64.map(str::to_owned),
                properties: std::collections::BTreeMap::new(),
            },
        };
        let start = "2023-11-14T22:13:20.123Z a 2 7 - ID ";
        let text = Output { is_json: false };
        assert_eq!(line(&message(Some("röd\n\u{1b}\"x\""), None), text), format!("{start}röd\\n\\u{{1b}}\"x\""));
        assert_eq!(line(&message(None, Some("/w==")), text), format!("{start}/w== (Base64)"));
        let json = line(&message(Some("a\nb"), None), Output { is_json: true });
        assert!(!json.contains('\n') && json.contains(r#""broker":"a""#), "{json}");
    }
}
