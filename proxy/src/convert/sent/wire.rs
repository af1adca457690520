//! The fields of an encoded protobuf message, one after the other. Source: protobuf.dev/programming-guides/encoding.

use thiserror::Error;

/// Bytes that are no message of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("failed to decode Protobuf message: {what}")]
pub(crate) struct Malformed {
    /// What is wrong with them.
    pub(crate) what: &'static str,
}

impl Malformed {
    fn because<T>(what: &'static str) -> Result<T, Self> {
        Err(Self { what })
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// Of the integer types and enumerations.
    Number(u64),
    /// Of texts, bytes, messages and maps' entries.
    Bytes(&'a [u8]),
    /// Of types that no message read here has.
    Fixed,
}

impl<'a> Value<'a> {
    pub(crate) fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Malformed::because("a number's field holds another type"),
        }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Malformed::because("a text's or message's field holds another type"),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).or_else(|_| Malformed::because("a text is not UTF-8"))
    }

    /// The fields of a message in this one.
    pub(crate) fn fields(self) -> Result<Fields<'a>, Malformed> {
        self.bytes().map(Fields::of)
    }
}

/// A message's fields with their numbers, in the order of the bytes; nothing comes after an error. Groups, which only messages
/// of the protocol's second version have, are one.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let Ok(key) = u32::try_from(self.varint()?) else { return Malformed::because("a key is too large") };
        let value = match key & 0b111 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Malformed::because("a field is of no known type"),
        };
        match key >> 3 {
            0 => Malformed::because("a field has the number 0"),
            number => Ok((number, value)),
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (shift, byte) in (0..u64::BITS).step_by(7).zip(self.rest) {
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                // Of the tenth byte one bit has room.
                if shift == 63 && *byte > 1 {
                    break;
                }
                self.rest = &self.rest[shift as usize / 7 + 1..];
                return Ok(number);
            }
        }
        Malformed::because("a number has no end")
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let Some((taken, rest)) = split else { return Malformed::because("a field has no end") };
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}
