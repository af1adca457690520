//! Numbers and texts of journal events and machine snapshots: LEB128 varints, length-prefixed UTF-8.
//!
//! Reading never panics and allocates nothing that the input does not hold.

use types::{GroupName, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

/// Input that ends early or holds what its writer never writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}")]
pub(crate) struct Malformed {
    /// What was being read.
    pub what: &'static str,
}

/// Bits of one varint byte that carry the number.
const VARINT_BITS: u32 = 7;
/// Bytes of the longest 64-bit varint.
const VARINT_BYTES_MAX: usize = 10;

/// Appends a number, small ones in one byte.
pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 1 << VARINT_BITS {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= VARINT_BITS;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a time; those before 1970 take ten bytes.
pub(crate) fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    put_u64(out, time.0.cast_unsigned());
}

/// Appends a yes or no.
pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends bytes with their length before them.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a text.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed { what: "byte" })?;
        self.0 = rest;
        Ok(first)
    }

    /// So many bytes as they are.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed { what: "bytes" })?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed { what: "truth value" }),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        const ERROR: Malformed = Malformed { what: "number" };
        let mut value = 0u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.u8().map_err(|_| ERROR)?;
            let bits = u64::from(byte & 0x7f);
            let shift = VARINT_BITS * u32::try_from(index).map_err(|_| ERROR)?;
            if bits.leading_zeros() < shift {
                return Err(ERROR);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ERROR)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.u64()?).map_err(|_| Malformed { what: "32-bit number" })
    }

    /// A count of things of which each takes at least one byte, so that it can be trusted for an allocation.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let count = usize::try_from(self.u64()?).map_err(|_| Malformed { what: "count" })?;
        if count > self.0.len() {
            return Err(Malformed { what: "count" });
        }
        Ok(count)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, Malformed> {
        Ok(Timestamp(self.u64()?.cast_signed()))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed { what: "text" })
    }

    pub(crate) fn topic(&mut self) -> Result<TopicName, Malformed> {
        TopicName::new(self.text()?).map_err(|_| Malformed { what: "topic" })
    }

    pub(crate) fn group(&mut self) -> Result<GroupName, Malformed> {
        GroupName::new(self.text()?).map_err(|_| Malformed { what: "group" })
    }

    pub(crate) fn queue(&mut self) -> Result<QueueId, Malformed> {
        Ok(QueueId(self.u32()?))
    }

    pub(crate) fn queue_offset(&mut self) -> Result<QueueOffset, Malformed> {
        Ok(QueueOffset(self.u64()?))
    }

    pub(crate) fn physical_offset(&mut self) -> Result<PhysicalOffset, Malformed> {
        Ok(PhysicalOffset(self.u64()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(number: u64, time: i64, text in ".{0,40}", truth: bool) {
            let mut out = Vec::new();
            put_u64(&mut out, number);
            put_time(&mut out, Timestamp(time));
            put_text(&mut out, &text);
            put_bool(&mut out, truth);
            let mut input = Input(&out);
            prop_assert_eq!(input.u64(), Ok(number));
            prop_assert_eq!(input.time(), Ok(Timestamp(time)));
            prop_assert_eq!(input.text(), Ok(text.as_str()));
            prop_assert_eq!(input.bool(), Ok(truth));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_input_is_read_or_refused(bytes: Vec<u8>) {
            let mut input = Input(&bytes);
            while input.u64().is_ok() && input.text().is_ok() {}
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        let mut bytes = [0xff; 10];
        bytes[9] = 0x02;
        assert_eq!(Input(&bytes).u64(), Err(Malformed { what: "number" }));
        bytes[9] = 0x01;
        assert_eq!(Input(&bytes).u64(), Ok(u64::MAX));
    }
}
