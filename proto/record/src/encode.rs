//! From a message to the bytes of its record.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use types::message::{BODY_BYTES_MAX, PROPERTIES_BYTES_MAX};
use types::{Message, PhysicalOffset, QueueId, QueueOffset, SysFlag, Timestamp};

use crate::hashes::Hashes;
use crate::layout::{
    BLANK_BYTES, BODY_CRC_AT, BORN_HOST_AT, FIXED_BYTES, MAGIC_BLANK, PHYSICAL_OFFSET_AT, QUEUE_OFFSET_AT,
    TOPIC_BYTES_MAX, Version, crc31, first_zero, host_bytes, is_queued,
};

/// A record that is complete but for its place: queue offset, physical offset and store time are zeros until
/// [`Encoded::place`]. Made by the caller's thread, so that the log's owner only patches 24 bytes.
#[derive(Debug)]
pub struct Encoded {
    bytes: BytesMut,
    is_followed: bool,
    /// Where the topic's name is: read from there, it costs no count of its users, which each record would change twice.
    topic_at: usize,
    topic_bytes: usize,
    queue: QueueId,
    hashes: Hashes,
    stored_at_position: usize,
}

/// Why a message has no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The topic's name cannot be stored.
    #[error("topic is {bytes} bytes, limit is {bytes_max}")]
    TopicTooLong {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// The body cannot be stored.
    #[error("body is {bytes} bytes, limit is {bytes_max}")]
    BodyTooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// The properties cannot be stored.
    #[error("properties are {bytes} bytes, limit is {bytes_max}")]
    PropertiesTooLarge {
        /// Their size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// Marked as prepared or rolled back: such records have no place in a queue, and the broker writes half messages
    /// without the mark.
    #[error("system flag {flag:#x} marks a prepared or rolled back message")]
    TransactionPart {
        /// The flag.
        flag: u32,
    },
    /// A zero byte in the properties: recovery takes it for a piece of the record that never reached the disk.
    #[error("properties hold a zero byte at {position}")]
    PropertiesZeroByte {
        /// Where in the properties' text.
        position: usize,
    },
}

/// Encodes `message` for `queue` of its topic: V1, or V2 when the topic has more than 127 bytes.
///
/// # Errors
/// [`EncodeError`], before anything is allocated.
pub fn encode(message: &Message, queue: QueueId, store_host: SocketAddr) -> Result<Encoded, EncodeError> {
    encode_in(&mut BytesMut::new(), message, queue, store_host)
}

/// As [`encode`], in memory of an empty buffer, which is empty again on return and gets more when it has no room:
/// records made one after the other share it. It is free when all of them are.
///
/// # Errors
/// [`EncodeError`], before anything is allocated.
pub fn encode_in(
    buffer: &mut BytesMut,
    message: &Message,
    queue: QueueId,
    store_host: SocketAddr,
) -> Result<Encoded, EncodeError> {
    let (topic, properties) = (message.topic.as_str(), message.properties.as_text());
    check(topic, &message.body, properties)?;
    if !is_queued(message.sys_flag) {
        return Err(EncodeError::TransactionPart { flag: message.sys_flag.0 });
    }
    let version = Version::for_topic_bytes(topic.len());
    let born_host_bytes = host_bytes(message.born_host);
    let total_bytes = encoded_bytes(message, store_host);

    buffer.reserve(total_bytes);
    buffer.put_u32(total_bytes as u32);
    buffer.put_u32(version.magic());
    buffer.put_u32(0); // bodyCRC
    buffer.put_u32(queue.0);
    buffer.put_u32(message.flag);
    buffer.put_bytes(0, 16); // queueOffset and physicalOffset
    buffer.put_u32(with_host_bits(message.sys_flag, message.born_host, store_host).0);
    buffer.put_i64(message.born_at.0);
    put_host(buffer, message.born_host);
    buffer.put_i64(0); // storeTimestamp
    put_host(buffer, store_host);
    buffer.put_u32(message.reconsume_times);
    buffer.put_u64(message.source_offset);
    buffer.put_u32(message.body.len() as u32);
    buffer.put_slice(&message.body);
    // Computed here, it overlaps with the copy's way to memory that is not in the processor's cache.
    buffer[BODY_CRC_AT..][..4].copy_from_slice(&crc31(&message.body).to_be_bytes());
    match version {
        Version::V1 => buffer.put_u8(topic.len() as u8),
        Version::V2 => buffer.put_u16(topic.len() as u16),
    }
    let (topic_at, topic_bytes) = (buffer.len(), topic.len());
    buffer.put_slice(topic.as_bytes());
    buffer.put_u16(properties.len() as u16);
    buffer.put_slice(properties.as_bytes());
    debug_assert_eq!(buffer.len(), total_bytes, "the length is computed as it is written");

    let hashes = Hashes::of(topic, message.properties.iter());
    let stored_at_position = BORN_HOST_AT + born_host_bytes;
    let bytes = buffer.split();
    let is_followed = buffer.capacity() > 0;
    Ok(Encoded { bytes, is_followed, topic_at, topic_bytes, queue, hashes, stored_at_position })
}

/// Length of the record that `message` becomes.
#[must_use]
pub fn encoded_bytes(message: &Message, store_host: SocketAddr) -> usize {
    let (topic, properties) = (message.topic.as_str(), message.properties.as_text());
    FIXED_BYTES
        + host_bytes(message.born_host)
        + host_bytes(store_host)
        + message.body.len()
        + Version::for_topic_bytes(topic.len()).topic_length_bytes()
        + topic.len()
        + 2
        + properties.len()
}

/// A blank record that takes the last `bytes` of a segment; what follows its eight bytes has no meaning.
/// Source: Apache `CommitLog.DefaultAppendMessageCallback`.
#[must_use]
pub fn blank(bytes: u32) -> Bytes {
    let mut blank = Vec::with_capacity(BLANK_BYTES);
    blank.put_u32(bytes);
    blank.put_u32(MAGIC_BLANK);
    Bytes::from(blank)
}

impl Encoded {
    /// The name of the record's topic.
    ///
    /// # Panics
    /// When its bytes were taken.
    #[must_use]
    pub fn topic(&self) -> &str {
        let name = &self.bytes[self.topic_at..self.topic_at + self.topic_bytes];
        str::from_utf8(name).expect("it was written as text")
    }

    /// The record's queue.
    #[must_use]
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// Length of the whole record in bytes.
    #[must_use]
    pub fn record_bytes(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Whether the memory right behind the record is of the same buffer, for records made in it later: when one begins there,
    /// joining their bytes copies nothing.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.is_followed
    }

    /// What the message can be found and filtered by.
    #[must_use]
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Writes the record's place into it and gives up its bytes, which are shared from here on and not copied.
    #[must_use]
    pub fn place(mut self, queue_offset: QueueOffset, physical_offset: PhysicalOffset, stored_at: Timestamp) -> Bytes {
        self.take_placed(queue_offset, physical_offset, stored_at).freeze()
    }

    /// As [`Encoded::place`], as they lie in memory that records share; queue and hashes stay known.
    #[must_use]
    pub fn take_placed(
        &mut self,
        queue_offset: QueueOffset,
        physical_offset: PhysicalOffset,
        stored_at: Timestamp,
    ) -> BytesMut {
        self.patch(QUEUE_OFFSET_AT, queue_offset.0.to_be_bytes());
        self.patch(PHYSICAL_OFFSET_AT, physical_offset.0.to_be_bytes());
        self.patch(self.stored_at_position, stored_at.0.to_be_bytes());
        std::mem::take(&mut self.bytes)
    }

    fn patch(&mut self, at: usize, field: [u8; 8]) {
        self.bytes[at..at + 8].copy_from_slice(&field);
    }
}

fn check(topic: &str, body: &[u8], properties: &str) -> Result<(), EncodeError> {
    if topic.len() > TOPIC_BYTES_MAX {
        return Err(EncodeError::TopicTooLong { bytes: topic.len(), bytes_max: TOPIC_BYTES_MAX });
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(EncodeError::BodyTooLarge { bytes: body.len(), bytes_max: BODY_BYTES_MAX });
    }
    if properties.len() > PROPERTIES_BYTES_MAX {
        return Err(EncodeError::PropertiesTooLarge { bytes: properties.len(), bytes_max: PROPERTIES_BYTES_MAX });
    }
    match first_zero(properties) {
        Some(position) => Err(EncodeError::PropertiesZeroByte { position }),
        None => Ok(()),
    }
}

fn with_host_bits(flag: SysFlag, born_host: SocketAddr, store_host: SocketAddr) -> SysFlag {
    let bit = |host: SocketAddr, bit: SysFlag| if host.is_ipv6() { bit } else { SysFlag::default() };
    SysFlag(flag.0 & !(SysFlag::BORN_HOST_V6.0 | SysFlag::STORE_HOST_V6.0))
        .with(bit(born_host, SysFlag::BORN_HOST_V6))
        .with(bit(store_host, SysFlag::STORE_HOST_V6))
}

fn put_host(bytes: &mut BytesMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => bytes.put_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.put_slice(&ip.octets()),
    }
    bytes.put_u32(u32::from(host.port()));
}
