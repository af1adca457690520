//! Half messages as a takeover hands them over: those that Apache stored, and what Apache must know of ours.

use types::broker::TransactionPosition;
use types::{QueueOffset, Timestamp, TopicName};

use super::Transactions;
use crate::codec::{Input, Malformed, put_text, put_time, put_u64};

/// A half message that Apache stored and nobody decided, as it is journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    /// Where it is.
    pub position: TransactionPosition,
    /// Its record's size.
    pub record_bytes: u32,
    /// The topic that it is for.
    pub topic: TopicName,
    /// How often its producer was asked.
    pub times: u32,
    /// When its producer is asked next.
    pub check_at: Timestamp,
}

impl Transactions {
    /// A half message of Apache's waits.
    pub fn undecided(&mut self, half: &Undecided) {
        let Undecided { position, record_bytes, topic, times, check_at } = half;
        self.stored(*position, *record_bytes, topic.clone(), *check_at);
        if let Some(half) = self.halves.get_mut(&position.physical_offset) {
            half.times = *times;
        }
    }

    /// Queue offsets of the half messages that wait, ascending.
    pub fn waiting(&self) -> impl Iterator<Item = QueueOffset> {
        self.by_queue_offset.keys().copied()
    }
}

impl Undecided {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.position.physical_offset.0);
        put_u64(out, self.position.queue_offset.0);
        put_u64(out, self.record_bytes.into());
        put_text(out, self.topic.as_str());
        put_u64(out, self.times.into());
        put_time(out, self.check_at);
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let physical_offset = input.physical_offset()?;
        let position = TransactionPosition { physical_offset, queue_offset: input.queue_offset()? };
        let (record_bytes, topic, times) = (input.u32()?, input.topic()?, input.u32()?);
        Ok(Self { position, record_bytes, topic, times, check_at: input.time()? })
    }
}
