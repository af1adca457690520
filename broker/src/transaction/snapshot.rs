//! The byte form of the transaction machine and its events.

use super::*;

impl Transactions {
    /// Writes the whole state; reserved messages count as undecided.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        put_u64(out, self.halves.len() as u64);
        for (offset, half) in &self.halves {
            put_u64(out, offset.0);
            put_u64(out, half.queue_offset.0);
            put_u64(out, half.place.physical_offset.0);
            put_u64(out, half.place.queue_offset.0);
            put_u64(out, half.record_bytes.into());
            put_text(out, half.topic.as_str());
            put_u64(out, half.times.into());
            put_time(out, half.check_at);
        }
        put_u64(out, self.order.len() as u64);
        for (offset, ended) in self.order.iter().filter_map(|offset| self.ended.get_key_value(offset)) {
            put_u64(out, offset.0);
            put_u64(out, ended.queue_offset.0);
            put_bool(out, ended.outcome == Outcome::Committed);
            put_bool(out, ended.outcome == Outcome::Parked);
        }
        put_u64(out, self.ops_owed.len() as u64);
        for offset in &self.ops_owed {
            put_u64(out, offset.0);
        }
    }

    /// Reads what [`Transactions::snapshot`] wrote.
    pub(crate) fn restore(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut transactions = Self::default();
        for _ in 0..input.count()? {
            let physical_offset = input.physical_offset()?;
            let position = TransactionPosition { physical_offset, queue_offset: input.queue_offset()? };
            let (physical, queue) = (input.physical_offset()?, input.queue_offset()?);
            let place = TransactionPosition { physical_offset: physical, queue_offset: queue };
            let (record_bytes, topic, times) = (input.u32()?, input.topic()?, input.u32()?);
            let check_at = input.time()?;
            transactions.undecided(&Undecided { position, record_bytes, topic, times, check_at });
            transactions.set_place(physical_offset, place, record_bytes);
        }
        for _ in 0..input.count()? {
            let (offset, queue_offset) = (input.physical_offset()?, input.queue_offset()?);
            let outcome = match (input.bool()?, input.bool()?) {
                (true, _) => Outcome::Committed,
                (false, true) => Outcome::Parked,
                (false, false) => Outcome::RolledBack,
            };
            transactions.remember(offset, Ended { queue_offset, outcome });
        }
        for _ in 0..input.count()? {
            transactions.ops_owed.insert(input.queue_offset()?);
        }
        Ok(transactions)
    }
}

impl PartialEq for Transactions {
    /// Equal in what survives: reservations do not, and when a check is due is told by the clock where no event says it.
    fn eq(&self, other: &Self) -> bool {
        let durable = |half: &Half| (half.queue_offset, half.place, half.record_bytes, half.topic.clone(), half.times);
        self.halves.len() == other.halves.len()
            && self.halves.iter().zip(&other.halves).all(|(a, b)| a.0 == b.0 && durable(a.1) == durable(b.1))
            && self.ended == other.ended
            && self.order == other.order
            && self.ops_owed == other.ops_owed
    }
}

impl Checked {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.offset.0);
        put_time(out, self.next_at);
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(Self { offset: input.physical_offset()?, next_at: input.time()? })
    }
}
