//! The CommitLog record in Apache's format: encoding, decoding, and nothing else.
//!
//! No I/O. Source of the format: Apache 5.x `MessageExtEncoder`, `MessageDecoder`, checked against bytes that
//! Apache's store wrote (the vectors in the tests). All integers are big-endian, two's complement.

mod decode;
mod encode;
mod hashes;
mod layout;
mod message_id;

pub use decode::{Error, Header, Peek, Record, decode, header, peek};
pub use encode::{EncodeError, Encoded, Mark, blank, encode, encode_first, encoded_bytes};
pub use hashes::{Hashes, KEYS_MAX, key_hash};
pub use layout::{BLANK_BYTES, RECORD_BYTES_MAX, RECORD_BYTES_MIN, Version};
pub use message_id::{offset_message_id, parse_offset_message_id};
