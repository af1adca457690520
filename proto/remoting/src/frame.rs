//! The frame: lengths, the kind of header, header, body.
//!
//! | bytes        | field            | notes                                                                    |
//! |--------------|------------------|--------------------------------------------------------------------------|
//! | 0..4         | length           | of all that follows; big-endian, like all numbers                        |
//! | 4            | serialize type   | of the header: 0 JSON, 1 RocketMQ's own                                  |
//! | 5..8         | header length    |                                                                          |
//! | 8..8+header  | header           |                                                                          |
//! | the rest     | body             | bytes that only the request code explains; may be empty                  |
//!
//! Source: Apache 5.5 `RemotingCommand#encode`, `NettyDecoder` (limit).

use bytes::{BufMut, Bytes, BytesMut};

use crate::command::{Command, SerializeType};
use crate::fields::FIELDS_MAX;
use crate::{header_binary, header_json};

/// Most bytes of a frame, its own length included. Source: `com.rocketmq.remoting.frameMaxLength`.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Fewest bytes of a frame: both lengths.
pub const FRAME_BYTES_MIN: usize = 8;
/// Most bytes of a header: three bytes say its length.
const HEADER_BYTES_MAX: usize = (1 << 24) - 1;

/// Why bytes are no frame, or a command fits in none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too short for its own lengths.
    #[error("a frame has {bytes} bytes, at least {FRAME_BYTES_MIN} are needed")]
    TooShort {
        /// With its length.
        bytes: usize,
    },
    /// Longer than the limit.
    #[error("a frame has {bytes} bytes, limit is {FRAME_BYTES_MAX}")]
    TooLong {
        /// With its length.
        bytes: usize,
    },
    /// The header would be longer than what there is, or than its length can say.
    #[error("a header has {header_bytes} bytes, limit is {header_bytes_max}")]
    HeaderTooLong {
        /// Announced, or needed.
        header_bytes: usize,
        /// What there is.
        header_bytes_max: usize,
    },
    /// Neither of the two ways to write a header.
    #[error("serialize type is {0}, expected 0 or 1")]
    SerializeType(u8),
    /// The JSON header cannot be read.
    #[error("the header is not the expected JSON: {0}")]
    Json(String),
    /// The binary header ends too early, or one of its lengths is wrong.
    #[error("the binary header ends within {0}")]
    Cut(&'static str),
    /// A text of the binary header is not UTF-8.
    #[error("{0} of the binary header is not UTF-8")]
    NotUtf8(&'static str),
    /// Too many extension fields.
    #[error("a header has more than {FIELDS_MAX} extension fields")]
    TooManyFields,
    /// A code or a length that has no room in the binary header.
    #[error("{what} is {value}, which the binary header has no room for")]
    NoRoom {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: i64,
    },
}

/// Bytes of the frame that begins `input`, its length included; `None` asks for more bytes.
///
/// Nothing is consumed or allocated, so a peer that announces a huge frame has cost four bytes.
///
/// # Errors
/// [`Error::TooShort`] and [`Error::TooLong`]; the connection cannot be understood any further.
pub fn announced(input: &[u8]) -> Result<Option<usize>, Error> {
    let Some(prefix) = input.first_chunk::<4>() else { return Ok(None) };
    let bytes = (u32::from_be_bytes(*prefix) as usize).saturating_add(4);
    match bytes {
        ..FRAME_BYTES_MIN => Err(Error::TooShort { bytes }),
        FRAME_BYTES_MIN..=FRAME_BYTES_MAX => Ok(Some(bytes)),
        _ => Err(Error::TooLong { bytes }),
    }
}

/// Reads one whole frame, as long as [`announced`] said. The body shares the frame's memory.
///
/// # Errors
/// [`Error`].
pub fn decode(mut frame: Bytes) -> Result<Command, Error> {
    let Some((lengths, rest)) = frame.split_first_chunk::<FRAME_BYTES_MIN>() else {
        return Err(Error::TooShort { bytes: frame.len() });
    };
    let [_, _, _, _, serialize_type, high, middle, low] = *lengths;
    let header_bytes = u32::from_be_bytes([0, high, middle, low]) as usize;
    let Some((header, _)) = rest.split_at_checked(header_bytes) else {
        return Err(Error::HeaderTooLong { header_bytes, header_bytes_max: rest.len() });
    };
    let command = match serialize_type {
        0 => header_json::decode(header)?,
        1 => header_binary::decode(header)?,
        other => return Err(Error::SerializeType(other)),
    };
    Ok(Command { body: frame.split_off(FRAME_BYTES_MIN + header_bytes), ..command })
}

/// Writes a command as one frame at the end of `out`. At an error nothing is written.
///
/// # Errors
/// [`Error::TooLong`], [`Error::HeaderTooLong`], [`Error::NoRoom`].
pub fn encode(command: &Command, out: &mut BytesMut) -> Result<(), Error> {
    let header = match command.serialize_type {
        SerializeType::Json => header_json::encode(command),
        SerializeType::RocketMq => header_binary::encode(command)?,
    };
    if header.len() > HEADER_BYTES_MAX {
        return Err(Error::HeaderTooLong { header_bytes: header.len(), header_bytes_max: HEADER_BYTES_MAX });
    }
    let bytes = FRAME_BYTES_MIN + header.len() + command.body.len();
    if bytes > FRAME_BYTES_MAX {
        return Err(Error::TooLong { bytes });
    }
    // Both fit: the limits above are below 2^24.
    let (follow, header_word) =
        (bytes as u32 - 4, header.len() as u32 | u32::from(command.serialize_type.number()) << 24);
    out.reserve(bytes);
    out.put_u32(follow);
    out.put_u32(header_word);
    out.put_slice(&header);
    out.put_slice(&command.body);
    Ok(())
}

#[cfg(test)]
mod tests;
