//! The receipt handle: what a consumer presents to ack, prolong or refuse a delivery.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

/// Apache's nine fields, separated by one blank (`ReceiptHandle`, `ExtraInfoUtil`); so handles of ours and of
/// Apache's proxy can be presented to either. Its text holds no secret: it only names a lease.
///
/// `100 1767323045000 60000 3 0 broker-a 2 105 8589934592`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptHandle {
    /// First queue offset of the pop that made it.
    pub start_offset: QueueOffset,
    /// When it was popped; rises with each delivery of an entry, whatever the clock does.
    pub popped_at: Timestamp,
    /// How long it was to be invisible from then.
    pub invisible: Duration,
    /// Apache's revive queue; [`ReceiptHandle::REVIVE_QUEUE_FIFO`] for ordered deliveries.
    pub revive_queue: u32,
    /// Which topic the offset belongs to.
    pub source: HandleSource,
    /// The broker that holds the lease.
    pub broker: Arc<str>,
    /// The queue.
    pub queue: QueueId,
    /// The message's offset in the queue.
    pub offset: QueueOffset,
    /// The message's record; `None` in handles of eight fields.
    pub physical_offset: Option<PhysicalOffset>,
}

/// Which topic a handle's queue belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandleSource {
    /// The topic itself.
    Topic = 0,
    /// `%RETRY%group_topic`.
    RetryV1 = 1,
    /// `%RETRY%group+topic`.
    RetryV2 = 2,
}

/// Why a text is not a receipt handle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Apache's handles have eight or nine.
    #[error("receipt handle has {fields} fields, expected 8 or 9")]
    FieldCount {
        /// How many there were.
        fields: usize,
    },
    /// A field that does not hold what it should.
    #[error("receipt handle field {field} is {value:?}, not a valid number")]
    Field {
        /// Its index, from 0.
        field: usize,
        /// Its text.
        value: String,
    },
}

impl ReceiptHandle {
    /// Marks ordered deliveries. Source: Apache `KeyBuilder.POP_ORDER_REVIVE_QUEUE`.
    pub const REVIVE_QUEUE_FIFO: u32 = 999;
}

/// Room for the numbers of a handle and the blanks between them.
const NUMBERS_BYTES: usize = 96;

/// As `to_string` does, without growing on the way: one is made for every message that is delivered.
impl From<&ReceiptHandle> for String {
    fn from(handle: &ReceiptHandle) -> Self {
        let mut text = Self::with_capacity(NUMBERS_BYTES + handle.broker.len());
        write!(text, "{handle}").expect("a string takes all");
        text
    }
}

impl fmt::Display for ReceiptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {} {} {}",
            self.start_offset,
            self.popped_at,
            self.invisible.as_millis(),
            self.revive_queue,
            self.source as u8,
            self.broker,
            self.queue,
            self.offset,
        )?;
        match self.physical_offset {
            Some(offset) => write!(f, " {offset}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ReceiptHandle {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fields: SmallVec<[&str; 9]> = text.split(' ').collect();
        let (&[start, popped, invisible, revive, source, broker, queue, offset], rest) =
            fields.split_first_chunk::<8>().ok_or(Error::FieldCount { fields: fields.len() })?;
        let physical_offset = match rest {
            [] => None,
            [physical] => number::<i64>(8, physical)?.try_into().ok().map(PhysicalOffset),
            _ => return Err(Error::FieldCount { fields: fields.len() }),
        };
        Ok(Self {
            start_offset: QueueOffset(number(0, start)?),
            popped_at: Timestamp(number(1, popped)?),
            invisible: Duration::from_millis(number(2, invisible)?),
            revive_queue: number(3, revive)?,
            source: match number::<u8>(4, source)? {
                0 => HandleSource::Topic,
                1 => HandleSource::RetryV1,
                2 => HandleSource::RetryV2,
                _ => return Err(Error::Field { field: 4, value: source.to_owned() }),
            },
            broker: broker.into(),
            queue: QueueId(number(6, queue)?),
            offset: QueueOffset(number(7, offset)?),
            physical_offset,
        })
    }
}

fn number<T: FromStr>(field: usize, text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Field { field, value: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "100 1767323045000 60000 3 0 broker-a 2 105 8589934592";

    #[test]
    fn text_and_fields_are_the_same_thing() {
        let handle: ReceiptHandle = EXAMPLE.parse().expect("valid");
        assert_eq!(handle.offset, QueueOffset(105));
        assert_eq!(handle.physical_offset, Some(PhysicalOffset(8_589_934_592)));
        assert_eq!(handle.to_string(), EXAMPLE);
        assert_eq!(String::from(&handle), EXAMPLE);
    }

    #[test]
    fn broken_handles_name_the_field() {
        assert_eq!("1 2 3".parse::<ReceiptHandle>(), Err(Error::FieldCount { fields: 3 }));
        let broken = EXAMPLE.replace("60000", "x");
        assert_eq!(broken.parse::<ReceiptHandle>(), Err(Error::Field { field: 2, value: "x".to_owned() }));
        let no_position = EXAMPLE.replace("8589934592", "-1");
        assert_eq!(no_position.parse::<ReceiptHandle>().expect("valid").physical_offset, None);
    }
}
