//! From a message to the bytes of its record.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use types::message::{BODY_BYTES_MAX, PROPERTIES_BYTES_MAX};
use types::{Message, PhysicalOffset, QueueId, QueueOffset, SysFlag, Timestamp};

use crate::hashes::Hashes;
use crate::layout::{
    BLANK_BYTES, BORN_HOST_AT, FIXED_BYTES, MAGIC_BLANK, PHYSICAL_OFFSET_AT, QUEUE_OFFSET_AT, TOPIC_BYTES_MAX, Version,
    crc31, first_zero, host_bytes, is_queued,
};

/// What [`touch`] takes for a cache line, and how much it touches: a part of the nearest cache.
const CACHE_LINE_BYTES: usize = 64;
const TOUCHED_BYTES_MAX: usize = 16 * 1024;
/// Everything before the body, both hosts IPv6.
const HEAD_BYTES_MAX: usize = FIXED_BYTES + 2 * 20;

/// Records of one queue, one behind the other, complete but for their places: queue offset, physical offset and store time are
/// zeros until [`Encoded::take_placed`]. Made by the caller's thread, so that the log's owner only patches 24 bytes each.
#[derive(Debug)]
pub struct Encoded {
    bytes: BytesMut,
    /// Where the first one's topic is: read from there, it costs no count of its users.
    topic_at: usize,
    topic_bytes: usize,
    queue: QueueId,
    store_host: SocketAddr,
    /// One each.
    marks: SmallVec<[Mark; 1]>,
    /// How many of them were placed; `bytes` begins behind those.
    placed: usize,
}

/// What is known of one of the records beside its bytes.
#[derive(Debug)]
pub struct Mark {
    /// Length of the record.
    pub record_bytes: u32,
    /// What the message can be found and filtered by.
    pub hashes: Hashes,
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
    encode_first(message, queue, store_host, 0)
}

/// As [`encode`], with room for more messages of the topic, see [`Encoded::push`]: all records together, this one as well, take
/// `bytes`, or more when they need it.
///
/// # Errors
/// [`EncodeError`], before anything is allocated.
pub fn encode_first(
    message: &Message,
    queue: QueueId,
    store_host: SocketAddr,
    bytes: usize,
) -> Result<Encoded, EncodeError> {
    check(message)?;
    let record_bytes = encoded_bytes(message, store_host);
    let mut records = Encoded {
        bytes: BytesMut::with_capacity(bytes.max(record_bytes)),
        topic_at: 0,
        topic_bytes: 0,
        queue,
        store_host,
        marks: SmallVec::with_capacity(bytes / record_bytes),
        placed: 0,
    };
    records.topic_at = records.put(message);
    records.topic_bytes = message.topic.as_str().len();
    Ok(records)
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
    /// Adds the record of another message of the same topic, behind the others.
    ///
    /// # Errors
    /// [`EncodeError`]; then nothing was added.
    ///
    /// # Panics
    /// In debug builds, when it is of another topic.
    pub fn push(&mut self, message: &Message) -> Result<(), EncodeError> {
        debug_assert_eq!(message.topic.as_str(), self.topic(), "records of one queue");
        check(message)?;
        self.put(message);
        Ok(())
    }

    /// Writes a record behind the others and returns where in it the topic is.
    fn put(&mut self, message: &Message) -> usize {
        let (topic, properties) = (message.topic.as_str(), message.properties.as_text());
        let version = Version::for_topic_bytes(topic.len());
        let total_bytes = encoded_bytes(message, self.store_host);
        let start = self.bytes.len();
        let buffer = &mut self.bytes;
        buffer.reserve(total_bytes);
        touch(&mut buffer.spare_capacity_mut()[..total_bytes]);
        // Gathered on the stack: one check for room instead of one a field.
        let mut head = [0; HEAD_BYTES_MAX];
        let mut fields = head.as_mut_slice();
        fields.put_u32(total_bytes as u32);
        fields.put_u32(version.magic());
        fields.put_u32(crc31(&message.body));
        fields.put_u32(self.queue.0);
        fields.put_u32(message.flag);
        fields.put_bytes(0, 16); // queueOffset and physicalOffset
        fields.put_u32(with_host_bits(message.sys_flag, message.born_host, self.store_host).0);
        fields.put_i64(message.born_at.0);
        put_host(&mut fields, message.born_host);
        fields.put_i64(0); // storeTimestamp
        put_host(&mut fields, self.store_host);
        fields.put_u32(message.reconsume_times);
        fields.put_u64(message.source_offset);
        fields.put_u32(message.body.len() as u32);
        let left = fields.len();
        buffer.put_slice(&head[..HEAD_BYTES_MAX - left]);
        buffer.put_slice(&message.body);
        match version {
            Version::V1 => buffer.put_u8(topic.len() as u8),
            Version::V2 => buffer.put_u16(topic.len() as u16),
        }
        let topic_at = buffer.len() - start;
        buffer.put_slice(topic.as_bytes());
        buffer.put_u16(properties.len() as u16);
        buffer.put_slice(properties.as_bytes());
        debug_assert_eq!(buffer.len() - start, total_bytes, "the length is computed as it is written");
        self.marks.push(Mark {
            record_bytes: total_bytes as u32,
            hashes: Hashes::of(topic, message.properties.iter()),
            stored_at_position: BORN_HOST_AT + host_bytes(message.born_host),
        });
        topic_at
    }

    /// The name of the records' topic.
    ///
    /// # Panics
    /// When records were placed.
    #[must_use]
    pub fn topic(&self) -> &str {
        assert_eq!(self.placed, 0, "the topic is read from the first record");
        let name = &self.bytes[self.topic_at..self.topic_at + self.topic_bytes];
        str::from_utf8(name).expect("it was written as text")
    }

    /// The records' queue.
    #[must_use]
    pub fn queue(&self) -> QueueId {
        self.queue
    }

    /// How many records there are, never none.
    #[must_use]
    pub fn count(&self) -> usize {
        self.marks.len()
    }

    /// Length in bytes of the records that were not placed yet.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What is known of each record, in order.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Writes their places into the next `count` records, which follow each other in the queue and in the log, and gives up their
    /// bytes; nothing is copied.
    ///
    /// # Panics
    /// When so many are not left.
    #[must_use]
    pub fn take_placed(
        &mut self,
        count: usize,
        queue_offset: QueueOffset,
        physical_offset: PhysicalOffset,
        stored_at: Timestamp,
    ) -> BytesMut {
        let mut at = 0;
        for (mark, queue_offset) in self.marks[self.placed..][..count].iter().zip(queue_offset.0..) {
            let record = &mut self.bytes[at..at + mark.record_bytes as usize];
            patch(record, QUEUE_OFFSET_AT, queue_offset.to_be_bytes());
            patch(record, PHYSICAL_OFFSET_AT, physical_offset.plus(at as u64).0.to_be_bytes());
            patch(record, mark.stored_at_position, stored_at.0.to_be_bytes());
            at += record.len();
        }
        self.placed += count;
        if at == self.bytes.len() { std::mem::take(&mut self.bytes) } else { self.bytes.split_to(at) }
    }

    /// All records placed, see [`Encoded::take_placed`], as bytes that are shared from here on and not copied.
    #[must_use]
    pub fn place(mut self, queue_offset: QueueOffset, physical_offset: PhysicalOffset, stored_at: Timestamp) -> Bytes {
        self.take_placed(self.count(), queue_offset, physical_offset, stored_at).freeze()
    }
}

/// Writes to each cache line, so that lines which are in no cache are on their way while the CRC is computed.
fn touch(memory: &mut [MaybeUninit<u8>]) {
    memory.iter_mut().take(TOUCHED_BYTES_MAX).step_by(CACHE_LINE_BYTES).for_each(|byte| {
        byte.write(0);
    });
}

fn patch(record: &mut [u8], at: usize, field: [u8; 8]) {
    record[at..at + 8].copy_from_slice(&field);
}

/// Whether the message can be a record.
fn check(message: &Message) -> Result<(), EncodeError> {
    let (topic, body, properties) = (message.topic.as_str(), &message.body, message.properties.as_text());
    if topic.len() > TOPIC_BYTES_MAX {
        return Err(EncodeError::TopicTooLong { bytes: topic.len(), bytes_max: TOPIC_BYTES_MAX });
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(EncodeError::BodyTooLarge { bytes: body.len(), bytes_max: BODY_BYTES_MAX });
    }
    if properties.len() > PROPERTIES_BYTES_MAX {
        return Err(EncodeError::PropertiesTooLarge { bytes: properties.len(), bytes_max: PROPERTIES_BYTES_MAX });
    }
    if let Some(position) = first_zero(properties) {
        return Err(EncodeError::PropertiesZeroByte { position });
    }
    if is_queued(message.sys_flag) { Ok(()) } else { Err(EncodeError::TransactionPart { flag: message.sys_flag.0 }) }
}

fn with_host_bits(flag: SysFlag, born_host: SocketAddr, store_host: SocketAddr) -> SysFlag {
    let bit = |host: SocketAddr, bit: SysFlag| if host.is_ipv6() { bit } else { SysFlag::default() };
    SysFlag(flag.0 & !(SysFlag::BORN_HOST_V6.0 | SysFlag::STORE_HOST_V6.0))
        .with(bit(born_host, SysFlag::BORN_HOST_V6))
        .with(bit(store_host, SysFlag::STORE_HOST_V6))
}

fn put_host(bytes: &mut impl BufMut, host: SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => bytes.put_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.put_slice(&ip.octets()),
    }
    bytes.put_u32(u32::from(host.port()));
}
