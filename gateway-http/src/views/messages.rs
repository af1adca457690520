//! Stored messages as JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use types::properties::{self, names};
use utoipa::{IntoParams, ToSchema};

/// Which messages are looked for, in the request's query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FindMessages {
    /// Their unique id, or one of the keys that their producer gave; without it all are found, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only of this queue; not together with `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Stored at or after this time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
    /// Stored before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_ms: Option<i64>,
    /// At most so many, 1 to 256; 32 when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
    /// Whether bodies are wanted; yes when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<bool>,
}

/// Messages that were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Messages {
    /// By key the newest first, else by store time.
    pub messages: Vec<Message>,
    /// Whether there are no others.
    pub complete: bool,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its queue.
    pub queue: u32,
    /// Its offset there.
    pub offset: u64,
    /// The client's id of it; empty when it has none.
    pub message_id: String,
    /// Its name by where it is stored, as mqadmin's `queryMsgById` takes it.
    pub offset_message_id: String,
    /// Its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The producer's keys.
    pub keys: Vec<String>,
    /// Its message group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group: Option<String>,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at_ms: i64,
    /// When its producer made it.
    pub born_at_ms: i64,
    /// Where its producer made it.
    pub born_host: String,
    /// How often it was delivered before it was copied here: more than 0 only in retry and dead-letter topics.
    pub reconsume_times: u32,
    /// Length of its body in bytes.
    pub body_bytes: usize,
    /// Its body, when it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Its body in Base64, when it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// All its properties, the system's included.
    pub properties: BTreeMap<String, String>,
}

impl Message {
    /// The view of a record; `None` of bytes that are none.
    #[must_use]
    pub fn of(bytes: &[u8], has_body: bool) -> Option<Self> {
        let record = record::decode(bytes).ok()?;
        let header = &record.header;
        let property = |name| record.property(name).map(str::to_owned);
        let keys = record.property(names::KEYS).unwrap_or_default();
        let text = has_body.then(|| str::from_utf8(record.body));
        Some(Self {
            topic: record.topic.to_owned(),
            queue: header.queue.0,
            offset: header.queue_offset.0,
            message_id: property(names::UNIQUE_KEY).unwrap_or_default(),
            offset_message_id: record::offset_message_id(header.store_host, header.physical_offset),
            tag: property(names::TAGS),
            keys: properties::keys(keys).map(str::to_owned).collect(),
            message_group: property(names::MESSAGE_GROUP),
            stored_at_ms: header.stored_at.0,
            born_at_ms: header.born_at.0,
            born_host: header.born_host.to_string(),
            reconsume_times: header.reconsume_times,
            body_bytes: record.body.len(),
            body: text.and_then(Result::ok).map(str::to_owned),
            body_base64: text.filter(Result::is_err).map(|_| STANDARD.encode(record.body)),
            properties: record.properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }
}
