//! Stored messages: found by id, key or place.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::Args;
use gateway_http::views::messages::Message;
use proxy::messaging::body;
use remoting_proto::requests::{PullMessage, PullMessageAnswer, QueryMessage, ViewMessage};
use remoting_proto::{Command, RequestCode, ResponseCode};
use serde::Serialize;
use types::Timestamp;

use super::answers::{Answers, sort};
use super::network::{Error, Network, Node, Question, refused, success, unreadable};
use super::which;
use crate::admin::message;
use crate::cli::Misuse;
use crate::output::{Output, table};
use crate::time;

/// The group in whose name tools read; brokers of Apache's make it by themselves. Source: `MixAll.TOOLS_CONSUMER_GROUP`.
pub(super) const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Messages of one unique id that are shown: a message that was sent again has the same.
const OF_UNIQUE_KEY_MAX: i64 = 32;

/// A message and the broker that has it.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) broker: String,
    #[serde(flatten)]
    pub(super) message: Message,
}

#[derive(Debug, Serialize)]
pub(super) struct Messages {
    pub(super) messages: Vec<Found>,
}

#[derive(Debug, Args)]
pub(in crate::admin) struct QueryMsgById {
    /// The offset message id, as brokers answer it to a send: where the message is stored
    #[arg(short, long)]
    id: String,
    /// The broker to ask, name or HOST:PORT, when the address in the id cannot be reached from here
    #[arg(short, long)]
    broker: Option<String>,
}

impl QueryMsgById {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let Some((host, place)) = record::parse_offset_message_id(&self.id) else {
            let why = "is no offset message id (32 or 56 hexadecimal digits); for the id that a producer was told use";
            return Err(Misuse(format!("{} {why} queryMsgByUniqueKey", self.id)).into());
        };
        let nodes = match &self.broker {
            Some(broker) => which::of_broker(network, broker).await?,
            None => vec![Node::at(&host.to_string())],
        };
        let header = ViewMessage { offset: place.0.cast_signed(), topic: None };
        let question = Question::new(RequestCode::ViewMessageById, format!("message {}", self.id), header.to_fields());
        let node = nodes.into_iter().next().expect("a broker that is not there is an error");
        let messages = found(&node, &question, network.exchange(&node, &question).await?)?;
        output.show(&Messages { messages }, shown)
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct QueryMsgByKey {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The key
    #[arg(short, long)]
    key: String,
    #[command(flatten)]
    stored: message::Stored,
}

impl QueryMsgByKey {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let mut answers = query(network, asked(&self.topic, &self.key, &self.stored)).await?;
        answers.found.messages.truncate(self.stored.max);
        answers.print(output, list)
    }
}

#[derive(Debug, Args)]
pub(in crate::admin) struct QueryMsgByUniqueKey {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The message id that the producer was told
    #[arg(short, long)]
    id: String,
}

impl QueryMsgByUniqueKey {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let header = QueryMessage {
            topic: self.topic.clone(),
            key: self.id.clone(),
            max_num: OF_UNIQUE_KEY_MAX,
            begin_timestamp: 0,
            end_timestamp: i64::MAX,
            is_unique_key: Some(true),
        };
        query(network, header).await?.print(output, shown)
    }
}

/// Asks for messages by key.
pub(super) fn asked(topic: &str, key: &str, stored: &message::Stored) -> QueryMessage {
    let range = stored.range();
    QueryMessage {
        topic: topic.to_owned(),
        key: key.to_owned(),
        max_num: i64::try_from(stored.max).unwrap_or(i64::MAX),
        begin_timestamp: range.start.0,
        // Both ends count there.
        end_timestamp: range.end.0.saturating_sub(1),
        is_unique_key: None,
    }
}

/// Asks the brokers of the topic; the newest message first.
pub(super) async fn query(network: &Network, header: QueryMessage) -> Result<Answers<Messages>, Error> {
    let nodes = network.brokers_of(&header.topic).await?;
    let of = format!("key {} and topic {}", header.key, header.topic);
    let question = Question::new(RequestCode::QueryMessage, of, header.to_fields());
    let (found, missing) = sort(network.ask_each(nodes, &question, found).await);
    let mut messages: Vec<Found> = found.into_iter().flat_map(|(_, found)| found).collect();
    messages.sort_by_key(|found| std::cmp::Reverse(found.message.stored_at_ms));
    Ok(Answers { found: Messages { messages }, missing })
}

/// The messages of an answer; that there are none is an answer too.
fn found(node: &Node, question: &Question, answer: Command) -> Result<Vec<Found>, Error> {
    if answer.response_code() == ResponseCode::QueryNotFound {
        return Ok(Vec::new());
    }
    let Command { body, .. } = success(node, question, answer)?;
    messages(node, body).map_err(|error| unreadable(node, question, error))
}

#[derive(Debug, Args)]
pub(in crate::admin) struct QueryMsgByOffset {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The broker of the topic: its name, or HOST:PORT
    #[arg(short, long)]
    broker: String,
    /// The queue
    #[arg(short = 'i', long, value_name = "NUMBER")]
    queue: u32,
    /// The offset in it
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    offset: i64,
}

impl QueryMsgByOffset {
    pub(super) async fn run(&self, network: &Network, output: Output) -> anyhow::Result<()> {
        let nodes = which::of_topic(network, &self.topic, Some(&self.broker)).await?;
        let node = nodes.into_iter().next().expect("a broker that is not there is an error");
        let group = TOOLS_GROUP.to_owned();
        let pull = Pull { group, topic: self.topic.clone(), queue: self.queue.into(), messages_max: 1 };
        let offset = self.offset;
        let Pulled { messages, .. } = pull.at(network, &node, offset).await?;
        let is_it = |found: &Found| i64::try_from(found.message.offset) == Ok(offset);
        let messages: Vec<Found> = messages.into_iter().filter(is_it).collect();
        if messages.is_empty() {
            anyhow::bail!("{node} has no message at offset {offset} of queue {} of topic {}", self.queue, self.topic);
        }
        output.show(&Messages { messages }, shown)
    }
}

/// Reads a queue.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    /// In whose name; nothing is committed.
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) queue: i64,
    pub(super) messages_max: i64,
}

/// What was read, and where to go on.
pub(super) struct Pulled {
    pub(super) messages: Vec<Found>,
    pub(super) next_offset: i64,
}

impl Pull {
    /// The messages from an offset on; none at the end.
    pub(super) async fn at(&self, network: &Network, node: &Node, offset: i64) -> Result<Pulled, Error> {
        let header = PullMessage {
            consumer_group: self.group.clone(),
            topic: self.topic.clone(),
            queue_id: self.queue,
            queue_offset: offset,
            max_msg_nums: self.messages_max,
            sys_flag: PullMessage::SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_millis: 0,
            subscription: Some("*".to_owned()),
            sub_version: 0,
            expression_type: Some("TAG".to_owned()),
            max_msg_bytes: None,
            request_source: None,
            proxy_forward_client_id: None,
            broker_name: None,
        };
        let of = format!("queue {} of topic {} from {offset}", self.queue, self.topic);
        let question = Question::new(RequestCode::PullMessage, of, header.to_fields());
        let answer = network.exchange(node, &question).await?;
        let body = match answer.response_code() {
            ResponseCode::Success => answer.body,
            ResponseCode::PullNotFound | ResponseCode::PullRetryImmediately | ResponseCode::PullOffsetMoved => {
                Bytes::new()
            }
            code => return Err(refused(node, &question, code, answer.remark)),
        };
        let next = PullMessageAnswer::of(&answer.fields).map_err(|error| unreadable(node, &question, error))?;
        let messages = messages(node, body).map_err(|error| unreadable(node, &question, error))?;
        Ok(Pulled { messages, next_offset: next.next_begin_offset })
    }
}

/// The messages in an answer's body, which stand one behind the other, with what producers compressed made plain.
fn messages(node: &Node, mut records: Bytes) -> Result<Vec<Found>, record::Error> {
    let mut messages = Vec::new();
    while !records.is_empty() {
        let record = record::decode(&records)?;
        let (header, stored) = (record.header, records.slice_ref(record.body));
        let bytes = records.split_to(header.record_bytes as usize);
        let (plain, _) = body::plain(stored, header.sys_flag);
        let message = Message::of(&bytes, false).map(|message| with_body(message, &plain));
        messages.extend(message.map(|message| Found { broker: node.broker.clone(), message }));
    }
    Ok(messages)
}

fn with_body(message: Message, body: &[u8]) -> Message {
    let text = str::from_utf8(body);
    Message {
        body_bytes: body.len(),
        body: text.ok().map(str::to_owned),
        body_base64: text.is_err().then(|| STANDARD.encode(body)),
        ..message
    }
}

fn list(Messages { messages }: &Messages) -> String {
    if messages.is_empty() {
        return "no such message".to_owned();
    }
    let rows = messages.iter().map(|Found { broker, message }| {
        [
            time::text(Timestamp(message.stored_at_ms)),
            broker.clone(),
            message.queue.to_string(),
            message.offset.to_string(),
            message.tag.clone().unwrap_or_default(),
            message.body_bytes.to_string(),
            message.message_id.clone(),
            message.offset_message_id.clone(),
        ]
    });
    table(["STORED", "BROKER", "QUEUE", "OFFSET", "TAG", "BYTES", "MESSAGE ID", "OFFSET MESSAGE ID"], rows)
}

fn shown(Messages { messages }: &Messages) -> String {
    if messages.is_empty() {
        return "no such message".to_owned();
    }
    let text = |Found { broker, message }: &Found| format!("at {broker}\n{}", message::show(message.clone()));
    messages.iter().map(text).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use types::{Message as Stored, PhysicalOffset, QueueId, QueueOffset, SysFlag, TopicName};

    use super::super::network::tests::node;
    use super::*;

    fn record_of(body: &'static [u8], sys_flag: u32, offset: u64) -> Bytes {
        let mut message = Stored::new(TopicName::new("orders").expect("valid"), Bytes::from_static(body));
        message.sys_flag = SysFlag(sys_flag);
        let host = "10.0.0.2:10911".parse().expect("an address");
        let encoded = record::encode(&message, QueueId(2), host).expect("encodes");
        encoded.place(QueueOffset(offset), PhysicalOffset(133), Timestamp(1_700_000_000_123))
    }

    #[test]
    fn records_stand_behind_each_other_and_bodies_are_plain() {
        const HELLO: &[u8] = &[0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x06, 0x2c, 0x02, 0x15];
        let all = [record_of(b"plain", 0, 0), record_of(HELLO, 1, 1), record_of(b"\xff", 0, 2)].concat();
        let found = messages(&node("a", 0), all.clone().into()).expect("readable");
        let bodies: Vec<_> = found.iter().map(|found| found.message.body.as_deref()).collect();
        assert_eq!(bodies, [Some("plain"), Some("hello"), None]);
        assert_eq!((found[1].message.body_bytes, found[1].message.offset, found[1].broker.as_str()), (5, 1, "a"));
        assert_eq!(found[2].message.body_base64.as_deref(), Some("/w=="));
        let cut = Bytes::from(all).slice(..150);
        assert!(messages(&node("a", 0), cut).is_err());
    }

    #[test]
    fn found_messages_are_lines_or_shown_as_a_whole() {
        let messages = messages(&node("a", 0), record_of(b"plain", 0, 7)).expect("readable");
        let found = Messages { messages };
        let line = list(&found);
        let words: Vec<&str> = line.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!(words, ["2023-11-14T22:13:20.123Z", "a", "2", "7", "5", "0A00000200002A9F0000000000000085"]);
        let whole = shown(&found);
        assert!(whole.starts_with("at a\n") && whole.ends_with("plain"), "{whole}");
        assert_eq!(list(&Messages { messages: Vec::new() }), "no such message");
    }
}
