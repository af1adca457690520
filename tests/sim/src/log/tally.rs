//! The machine of the log scenario: a hash over all records in order, so that two logs are equal when their tallies are.

use std::hash::{DefaultHasher, Hash, Hasher};

use record::Record;
use store::{Machine, RestoreError};

/// How many records there were, and a hash over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: u64,
    pub(super) chain: u64,
}

const NUMBER_BYTES: usize = 8;

impl Machine for Tally {
    fn apply(&mut self, record: &Record<'_>) {
        let mut hasher = DefaultHasher::new();
        let header = &record.header;
        (self.chain, header.queue.0, header.queue_offset.0, header.physical_offset.0).hash(&mut hasher);
        (record.topic, record.body, header.stored_at.0).hash(&mut hasher);
        self.count += 1;
        self.chain = hasher.finish();
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.chain.to_be_bytes());
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let broken = RestoreError::Malformed { part: "tally", problem: "length" };
        let (count, rest) = snapshot.split_first_chunk::<NUMBER_BYTES>().ok_or(broken.clone())?;
        let chain: &[u8; NUMBER_BYTES] = rest.try_into().map_err(|_| broken)?;
        *self = Self { count: u64::from_be_bytes(*count), chain: u64::from_be_bytes(*chain) };
        Ok(())
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
