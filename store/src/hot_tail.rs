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
    /// Records that lie together in memory, each piece with its position.
    pieces: VecDeque<(u64, Bytes)>,
    /// Where the records of all pieces begin.
    starts: VecDeque<u64>,
    bytes: usize,
}

impl HotTail {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, records: RwLock::default() }
    }

    /// Adds pieces of records that begin at `starts` and follow those before; the oldest pieces leave when the bound is
    /// passed.
    pub(crate) fn extend(&self, pieces: impl Iterator<Item = (PhysicalOffset, Bytes)>, starts: &[u64]) {
        let mut leaving = Vec::new();
        let mut records = self.records.write();
        for (offset, bytes) in pieces {
            records.bytes += bytes.len();
            records.pieces.push_back((offset.0, bytes));
        }
        records.starts.extend(starts);
        while records.bytes > self.bytes_max {
            let Some((_, bytes)) = records.pieces.pop_front() else { break };
            records.bytes -= bytes.len();
            leaving.push(bytes);
        }
        let first = records.pieces.front().map_or(u64::MAX, |(at, _)| *at);
        while records.starts.front().is_some_and(|start| *start < first) {
            records.starts.pop_front();
        }
        // Their memory is freed after the lock: readers do not wait for the allocator.
        drop(records);
        drop(leaving);
    }

    /// The record at exactly this position, if it is still here.
    pub(crate) fn get(&self, offset: PhysicalOffset) -> Option<Bytes> {
        let records = self.records.read();
        // Who is far behind does not search.
        records.starts.front().filter(|first| **first <= offset.0)?;
        let index = records.starts.binary_search(&offset.0).ok()?;
        let piece = records.pieces.partition_point(|(at, _)| *at <= offset.0).checked_sub(1)?;
        let (at, bytes) = records.pieces.get(piece)?;
        let start = (offset.0 - at) as usize;
        let end = records.starts.get(index + 1).map_or(bytes.len(), |next| bytes.len().min((next - at) as usize));
        Some(bytes.slice(start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_at_the_bound() {
        let tail = HotTail::new(10);
        let record = |at: u64| (PhysicalOffset(at), Bytes::from(vec![at as u8; 4]));
        tail.extend([record(0), record(4), record(12)].into_iter(), &[0, 4, 12]);
        assert_eq!(tail.get(PhysicalOffset(0)), None);
        assert_eq!(tail.get(PhysicalOffset(4)).as_deref(), Some(&[4; 4][..]));
        assert_eq!(tail.get(PhysicalOffset(12)).as_deref(), Some(&[12; 4][..]));
        assert_eq!(tail.get(PhysicalOffset(8)), None);
    }

    #[test]
    fn records_of_a_piece_are_found_one_by_one_and_leave_together() {
        let tail = HotTail::new(12);
        tail.extend([(PhysicalOffset(0), Bytes::from_static(b"aabbbc"))].into_iter(), &[0, 2, 5]);
        // Between them lies the end of a segment.
        tail.extend([(PhysicalOffset(10), Bytes::from_static(b"dde"))].into_iter(), &[10, 12]);
        let get = |at| tail.get(PhysicalOffset(at));
        let found = [0, 2, 5, 10, 12].map(|at| get(at).expect("here"));
        assert_eq!(found, ["aa", "bbb", "c", "dd", "e"]);
        assert_eq!([1, 3, 6, 9, 11, 13].map(get), [const { None }; 6]);
        tail.extend([(PhysicalOffset(13), Bytes::from_static(b"ffff"))].into_iter(), &[13]);
        assert_eq!([0, 2, 5].map(get), [const { None }; 3]);
        assert_eq!([10, 12, 13].map(|at| get(at).expect("here")), ["dd", "e", "ffff"]);
    }
}
