//! The newest records, in memory, shared with whoever reads them.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::RwLock;
use types::PhysicalOffset;

/// Records in the log's order, the oldest of which make room for new ones.
pub(crate) struct HotTail {
    bytes_max: usize,
    /// Held for a look-up or to add one batch.
    records: RwLock<Records>,
}

#[derive(Default)]
struct Records {
    queue: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl HotTail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, records: RwLock::default() }
    }

    /// Adds records that follow those before; the oldest leave when the bound is passed.
    pub(crate) fn extend(&self, batch: impl Iterator<Item = (PhysicalOffset, Bytes)>) {
        let mut leaving = Vec::new();
        let mut records = self.records.write();
        for (offset, bytes) in batch {
            records.bytes += bytes.len();
            records.queue.push_back((offset.0, bytes));
        }
        while records.bytes > self.bytes_max {
            let Some((_, bytes)) = records.queue.pop_front() else { break };
            records.bytes -= bytes.len();
            leaving.push(bytes);
        }
        // Their memory is freed after the lock: readers do not wait for the allocator.
        drop(records);
        drop(leaving);
    }

    /// The record at exactly this position, if it is still here.
    pub(crate) fn get(&self, offset: PhysicalOffset) -> Option<Bytes> {
        let records = self.records.read();
        // Who is far behind does not search.
        records.queue.front().filter(|(first, _)| *first <= offset.0)?;
        let index = records.queue.binary_search_by_key(&offset.0, |(at, _)| *at).ok()?;
        records.queue.get(index).map(|(_, bytes)| bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_at_the_bound() {
        let tail = HotTail::new(10);
        let record = |at: u64| (PhysicalOffset(at), Bytes::from(vec![at as u8; 4]));
        tail.extend([record(0), record(4), record(12)].into_iter());
        assert_eq!(tail.get(PhysicalOffset(0)), None);
        assert_eq!(tail.get(PhysicalOffset(4)).as_deref(), Some(&[4; 4][..]));
        assert_eq!(tail.get(PhysicalOffset(12)).as_deref(), Some(&[12; 4][..]));
        assert_eq!(tail.get(PhysicalOffset(8)), None);
    }
}
