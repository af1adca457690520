//! Where the fields of a record are.
//!
//! | bytes (both hosts IPv4) | field                       | notes                                            |
//! |-------------------------|-----------------------------|--------------------------------------------------|
//! | 0..4                    | `totalSize`                 | the whole record                                 |
//! | 4..8                    | `magic`                     | says the version, or blank                       |
//! | 8..12                   | `bodyCRC`                   | CRC-32 (IEEE) of the body, highest bit cleared   |
//! | 12..16                  | `queueId`                   |                                                  |
//! | 16..20                  | `flag`                      | the producer's own                               |
//! | 20..28                  | `queueOffset`               | placeholder until placed                         |
//! | 28..36                  | `physicalOffset`            | equals its position; placeholder until placed    |
//! | 36..40                  | `sysFlag`                   | bits 0x10 and 0x20 say that a host is IPv6       |
//! | 40..48                  | `bornTimestamp`             | ms                                               |
//! | 48..56                  | `bornHost`                  | address, port as i32; 20 bytes when IPv6         |
//! | 56..64                  | `storeTimestamp`            | ms; at 68 behind an IPv6 born host               |
//! | 64..72                  | `storeHost`                 | as `bornHost`                                    |
//! | 72..76                  | `reconsumeTimes`            |                                                  |
//! | 76..84                  | `preparedTransactionOffset` | of an outcome: its source's physical offset      |
//! | 84..88                  | `bodyLength`                |                                                  |
//! | 88..                    | body                        |                                                  |
//! |                         | `topicLength`, topic        | length is i8 in V1, i16 in V2                    |
//! |                         | `propertiesLength`, text    | length is i16; `name 0x01 value 0x02` repeated   |

use std::net::SocketAddr;

use types::SysFlag;
use types::message::{BODY_BYTES_MAX, PROPERTIES_BYTES_MAX};
use types::topic::DERIVED_NAME_BYTES_MAX;

/// Magic of a blank record, which fills a segment's end.
pub(crate) const MAGIC_BLANK: u32 = 0xCBD4_3194;
const MAGIC_V1: u32 = 0xDAA3_20A7;
const MAGIC_V2: u32 = 0xDAA3_20AB;

/// Bytes of a blank record that have a meaning: its length (to the segment's end) and its magic.
pub const BLANK_BYTES: usize = 8;
/// Smallest record: V1, hosts IPv4, a topic of one byte, no body, no properties.
pub const RECORD_BYTES_MIN: usize = 92;
/// Largest record. Source: Apache `MessageExtEncoder`, `maxMessageSize` + 64 KiB.
pub const RECORD_BYTES_MAX: usize = BODY_BYTES_MAX + 64 * 1024;

pub(crate) const QUEUE_OFFSET_AT: usize = 20;
pub(crate) const PHYSICAL_OFFSET_AT: usize = 28;
pub(crate) const BORN_HOST_AT: usize = 48;
/// Everything before the body but the two hosts.
pub(crate) const FIXED_BYTES: usize = 72;
/// Longest topic that a V1 record can name: its length is a signed byte.
pub(crate) const TOPIC_BYTES_MAX_V1: usize = 127;
pub(crate) const TOPIC_BYTES_MAX: usize = DERIVED_NAME_BYTES_MAX;

// What a record may hold fits in what a record may be.
const _: () =
    assert!(FIXED_BYTES + 40 + BODY_BYTES_MAX + 2 + TOPIC_BYTES_MAX + 2 + PROPERTIES_BYTES_MAX <= RECORD_BYTES_MAX);
const _: () = assert!(FIXED_BYTES + 16 + 1 + 1 + 2 == RECORD_BYTES_MIN);

/// How a record states its topic's length. Source: Apache `MessageVersion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One signed byte.
    V1,
    /// Two bytes, for topics of more than 127 bytes.
    V2,
}

impl Version {
    /// The version that a topic of `bytes` needs.
    pub(crate) fn for_topic_bytes(bytes: usize) -> Self {
        if bytes > TOPIC_BYTES_MAX_V1 { Self::V2 } else { Self::V1 }
    }

    /// The version with this magic; `None` for a blank or anything else.
    pub(crate) fn of_magic(magic: u32) -> Option<Self> {
        match magic {
            MAGIC_V1 => Some(Self::V1),
            MAGIC_V2 => Some(Self::V2),
            _ => None,
        }
    }

    pub(crate) fn magic(self) -> u32 {
        match self {
            Self::V1 => MAGIC_V1,
            Self::V2 => MAGIC_V2,
        }
    }

    pub(crate) fn topic_length_bytes(self) -> usize {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Bytes of a host as a record stores it: address and port.
pub(crate) fn host_bytes(host: SocketAddr) -> usize {
    if host.is_ipv6() { 20 } else { 8 }
}

/// The first zero byte of properties, which none may hold: a zero is what a piece of the disk is that was never written.
pub(crate) fn first_zero(properties: &str) -> Option<usize> {
    memchr::memchr(0, properties.as_bytes())
}

/// CRC as a record stores it: Java keeps it in a signed number and clears the sign.
pub(crate) fn crc31(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// Whether a record with this flag has a place in its queue: it is no part of a transaction, or its commit.
/// Source: Apache `MessageSysFlag`, `CommitLogDispatcherBuildConsumeQueue`.
pub(crate) fn is_queued(flag: SysFlag) -> bool {
    const TRANSACTION_BITS: u32 = 0xC;
    matches!(flag.0 & TRANSACTION_BITS, 0 | 0x8)
}
