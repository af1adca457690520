//! The byte form of the idempotency machine: a count, then the entries in the order of the log. All numbers as in `codec`.
//!
//! | part of an entry | bytes | notes                                                   |
//! |------------------|-------|---------------------------------------------------------|
//! | physical offset  | 1–10  | larger than that of the entry before                    |
//! | topic, key       | 8, 16 | hashes, see [`Key`]; little-endian                      |
//! | content          | 8     | the same                                                |
//! | queue, offset    | …     | two numbers                                             |
//! | form             | 1 …   | 0 message, 1 delayed, then when it is due, 2 half       |
//! | message id       | …     | a text                                                  |

use super::*;
use crate::codec::{Input, Malformed, put_text, put_time, put_u64};

const MESSAGE: u8 = 0;
const DELAYED: u8 = 1;
const HALF: u8 = 2;

impl Keys {
    /// Writes the whole state.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        put_u64(out, self.len() as u64);
        self.live().for_each(|entry| entry.encode(out));
    }

    /// Reads what [`Keys::snapshot`] wrote.
    pub(crate) fn restore(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut keys = Self::default();
        for _ in 0..input.count()? {
            let entry = Entry::decode(input)?;
            let offset = entry.first.physical_offset;
            if keys.entries.back().is_some_and(|before| before.first.physical_offset >= offset) {
                return Err(Malformed { what: "order of keys" });
            }
            keys.push(entry);
        }
        Ok(keys)
    }

    /// The entries that keys name.
    fn live(&self) -> impl Iterator<Item = &Entry> {
        let is_live = |entry: &&Entry| self.places.get(&entry.key) == Some(&entry.first.physical_offset);
        self.entries.iter().filter(is_live)
    }
}

impl PartialEq for Keys {
    /// Equal in what survives.
    fn eq(&self, other: &Self) -> bool {
        self.live().eq(other.live())
    }
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        let First { queue, queue_offset, physical_offset, form, message_id } = &self.first;
        put_u64(out, physical_offset.0);
        out.extend_from_slice(&self.key.topic.to_le_bytes());
        out.extend_from_slice(&self.key.key);
        out.extend_from_slice(&self.content.to_le_bytes());
        put_u64(out, queue.0.into());
        put_u64(out, queue_offset.0);
        match form {
            Form::Message => out.push(MESSAGE),
            Form::Delayed { due } => {
                out.push(DELAYED);
                put_time(out, *due);
            }
            Form::Half => out.push(HALF),
        }
        put_text(out, message_id);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let physical_offset = input.physical_offset()?;
        let key = Key { topic: u64::from_le_bytes(input.array()?), key: input.array()? };
        let content = u64::from_le_bytes(input.array()?);
        let (queue, queue_offset) = (input.queue()?, input.queue_offset()?);
        let form = match input.u8()? {
            MESSAGE => Form::Message,
            DELAYED => Form::Delayed { due: input.time()? },
            HALF => Form::Half,
            _ => return Err(Malformed { what: "form of a message" }),
        };
        let message_id = input.text()?.into();
        Ok(Self { key, content, first: First { queue, queue_offset, physical_offset, form, message_id } })
    }
}
