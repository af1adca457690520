//! Messages that operators send: one of their own, or many to see how long brokers take.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use remoting_proto::body::TopicRouteData;
use remoting_proto::requests::{AUTO_CREATE_TOPIC, SendMessage as Header, SendMessageAnswer};
use remoting_proto::{Command, RequestCode, ResponseCode};
use serde::Serialize;
use types::Properties;
use types::properties::names;

use super::answers::{Answers, Missing, note};
use super::network::{Error, Network, Node, Question, masters, refused, unreadable};
use super::which;
use crate::cli::Misuse;
use crate::output::{Output, table};
use crate::progress::Bar;

/// The group in whose name tools send.
const TOOLS_GROUP: &str = "TOOLS_PRODUCER";
/// Lets the broker choose a queue.
const ANY_QUEUE: i64 = -1;

#[derive(Debug, Args)]
pub(in crate::admin) struct SendMessage {
    /// The topic, which must be there
    #[arg(short, long)]
    topic: String,
    /// The text that is sent
    #[arg(short = 'p', long)]
    body: String,
    /// Keys by which it can be found, with blanks between
    #[arg(short, long)]
    keys: Option<String>,
    /// A tag that consumers may filter by
    #[arg(short = 'c', long)]
    tag: Option<String>,
    /// To this broker of the topic: its name, or HOST:PORT [default: the first that takes messages]
    #[arg(short, long)]
    broker: Option<String>,
    /// To this queue [default: the broker chooses]
    #[arg(short = 'i', long, value_name = "NUMBER", requires = "broker")]
    queue: Option<u32>,
}

/// Where a message was stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    topic: String,
    broker: String,
    queue: i64,
    offset: i64,
    /// The id that a producer is told.
    message_id: String,
    offset_message_id: String,
    /// `Success`, or in what the storing is less sure than the broker promises.
    status: String,
}

impl SendMessage {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let route = network.route(&self.topic).await?;
        let nodes = masters(which::of_topic(network, &self.topic, self.broker.as_deref()).await?)?;
        let is_taking = |node: &Node| self.broker.is_some() || queues(&route, node) > 0;
        let Some(node) = nodes.into_iter().find(is_taking) else {
            anyhow::bail!("no broker of topic {} takes messages: none of its queues may be written", self.topic);
        };
        let message = Message {
            topic: &self.topic,
            queue: self.queue.map_or(ANY_QUEUE, i64::from),
            properties: self.properties()?,
            body: self.body.clone().into(),
        };
        output.show(&message.send(network, &node).await?, sent_text)
    }

    fn properties(&self) -> anyhow::Result<Properties> {
        let mut properties = Properties::default();
        for (name, text) in [(names::KEYS, &self.keys), (names::TAGS, &self.tag)] {
            if let Some(text) = text {
                properties.set(name, text).map_err(|error| Misuse(error.to_string()))?;
            }
        }
        Ok(properties)
    }
}

/// How many queues of a broker may be written.
fn queues(route: &TopicRouteData, node: &Node) -> i64 {
    let of_broker = route.queue_datas.iter().find(|data| data.broker_name == node.broker && data.perm.is_writable());
    of_broker.map_or(0, |data| data.write_queue_nums.into())
}

struct Message<'a> {
    topic: &'a str,
    queue: i64,
    properties: Properties,
    body: Bytes,
}

impl Message<'_> {
    async fn send(&self, network: &Network, node: &Node) -> Result<Sent, Error> {
        let header = Header {
            producer_group: TOOLS_GROUP.to_owned(),
            topic: self.topic.to_owned(),
            default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
            default_topic_queue_nums: Some(0),
            queue_id: self.queue,
            sys_flag: 0,
            born_timestamp: network.now().0,
            flag: 0,
            properties: Some(self.properties.as_text().to_owned()),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            max_reconsume_times: None,
            is_batch: Some(false),
            broker_name: Some(node.broker.clone()),
        };
        let of = format!("a message to topic {}", self.topic);
        let question = Question::new(RequestCode::SendMessageV2, of, header.to_fields()).with_body(self.body.clone());
        stored(self.topic, node, &question, network.exchange(node, &question).await?)
    }
}

/// Where a message is, if it is stored: some codes say that it is, and not as surely as it should be. Source: Apache 5.5
/// `MQClientAPIImpl#processSendResponse`.
fn stored(topic: &str, node: &Node, question: &Question, answer: Command) -> Result<Sent, Error> {
    let code = answer.response_code();
    match code {
        ResponseCode::Success
        | ResponseCode::FlushDiskTimeout
        | ResponseCode::FlushSlaveTimeout
        | ResponseCode::SlaveNotAvailable => {}
        code => return Err(refused(node, question, code, answer.remark)),
    }
    let at = SendMessageAnswer::of(&answer.fields).map_err(|error| unreadable(node, question, error))?;
    Ok(Sent {
        topic: topic.to_owned(),
        broker: node.broker.clone(),
        queue: at.queue_id,
        offset: at.queue_offset,
        message_id: at.transaction_id.unwrap_or_default(),
        offset_message_id: at.msg_id,
        status: format!("{code:?}"),
    })
}

fn sent_text(sent: &Sent) -> String {
    let row = [
        sent.broker.clone(),
        sent.queue.to_string(),
        sent.offset.to_string(),
        sent.status.clone(),
        sent.message_id.clone(),
        sent.offset_message_id.clone(),
    ];
    table(["BROKER", "QUEUE", "OFFSET", "STATUS", "MESSAGE ID", "OFFSET MESSAGE ID"], [row])
}

#[derive(Debug, Args)]
pub(in crate::admin) struct CheckMsgSendRt {
    /// The topic, which must be there: the messages stay in it
    #[arg(short, long)]
    topic: String,
    /// How many messages are sent, one after the other, to all queues in turn
    #[arg(short, long, value_name = "COUNT", default_value_t = 100)]
    amount: u32,
    /// Bytes of each body
    #[arg(short, long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4 << 20))]
    size: u32,
}

/// How long sends took.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    topic: String,
    sends: Vec<Taken>,
    /// Of those that were stored, but the first, which opens connections; none if there are no more.
    average_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Taken {
    broker: String,
    queue: i64,
    stored: bool,
    ms: f64,
}

impl CheckMsgSendRt {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let route = network.route(&self.topic).await?;
        let nodes = masters(network.brokers_of(&self.topic).await?)?;
        let targets: Vec<(Node, i64)> = nodes
            .into_iter()
            .flat_map(|node| (0..queues(&route, &node)).map(move |queue| (node.clone(), queue)))
            .collect();
        anyhow::ensure!(!targets.is_empty(), "no queue of topic {} may be written", self.topic);
        let bar = Bar::counting("messages", self.amount.into());
        let (mut sends, mut missing) = (Vec::new(), Vec::new());
        for (node, queue) in targets.into_iter().cycle().take(self.amount as usize) {
            sends.push(self.send(network, &node, queue, &mut missing).await);
            bar.add(1);
        }
        drop(bar);
        let average_ms = average(&sends);
        Answers { found: Times { topic: self.topic.clone(), sends, average_ms }, missing }.print(output, times_text)
    }

    async fn send(&self, network: &Network, node: &Node, queue: i64, missing: &mut Vec<Missing>) -> Taken {
        let body = vec![b'a'; self.size as usize].into();
        let message = Message { topic: &self.topic, queue, properties: Properties::default(), body };
        let began = network.moment();
        let sent = message.send(network, node).await;
        let ms = ms(network.moment().since(began));
        let stored = sent.is_ok();
        if let Err(error) = sent {
            note(missing, vec![Missing::new(node.clone(), &error)]);
        }
        Taken { broker: node.broker.clone(), queue, stored, ms }
    }
}

/// To the microsecond.
fn ms(time: Duration) -> f64 {
    // At most some seconds.
    time.as_micros() as f64 / 1000.0
}

fn average(sends: &[Taken]) -> Option<f64> {
    let times: Vec<f64> = sends.iter().skip(1).filter(|taken| taken.stored).map(|taken| taken.ms).collect();
    (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64)
}

fn times_text(Times { sends, average_ms, .. }: &Times) -> String {
    let rows = sends.iter().map(|taken| {
        let stored = if taken.stored { "yes" } else { "no" };
        [taken.broker.clone(), taken.queue.to_string(), stored.to_owned(), format!("{:.3}", taken.ms)]
    });
    let average = average_ms.map_or_else(|| "-".to_owned(), |average| format!("{average:.3}"));
    format!("{}\n\naverage without the first: {average} ms", table(["BROKER", "QUEUE", "STORED", "MS"], rows))
}

#[cfg(test)]
mod tests {
    use remoting_proto::Fields;

    use super::super::network::tests::node;
    use super::*;

    #[test]
    fn what_is_stored_less_surely_is_stored() {
        let question = Question::new(RequestCode::SendMessageV2, "", Fields::default());
        let fields = SendMessageAnswer {
            msg_id: "OFFSET".to_owned(),
            queue_id: 1,
            queue_offset: 7,
            transaction_id: Some("ID".to_owned()),
            recall_handle: None,
            msg_region: None,
            trace_on: None,
            repeat_of: None,
        };
        let answer = |code| {
            let request = Command::request(RequestCode::SendMessageV2, Fields::default(), Bytes::new());
            Command { fields: fields.to_fields(), ..request.answer(code) }
        };
        let of = |code| stored("T", &node("a", 0), &question, answer(code));
        let sent = of(ResponseCode::FlushDiskTimeout).expect("stored");
        assert_eq!((sent.queue, sent.offset, sent.message_id.as_str()), (1, 7, "ID"));
        assert_eq!(sent.status, "FlushDiskTimeout");
        assert!(of(ResponseCode::SystemBusy).is_err_and(|error| error.is_refusal(ResponseCode::SystemBusy)));
    }

    #[test]
    fn the_first_send_and_those_that_failed_are_not_in_the_average() {
        let taken = |stored, ms| Taken { broker: "a".to_owned(), queue: 0, stored, ms };
        let sends = [taken(true, 90.0), taken(true, 1.0), taken(false, 5000.0), taken(true, 2.0)];
        assert_eq!(average(&sends), Some(1.5));
        assert_eq!(average(&sends[..1]), None);
    }
}
