//! The numbers and texts that events and snapshots are made of: LEB128 variable-length integers (signed ones
//! zigzag-coded) and texts with their length before them.

use std::sync::Arc;

use types::topic::NameError;
use types::{QueueOffset, Timestamp};

/// What [`DecodeError::Kind`] says of the kind of an event.
pub(super) const EVENT_KIND: &str = "event kind";

/// Why bytes are not a pop event or snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("input ends inside a value")]
    Truncated,
    /// A number that its field cannot hold.
    #[error("{what} is out of range")]
    Range {
        /// The field.
        what: &'static str,
    },
    /// A format that this version does not know.
    #[error("format version is {found}, expected {expected}")]
    Version {
        /// The version found.
        found: u8,
        /// The version known.
        expected: u8,
    },
    /// A kind that this version does not know.
    #[error("{what} {found} is unknown")]
    Kind {
        /// What kind of kind.
        what: &'static str,
        /// Its number.
        found: u8,
    },
    /// A text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A topic or group name that breaks the rules for names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Values that contradict each other.
    #[error("{what} contradicts what came before")]
    Inconsistent {
        /// The field.
        what: &'static str,
    },
}

impl DecodeError {
    /// Whether a newer version wrote it, as its form or its kind of event tells: what is damaged fails its checksum before.
    pub(crate) fn is_newer(&self) -> bool {
        matches!(self, Self::Version { found, expected } if found > expected)
            || matches!(self, Self::Kind { what: EVENT_KIND, .. })
    }
}

pub(super) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

pub(super) fn put_usize(out: &mut Vec<u8>, value: usize) {
    put_u64(out, value as u64);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_usize(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Offsets as their number and the distances between them: one byte each when they are neighbours.
pub(super) fn put_offsets(out: &mut Vec<u8>, offsets: &[QueueOffset]) {
    put_usize(out, offsets.len());
    let mut last = 0u64;
    for offset in offsets {
        put_i64(out, offset.0.wrapping_sub(last).cast_signed());
        last = offset.0;
    }
}

/// Takes values from the front of a slice.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl Reader<'_> {
    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Range { what })
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let coded = self.u64(what)?;
        Ok((coded >> 1).cast_signed() ^ -(coded & 1).cast_signed())
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.u64(what)?.try_into().map_err(|_| DecodeError::Range { what })
    }

    /// A number of things of at least one byte each that follow; so it is bounded by the input.
    pub(super) fn count(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u64(what)?).map_err(|_| DecodeError::Range { what })?;
        if count > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    pub(super) fn text(&mut self) -> Result<&str, DecodeError> {
        let length = self.count("text length")?;
        let (text, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        std::str::from_utf8(text).map_err(|_| DecodeError::NotUtf8)
    }

    pub(super) fn shared_text(&mut self) -> Result<Arc<str>, DecodeError> {
        Ok(self.text()?.into())
    }

    pub(super) fn offset(&mut self, what: &'static str) -> Result<QueueOffset, DecodeError> {
        Ok(QueueOffset(self.u64(what)?))
    }

    pub(super) fn timestamp(&mut self, what: &'static str) -> Result<Timestamp, DecodeError> {
        Ok(Timestamp(self.i64(what)?))
    }

    pub(super) fn offsets<C: Extend<QueueOffset> + Default>(&mut self) -> Result<C, DecodeError> {
        let mut offsets = C::default();
        let mut last = 0u64;
        for _ in 0..self.count("offset count")? {
            last = last.wrapping_add(self.i64("offset")?.cast_unsigned());
            offsets.extend([QueueOffset(last)]);
        }
        Ok(offsets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64) {
            let mut bytes = Vec::new();
            put_u64(&mut bytes, unsigned);
            put_i64(&mut bytes, signed);
            let mut reader = Reader { rest: &bytes };
            prop_assert_eq!(reader.u64("a"), Ok(unsigned));
            prop_assert_eq!(reader.i64("b"), Ok(signed));
            prop_assert!(reader.rest.is_empty());
        }

        #[test]
        fn offsets_come_back(offsets: Vec<u64>) {
            let offsets: Vec<QueueOffset> = offsets.into_iter().map(QueueOffset).collect();
            let mut bytes = Vec::new();
            put_offsets(&mut bytes, &offsets);
            prop_assert_eq!(Reader { rest: &bytes }.offsets::<Vec<QueueOffset>>(), Ok(offsets));
        }
    }

    #[test]
    fn too_long_numbers_are_refused() {
        let mut reader = Reader { rest: &[0xff; 11] };
        assert_eq!(reader.u64("x"), Err(DecodeError::Range { what: "x" }));
    }
}
