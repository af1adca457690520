//! Several messages in the body of one send, one after the other. All numbers are big-endian.
//!
//! | bytes | field                                            |
//! |-------|--------------------------------------------------|
//! | 4     | bytes of the whole message, these included       |
//! | 4     | magic: 0                                         |
//! | 4     | checksum of the body: 0, not looked at           |
//! | 4     | the producer's own number                        |
//! | 4 + n | the body                                         |
//! | 2 + n | the text of the properties, as records have it   |
//!
//! Source: Apache 5.5 `MessageDecoder#encodeMessage`, `#decodeMessage`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a message without body and properties.
const FIXED_BYTES: usize = 5 * 4 + 2;
/// Most messages of one batch.
pub const MESSAGES_MAX: usize = 4096;

/// Why a batch cannot be read or written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It ends within a message, or a length in it is wrong.
    #[error("message {index} of the batch ends within {field}")]
    Cut {
        /// Which message, from 0.
        index: usize,
        /// What is cut.
        field: &'static str,
    },
    /// The properties are not UTF-8.
    #[error("the properties of message {index} of the batch are not UTF-8")]
    NotUtf8 {
        /// Which message, from 0.
        index: usize,
    },
    /// Too many messages.
    #[error("a batch has more than {MESSAGES_MAX} messages")]
    TooMany,
    /// Properties or a body that its length has no room for.
    #[error("message {index} of the batch has {bytes} bytes of {field}, limit is {bytes_max}")]
    TooLong {
        /// Which message, from 0.
        index: usize,
        /// What is too long.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest possible.
        bytes_max: usize,
    },
}

/// A message of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchMessage {
    /// The producer's own number.
    pub flag: i32,
    /// The content.
    pub body: Bytes,
    /// The text of the properties.
    pub properties: String,
}

/// Reads all messages; bodies share the batch's memory.
///
/// # Errors
/// [`Error`].
pub fn decode(mut batch: Bytes) -> Result<Vec<BatchMessage>, Error> {
    let mut messages = Vec::new();
    while !batch.is_empty() {
        if messages.len() == MESSAGES_MAX {
            return Err(Error::TooMany);
        }
        messages.push(message(&mut batch, messages.len())?);
    }
    Ok(messages)
}

fn message(batch: &mut Bytes, index: usize) -> Result<BatchMessage, Error> {
    let cut = |field| Error::Cut { index, field };
    let length = usize::try_from(batch.try_get_i32().map_err(|_| cut("its length"))?).map_err(|_| cut("its length"))?;
    let rest = length.checked_sub(4).filter(|rest| *rest <= batch.len()).ok_or_else(|| cut("itself"))?;
    let mut message = batch.split_to(rest);
    // Magic and checksum: nobody looks at them.
    message.try_get_u64().map_err(|_| cut("its checksum"))?;
    let flag = message.try_get_i32().map_err(|_| cut("its flag"))?;
    let body_bytes = message.try_get_i32().map_err(|_| cut("the body's length"))?;
    let body = take(&mut message, body_bytes).ok_or_else(|| cut("the body"))?;
    let properties_bytes = message.try_get_i16().map_err(|_| cut("the properties' length"))?;
    let properties = take(&mut message, properties_bytes).ok_or_else(|| cut("the properties"))?;
    let properties = String::from_utf8(properties.into()).map_err(|_| Error::NotUtf8 { index })?;
    Ok(BatchMessage { flag, body, properties })
}

fn take(message: &mut Bytes, bytes: impl TryInto<usize>) -> Option<Bytes> {
    let bytes = bytes.try_into().ok().filter(|bytes| *bytes <= message.len())?;
    Some(message.split_to(bytes))
}

/// Writes messages.
///
/// # Errors
/// [`Error::TooMany`], [`Error::TooLong`].
pub fn encode(messages: &[BatchMessage]) -> Result<Bytes, Error> {
    if messages.len() > MESSAGES_MAX {
        return Err(Error::TooMany);
    }
    let mut out = BytesMut::new();
    for (index, BatchMessage { flag, body, properties }) in messages.iter().enumerate() {
        let length = FIXED_BYTES + body.len() + properties.len();
        let too_long = |field, bytes, bytes_max| Error::TooLong { index, field, bytes, bytes_max };
        let properties_bytes = i16::try_from(properties.len())
            .map_err(|_| too_long("properties", properties.len(), i16::MAX.unsigned_abs().into()))?;
        // The body is shorter than its message.
        let length = i32::try_from(length).map_err(|_| too_long("body", body.len(), i32::MAX as usize))?;
        out.put_i32(length);
        out.put_u64(0);
        out.put_i32(*flag);
        out.put_i32(body.len() as i32);
        out.put_slice(body);
        out.put_i16(properties_bytes);
        out.put_slice(properties.as_bytes());
    }
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Measured: what Apache's client sends for body "hi" and properties k, WAIT and TAGS.
    const MEASURED: &[u8] =
        b"\x00\x00\x00\x30\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02hi\x00\x18\
        k\x01v\x02WAIT\x01true\x02TAGS\x01TagA\x02";

    #[test]
    fn apaches_batch_is_read_and_written_alike() {
        let properties = "k\u{1}v\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}".to_owned();
        let message = BatchMessage { flag: 0, body: Bytes::from_static(b"hi"), properties };
        assert_eq!(decode(Bytes::from_static(MEASURED)), Ok(vec![message.clone()]));
        assert_eq!(encode(&[message]).as_deref(), Ok(MEASURED));
    }

    #[test]
    fn a_cut_batch_is_refused() {
        for end in 1..MEASURED.len() {
            assert!(matches!(decode(Bytes::from_static(&MEASURED[..end])), Err(Error::Cut { index: 0, .. })), "{end}");
        }
        let short = Bytes::from_static(b"\x00\x00\x00\x03");
        assert_eq!(decode(short), Err(Error::Cut { index: 0, field: "itself" }));
    }

    proptest! {
        #[test]
        fn messages_come_back(
            messages in prop::collection::vec((any::<i32>(), prop::collection::vec(any::<u8>(), 0..9), ".{0,9}"), 0..4),
        ) {
            let messages: Vec<_> = messages
                .into_iter()
                .map(|(flag, body, properties)| BatchMessage { flag, body: body.into(), properties })
                .collect();
            prop_assert_eq!(decode(encode(&messages).expect("short")), Ok(messages));
        }
    }
}
