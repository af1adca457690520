//! A message as producers give it and brokers take it, whatever the protocol.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::properties::names;
use crate::{Properties, Timestamp, TopicName};

/// Largest body, in bytes. Source: Apache `maxMessageSize`.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest text of all properties, in bytes: its length is stored as a signed 16-bit number.
pub const PROPERTIES_BYTES_MAX: usize = 32767;

/// What a message is, besides its content. Source: proto `MessageType`, Apache `TopicMessageType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MessageType {
    /// Nothing special.
    Normal,
    /// In order with the other messages of its message group.
    Fifo,
    /// Delivered at a time of its own.
    Delay,
    /// Delivered once its producer commits it.
    Transaction,
    /// Belongs to a light topic below its topic. Not built: refused by name.
    Lite,
    /// Delivered before those of lower priority.
    Priority,
}

impl MessageType {
    /// The type that a message's properties say, in Apache 5.5's order of precedence.
    #[must_use]
    pub fn of(properties: &Properties) -> Self {
        Self::of_pairs(properties.iter())
    }

    /// The same for properties that are not at hand as [`Properties`].
    pub fn of_pairs<'a>(properties: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        const DELAYS: [&str; 4] =
            [names::DELAY_LEVEL, names::TIMER_DELIVER_MS, names::TIMER_DELAY_SECONDS, names::TIMER_DELAY_MS];
        let (mut is_delay, mut is_fifo, mut is_priority, mut is_lite) = (false, false, false, false);
        for (name, value) in properties {
            match name {
                names::TRANSACTION_PREPARED if value == "true" => return Self::Transaction,
                names::MESSAGE_GROUP => is_fifo = true,
                names::PRIORITY => is_priority = true,
                names::LITE_TOPIC => is_lite = true,
                _ => is_delay |= DELAYS.contains(&name),
            }
        }
        match () {
            () if is_delay => Self::Delay,
            () if is_fifo => Self::Fifo,
            () if is_priority => Self::Priority,
            () if is_lite => Self::Lite,
            () => Self::Normal,
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "NORMAL",
            Self::Fifo => "FIFO",
            Self::Delay => "DELAY",
            Self::Transaction => "TRANSACTION",
            Self::Lite => "LITE",
            Self::Priority => "PRIORITY",
        })
    }
}

impl FromStr for MessageType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "NORMAL" => Ok(Self::Normal),
            "FIFO" => Ok(Self::Fifo),
            "DELAY" => Ok(Self::Delay),
            "TRANSACTION" => Ok(Self::Transaction),
            "LITE" => Ok(Self::Lite),
            "PRIORITY" => Ok(Self::Priority),
            _ => Err(format!("message type {text:?} is none of NORMAL, FIFO, DELAY, TRANSACTION, PRIORITY")),
        }
    }
}

/// The record's `sysFlag` bits. Source: Apache `MessageSysFlag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysFlag(pub u32);

impl SysFlag {
    /// The body is compressed; bits 8 to 10 say how.
    pub const COMPRESSED: Self = Self(0x1);
    /// A half message on its way into a broker.
    pub const TRANSACTION_PREPARED: Self = Self(0x4);
    /// A committed transactional message.
    pub const TRANSACTION_COMMIT: Self = Self(0x8);
    const TRANSACTION_BITS: u32 = 0xC;
    /// The born host is an IPv6 address (20 bytes instead of 8).
    pub const BORN_HOST_V6: Self = Self(0x10);
    /// The store host is an IPv6 address (20 bytes instead of 8).
    pub const STORE_HOST_V6: Self = Self(0x20);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` set.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With the two transaction bits cleared, as a half message is stored.
    #[must_use]
    pub fn without_transaction(self) -> Self {
        Self(self.0 & !Self::TRANSACTION_BITS)
    }
}

/// A message on its way into a broker. What kind it is, is said by its properties ([`MessageType::of`]), as
/// it is between Apache's proxy and broker: a delivery time, a message group, the mark of a half message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub topic: TopicName,
    /// The content, 1 to [`BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
    /// Names and values, at most [`PROPERTIES_BYTES_MAX`] bytes of text.
    pub properties: Properties,
    /// The producer's own number, stored and given back untouched.
    pub flag: u32,
    /// Bits that say how the body is stored.
    pub sys_flag: SysFlag,
    /// When the producer made it.
    pub born_at: Timestamp,
    /// Where the producer made it.
    pub born_host: SocketAddr,
    /// How often it was delivered before, for copies of messages.
    pub reconsume_times: u32,
    /// In an outcome (a committed, delivered or parked copy) the position of the record it is the outcome of; else 0.
    /// Source: Apache `preparedTransactionOffset`.
    pub source_offset: u64,
}

impl Message {
    /// A message with nothing but content, as tests and copies begin.
    #[must_use]
    pub fn new(topic: TopicName, body: Bytes) -> Self {
        Self {
            topic,
            body,
            properties: Properties::new(),
            flag: 0,
            sys_flag: SysFlag::default(),
            born_at: Timestamp::default(),
            born_host: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            reconsume_times: 0,
            source_offset: 0,
        }
    }
}

/// Java's `String.hashCode`, over UTF-16 units: tags and message groups are indexed and queues chosen by it.
#[must_use]
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        assert_eq!(java_hash("TagA"), 2_598_919);
        assert_eq!(java_hash("groupA"), -1_237_460_574);
        assert_eq!(java_hash("order-1"), -1_207_111_310);
    }

    #[test]
    fn transaction_wins_over_delay_over_fifo() {
        let mut properties = Properties::new();
        assert_eq!(MessageType::of(&properties), MessageType::Normal);
        properties.set_own(names::MESSAGE_GROUP, "g");
        assert_eq!(MessageType::of(&properties), MessageType::Fifo);
        properties.set_own(names::TIMER_DELIVER_MS, "1");
        assert_eq!(MessageType::of(&properties), MessageType::Delay);
        properties.set_own(names::TRANSACTION_PREPARED, "true");
        assert_eq!(MessageType::of(&properties), MessageType::Transaction);
    }
}
