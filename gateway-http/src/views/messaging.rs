//! Messages, receives and leases as JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, BytesMut};
use http::StatusCode;
use proxy::messaging::body::Encoding;
use proxy::messaging::message::Received;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::{Document, Problem};

/// A message's body, any bytes.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct RawBody(pub Vec<u8>);

/// Messages to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendMany {
    /// 1 to 1,024 of them.
    #[schema(min_items = 1, max_items = 1024)]
    pub messages: Vec<NewMessage>,
}

/// A message to be sent. Of one that is a request's own body the rest stands in headers of the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NewMessage {
    /// Its body, when it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Its body in Base64, when it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Its tag, by which consumers may filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Its keys, by which it can be found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Messages of one group are delivered in order, one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group: Option<String>,
    /// How long it waits for its delivery, such as `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(0|[0-9]{1,9}(ms|s|m|h|d))$")]
    pub delay: Option<String>,
    /// Not to be delivered before this time: RFC 3339, or milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<String>,
    /// Its priority, from 0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub priority: Option<i32>,
    /// What its producer says besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// A message that is sent again under its key is stored once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// What the headers of a request say whose body is the message; `Property-NAME` is stored as the property `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct MessageHeaders {
    /// One word by which consumers may filter.
    #[param(rename = "Tag")]
    pub tag: Option<String>,
    /// By which it is found; may stand several times.
    #[param(rename = "Key")]
    pub key: Option<String>,
    /// Messages of a group are delivered in order, one at a time.
    #[param(rename = "Message-Group")]
    pub message_group: Option<String>,
    /// How long it waits for its delivery, such as `30s`.
    #[param(rename = "Delay", pattern = "^(0|[0-9]{1,9}(ms|s|m|h|d))$")]
    pub delay: Option<String>,
    /// Not delivered before this time: RFC 3339, or milliseconds since 1970.
    #[param(rename = "Deliver-At")]
    pub deliver_at: Option<String>,
    /// From 0 on.
    #[param(rename = "Priority", minimum = 0)]
    pub priority: Option<i32>,
    /// Sent again under its key it is stored once.
    #[param(rename = "Idempotency-Key")]
    pub idempotency_key: Option<String>,
}

/// A CloudEvent 1.0 to be sent: what may stand in its JSON. Further members are extensions: texts, whole numbers, true or false.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct CloudEvent {
    /// `1.0`.
    #[schema(pattern = "^1\\.0$")]
    pub specversion: String,
    /// Tells it from the others of its source.
    #[schema(min_length = 1)]
    pub id: String,
    /// Where it happened, a URI reference.
    #[schema(min_length = 1)]
    pub source: String,
    /// What happened.
    #[schema(rename = "type", min_length = 1)]
    pub kind: String,
    /// What it is about.
    #[schema(min_length = 1)]
    pub subject: Option<String>,
    /// When it happened, RFC 3339.
    #[schema(format = DateTime)]
    pub time: Option<String>,
    /// Media type of its data; JSON when missing.
    pub datacontenttype: Option<String>,
    /// What its data adheres to, a URI.
    pub dataschema: Option<String>,
    /// The message's tag.
    pub tag: Option<String>,
    /// The message's group.
    pub messagegroup: Option<String>,
    /// Its data: any JSON if that is its type, else a text.
    pub data: Option<serde_json::Value>,
    /// Its data in Base64, instead of `data`.
    pub data_base64: Option<String>,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// Its id.
    pub message_id: String,
    /// Its queue; of delayed messages the one that keeps them until then.
    pub queue: u32,
    /// Its offset there.
    pub offset: u64,
    /// How far it had got when the answer was given.
    pub durability: Durability,
    /// Ends the transaction of a half message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// Takes a delayed message back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall_handle: Option<String>,
    /// Whether nothing was stored, because a message with this idempotency key is: all else here speaks of that one.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub repeated: bool,
}

/// How far a stored message has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In the operating system's hands: survives the process, not the machine.
    Written,
    /// On the disk.
    Flushed,
}

/// What became of messages, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentMany {
    /// One result a message.
    pub results: Vec<SendResult>,
}

/// What a send answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SendAnswer {
    /// To a message that was the request's body.
    One(Sent),
    /// To several.
    Many(SentMany),
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SendResult {
    /// It is stored.
    Sent(SentResult),
    /// It is not, or not as safely as it should be.
    Refused(RefusedResult),
}

/// A message of several that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentResult {
    /// The status that it would have got alone.
    pub status: u16,
    /// What it would have been answered alone.
    #[serde(flatten)]
    pub sent: Sent,
}

/// A message of several that met a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedResult {
    /// The status that it would have got alone.
    pub status: u16,
    /// Why.
    pub problem: Document,
}

impl SendResult {
    /// The status that the message would have got alone.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Sent(result) => result.status,
            Self::Refused(result) => result.status,
        }
    }
}

impl From<Result<Sent, Problem>> for SendResult {
    fn from(result: Result<Sent, Problem>) -> Self {
        match result {
            Ok(sent) => Self::Sent(SentResult { status: StatusCode::CREATED.as_u16(), sent }),
            Err(problem) => {
                Self::Refused(RefusedResult { status: problem.status.as_u16(), problem: problem.document() })
            }
        }
    }
}

/// What a consumer wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receive {
    /// From where.
    #[schema(pattern = "^[%|a-zA-Z0-9_-]{1,255}$")]
    pub topic: String,
    /// At most so many, 1 to 32; 16 when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 32)]
    pub max: Option<u32>,
    /// How long to wait for the first, at most and when missing `20s`; `0` answers at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(0|[0-9]{1,4}ms|1?[0-9]s|20s)$")]
    pub wait: Option<String>,
    /// How long they stay invisible to the rest of the group, `10s` to `12h`; `60s` when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^([1-9][0-9]s|[1-9][0-9]?m|[1-9]h|1[0-2]h)$")]
    pub invisible: Option<String>,
    /// Only messages with one of these tags: `a || b`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only messages whose properties meet this SQL92 condition; not together with `filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Names the attempt: asked again with it, the same ordered messages come again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
}

/// Leased messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReceivedMessages {
    /// 1 to 32 of them.
    pub messages: Vec<ReceivedMessage>,
}

/// A leased message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedMessage {
    /// Its id.
    pub message_id: String,
    /// What acknowledges it.
    pub handle: String,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    /// The topic that was asked for.
    pub topic: String,
    /// Its queue.
    pub queue: u32,
    /// Its offset there.
    pub offset: u64,
    /// Its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Its keys.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub keys: Vec<String>,
    /// Its message group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group: Option<String>,
    /// Its priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// When it was to be delivered, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_at_ms: Option<i64>,
    /// When its producer made it.
    pub born_at_ms: i64,
    /// When it was stored.
    pub stored_at_ms: i64,
    /// What its producer said besides.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub properties: BTreeMap<String, String>,
    /// Of a dead letter: the topic it was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
    /// Of a dead letter: the id it had there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_message_id: Option<String>,
    /// Its body, when it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Its body in Base64, when it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// Whether its body is still compressed, in a way that only its producer knows.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub compressed: bool,
}

impl ReceivedMessage {
    /// The view of a message of the topic that was asked for.
    #[must_use]
    pub fn of(topic: &str, message: Received) -> Self {
        let (body, body_base64) = match str::from_utf8(&message.body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(&message.body))),
        };
        Self { body, body_base64, ..Self::without_body(topic, message) }
    }

    /// Writes what [`ReceivedMessage::of`] is in JSON; the body, which is most of it, is copied once.
    pub(crate) fn write(topic: &str, message: Received, json: &mut BytesMut) {
        let body = message.body.clone();
        let view = Self::without_body(topic, message);
        serde_json::to_writer(json.writer(), &view).expect("plain data, written to memory");
        json.truncate(json.len() - "}".len());
        if let Ok(text) = str::from_utf8(&body) {
            json.put_slice(br#","body":"#);
            serde_json::to_writer(json.writer(), text).expect("a text, written to memory");
            json.put_u8(b'}');
        } else {
            json.put_slice(br#","bodyBase64":""#);
            let begin = json.len();
            json.resize(begin + base64::encoded_len(body.len(), true).expect("a body is bounded"), 0);
            STANDARD.encode_slice(&body, &mut json[begin..]).expect("as long as was asked for");
            json.put_slice(br#""}"#);
        }
    }

    fn without_body(topic: &str, message: Received) -> Self {
        let (dead_letter_topic, dead_letter_message_id) = message.dead_letter_of.unzip();
        Self {
            message_id: message.message_id,
            handle: message.handle,
            attempt: message.attempt,
            topic: topic.to_owned(),
            queue: message.queue,
            offset: message.offset,
            tag: message.tag,
            keys: message.keys,
            message_group: message.message_group,
            priority: message.priority,
            deliver_at_ms: message.deliver_at.map(|time| time.0),
            born_at_ms: message.born_at.0,
            stored_at_ms: message.stored_at.0,
            properties: message.properties,
            dead_letter_topic,
            dead_letter_message_id,
            body: None,
            body_base64: None,
            compressed: message.encoding == Encoding::Compressed,
        }
    }
}

/// Messages that are done with, or given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ack {
    /// The topic that they were received from.
    #[schema(pattern = "^[%|a-zA-Z0-9_-]{1,255}$")]
    pub topic: String,
    /// 1 to 1,024 handles.
    #[schema(min_items = 1, max_items = 1024)]
    pub handles: Vec<String>,
}

/// Messages that shall come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nack {
    /// The topic that they were received from.
    #[schema(pattern = "^[%|a-zA-Z0-9_-]{1,255}$")]
    pub topic: String,
    /// 1 to 1,024 handles.
    #[schema(min_items = 1, max_items = 1024)]
    pub handles: Vec<String>,
    /// After how long, such as `30s`; at once when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(0|[0-9]{1,9}(ms|s|m|h|d))$")]
    pub delay: Option<String>,
    /// Whether the delivery counts as an attempt; `true` when missing. Without counting, `maxAttempts` never ends what is
    /// put off again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_as_attempt: Option<bool>,
}

/// Messages that take longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Extend {
    /// The topic that they were received from.
    #[schema(pattern = "^[%|a-zA-Z0-9_-]{1,255}$")]
    pub topic: String,
    /// 1 to 1,024 handles.
    #[schema(min_items = 1, max_items = 1024)]
    pub handles: Vec<String>,
    /// How long they stay invisible from now, such as `5m`; at most `12h`.
    #[schema(pattern = "^(0|[0-9]{1,9}(ms|s|m|h|d))$")]
    pub invisible: String,
}

/// What became of leases, in the order of their handles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ended {
    /// One result a handle.
    pub results: Vec<LeaseResult>,
}

/// What became of one lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseResult {
    /// The status that it would have got alone.
    pub status: u16,
    /// The handle; after `extend` the one to use from now on, while the old one stays good too.
    pub handle: String,
    /// Why nothing became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Document>,
}

/// How long a producer waits for being asked, in the request's query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitForChecks {
    /// At most and when missing `20s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(pattern = "^(0|[0-9]{1,4}ms|1?[0-9]s|20s)$")]
    pub wait: Option<String>,
}

/// Half messages whose outcome their producer shall say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checks {
    /// 1 to 64 of them.
    pub checks: Vec<Check>,
}

/// A half message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Ends its transaction.
    pub transaction_id: String,
    /// The message, whose handle is empty.
    pub message: ReceivedMessage,
}

/// A delayed message that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recalled {
    /// Its id.
    pub message_id: String,
}

/// What a consumer wants streamed, in the request's query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OpenStream {
    /// From where.
    #[param(pattern = "^[%|a-zA-Z0-9_-]{1,255}$")]
    pub topic: String,
    /// After so many messages the stream ends, 1 to 4,096; 256 when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 4096)]
    pub credits: Option<u32>,
    /// How long they stay invisible to the rest of the group, `10s` to `12h`; `60s` when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invisible: Option<String>,
    /// Only messages with one of these tags: `a || b`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only messages whose properties meet this SQL92 condition; not together with `filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use types::Timestamp;

    use super::*;

    fn received(body: Vec<u8>) -> Received {
        Received {
            message_id: "ID".to_owned(),
            body: Bytes::from(body),
            encoding: Encoding::Compressed,
            tag: None,
            keys: Vec::new(),
            message_group: None,
            deliver_at: None,
            priority: None,
            properties: BTreeMap::new(),
            handle: "H".to_owned(),
            attempt: 1,
            queue: 2,
            offset: 3,
            born_at: Timestamp(4),
            stored_at: Timestamp(5),
            dead_letter_of: None,
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_the_view_in_json(
            body in prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)],
        ) {
            let mut json = BytesMut::from(&b"["[..]);
            ReceivedMessage::write("t", received(body.clone()), &mut json);
            let read: ReceivedMessage = serde_json::from_slice(&json[1..]).expect("JSON");
            prop_assert_eq!(read, ReceivedMessage::of("t", received(body)));
        }
    }
}
