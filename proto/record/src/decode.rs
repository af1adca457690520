//! From stored bytes to a view of the record in them: no copy, no allocation, no panic on any input.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use types::{PhysicalOffset, QueueId, QueueOffset, SysFlag, Timestamp};

use crate::hashes::Hashes;
use crate::layout::{
    BLANK_BYTES, MAGIC_BLANK, RECORD_BYTES_MAX, RECORD_BYTES_MIN, TOPIC_BYTES_MAX, Version, crc31, first_zero,
    is_queued,
};

/// What begins at a position of the log, told from its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// A record of this length.
    Record {
        /// The whole record.
        bytes: u32,
    },
    /// A blank: the log goes on in the next segment.
    Blank {
        /// Length up to the segment's end.
        bytes: u32,
    },
    /// Zeros: nothing was written here.
    Nothing,
}

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the record says it has.
    #[error("record needs {needed} bytes, {available} are there")]
    Short {
        /// How many it needs.
        needed: usize,
        /// How many there are.
        available: usize,
    },
    /// No known magic number.
    #[error("magic is {found:#010x}")]
    Magic {
        /// What stands in its place.
        found: u32,
    },
    /// A length that no record has.
    #[error("record says it has {bytes} bytes, possible are {RECORD_BYTES_MIN} to {RECORD_BYTES_MAX}")]
    Size {
        /// The length found.
        bytes: u32,
    },
    /// A part's length that is negative or leaves the record.
    #[error("length of {part} does not fit the record")]
    Length {
        /// `body`, `topic` or `properties`.
        part: &'static str,
    },
    /// The parts do not add up to the whole.
    #[error("{bytes} bytes follow the record's last part")]
    Surplus {
        /// How many.
        bytes: usize,
    },
    /// A topic that is empty, too long or not UTF-8, or properties that are not UTF-8.
    #[error("{part} is not a valid text")]
    Text {
        /// `topic` or `properties`.
        part: &'static str,
    },
    /// The body is not the one that was stored.
    #[error("crc of the body is {computed:#010x}, stored is {stored:#010x}")]
    Crc {
        /// Of the body found.
        computed: u32,
        /// Of the body stored.
        stored: u32,
    },
    /// A zero byte in the properties, which nobody writes: a piece of the record never reached the disk.
    #[error("properties have a hole")]
    Hole,
}

/// The fields before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the whole record.
    pub record_bytes: u32,
    /// How the topic's length is stated.
    pub version: Version,
    /// CRC of the body, 31 bits.
    pub body_crc: u32,
    /// The queue.
    pub queue: QueueId,
    /// The producer's own number.
    pub flag: u32,
    /// The place in the queue.
    pub queue_offset: QueueOffset,
    /// The place in the log.
    pub physical_offset: PhysicalOffset,
    /// How the body is stored, and more.
    pub sys_flag: SysFlag,
    /// When the producer made it.
    pub born_at: Timestamp,
    /// Where the producer made it.
    pub born_host: SocketAddr,
    /// When it was appended.
    pub stored_at: Timestamp,
    /// Who appended it.
    pub store_host: SocketAddr,
    /// How often it was delivered before, for copies.
    pub reconsume_times: u32,
    /// Of an outcome: the physical offset of the record it is the outcome of; else 0.
    pub source_offset: u64,
    /// Length of the body.
    pub body_bytes: u32,
}

/// A view of a record. To keep a part of it beyond the view, slice the shared buffer it was decoded from:
/// `buffer.slice_ref(record.body)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The fields before the body.
    pub header: Header,
    /// The content.
    pub body: &'a [u8],
    /// The topic's name, 1 to 255 bytes.
    pub topic: &'a str,
    /// The properties as stored, for [`types::Properties::parse`].
    pub properties: &'a str,
}

/// Tells what the first eight bytes of `input` begin.
///
/// # Errors
/// [`Error::Short`], [`Error::Magic`], [`Error::Size`].
pub fn peek(input: &[u8]) -> Result<Peek, Error> {
    let mut input = Input(input);
    let bytes = input.u32().ok_or(Error::Short { needed: BLANK_BYTES, available: input.0.len() })?;
    let magic = input.u32().ok_or(Error::Short { needed: BLANK_BYTES, available: 4 + input.0.len() })?;
    if bytes == 0 && magic == 0 {
        return Ok(Peek::Nothing);
    }
    if magic == MAGIC_BLANK {
        return Ok(Peek::Blank { bytes });
    }
    Version::of_magic(magic).ok_or(Error::Magic { found: magic })?;
    if !(RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&(bytes as usize)) {
        return Err(Error::Size { bytes });
    }
    Ok(Peek::Record { bytes })
}

/// Reads the fields before the body; the rest of the record need not be there.
///
/// # Errors
/// As [`peek`]; [`Error::Magic`] for a blank.
pub fn header(input: &[u8]) -> Result<Header, Error> {
    record_bytes(input)?;
    Input(input).header().ok_or(Error::Short { needed: RECORD_BYTES_MIN, available: input.len() })
}

fn record_bytes(input: &[u8]) -> Result<usize, Error> {
    match peek(input)? {
        Peek::Record { bytes } => Ok(bytes as usize),
        Peek::Blank { .. } => Err(Error::Magic { found: MAGIC_BLANK }),
        Peek::Nothing => Err(Error::Magic { found: 0 }),
    }
}

/// Decodes the record at the front of `input`; bytes behind it are ignored. The lengths are checked against
/// each other, the body's CRC is not: see [`Record::check`].
///
/// # Errors
/// [`Error`].
pub fn decode(input: &[u8]) -> Result<Record<'_>, Error> {
    let needed = record_bytes(input)?;
    let whole = input.get(..needed).ok_or(Error::Short { needed, available: input.len() })?;
    let mut rest = Input(whole);
    let header = rest.header().ok_or(Error::Length { part: "header" })?;
    let body = rest.take(header.body_bytes as usize).ok_or(Error::Length { part: "body" })?;
    let topic = rest.topic(header.version).ok_or(Error::Length { part: "topic" })?;
    let properties = rest.properties().ok_or(Error::Length { part: "properties" })?;
    if !rest.0.is_empty() {
        return Err(Error::Surplus { bytes: rest.0.len() });
    }
    let topic = str::from_utf8(topic).map_err(|_| Error::Text { part: "topic" })?;
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX {
        return Err(Error::Text { part: "topic" });
    }
    let properties = str::from_utf8(properties).map_err(|_| Error::Text { part: "properties" })?;
    Ok(Record { header, body, topic, properties })
}

impl Record<'_> {
    /// Checks that the record is whole: the body's CRC, and that the properties hold no zeros. Between them they
    /// notice every piece of a disk's sector or more that was never written, since segments are zeros before.
    ///
    /// # Errors
    /// [`Error::Crc`], [`Error::Hole`].
    pub fn check(&self) -> Result<(), Error> {
        let computed = crc31(self.body);
        if computed != self.header.body_crc {
            return Err(Error::Crc { computed, stored: self.header.body_crc });
        }
        if first_zero(self.properties).is_some() {
            return Err(Error::Hole);
        }
        Ok(())
    }

    /// Whether the record has a place in its queue. Apache gives none to prepared and rollback records (which
    /// only old brokers write: half messages have a topic of their own).
    #[must_use]
    pub fn is_queued(&self) -> bool {
        is_queued(self.header.sys_flag)
    }

    /// The value of a property; of a name that stands twice, the first.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// All properties in order; entries without a name or value are left out, as Apache does.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        types::properties::pairs(self.properties)
    }

    /// What the message can be found and filtered by, as [`crate::Mark::hashes`] has it.
    #[must_use]
    pub fn hashes(&self) -> Hashes {
        Hashes::of(self.topic, self.properties())
    }
}

/// What is left to read; each method takes its part from the front or, when that is too short, nothing.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(part)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*part)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn timestamp(&mut self) -> Option<Timestamp> {
        self.array().map(|bytes| Timestamp(i64::from_be_bytes(bytes)))
    }

    fn host(&mut self, is_v6: bool) -> Option<SocketAddr> {
        let ip: IpAddr =
            if is_v6 { Ipv6Addr::from(self.array::<16>()?).into() } else { Ipv4Addr::from(self.array::<4>()?).into() };
        // Java writes the port as an i32; what does not fit a port is nobody's.
        let port = u16::try_from(self.u32()?).unwrap_or(0);
        Some(SocketAddr::from((ip, port)))
    }

    fn header(&mut self) -> Option<Header> {
        let record_bytes = self.u32()?;
        let version = Version::of_magic(self.u32()?)?;
        let body_crc = self.u32()?;
        let queue = QueueId(self.u32()?);
        let flag = self.u32()?;
        let queue_offset = QueueOffset(self.u64()?);
        let physical_offset = PhysicalOffset(self.u64()?);
        let sys_flag = SysFlag(self.u32()?);
        let born_at = self.timestamp()?;
        let born_host = self.host(sys_flag.has(SysFlag::BORN_HOST_V6))?;
        let stored_at = self.timestamp()?;
        let store_host = self.host(sys_flag.has(SysFlag::STORE_HOST_V6))?;
        let reconsume_times = self.u32()?;
        let source_offset = self.u64()?;
        let body_bytes = self.u32()?;
        Some(Header {
            record_bytes,
            version,
            body_crc,
            queue,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_at,
            born_host,
            stored_at,
            store_host,
            reconsume_times,
            source_offset,
            body_bytes,
        })
    }

    fn topic(&mut self, version: Version) -> Option<&'a [u8]> {
        let bytes = match version {
            Version::V1 => self.array().map(i8::from_be_bytes).map(i16::from)?,
            Version::V2 => self.array().map(i16::from_be_bytes)?,
        };
        self.take(usize::try_from(bytes).ok()?)
    }

    fn properties(&mut self) -> Option<&'a [u8]> {
        let bytes = self.array().map(i16::from_be_bytes)?;
        self.take(usize::try_from(bytes).ok()?)
    }
}

#[cfg(test)]
mod tests;
