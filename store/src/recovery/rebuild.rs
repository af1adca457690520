//! Makes a part of the queue index again from the log.
//!
//! A damaged body is no matter of the index: the one who reads it is told so. A damaged header hides which queue its record belongs to: it stops
//! the making, unless the loss is accepted. Then the offsets that queues lack get entries that point at the damaged place, so that
//! whoever reads one of them is told that it is damaged, and the others are there.

use std::collections::BTreeMap;
use std::ops::Range;

use record::{RECORD_BYTES_MIN, Record};
use types::{PhysicalOffset, Timestamp};

use super::{NOTHING, Stop, Visitor, scan, search};
use crate::commit_log::End;
use crate::queue_index::keys::YoungKeys;
use crate::queue_index::{Block, Entry, QueueIndex, QueueNumber, Stretch};
use crate::segments::Segments;

/// Why a part cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("record at {at}: {problem}")]
    Damaged { at: u64, problem: String },
    #[error("{0}")]
    Unreadable(String),
}

/// Makes the block for a stretch of the log, without what has expired. `accepts` says of each damaged place whether what was there may
/// be given up. What `index` has before and behind the stretch says which offsets belong in it; the parts that begin at one of `unmade`
/// say nothing.
pub(crate) fn rebuild(
    segments: &Segments,
    index: &QueueIndex,
    stretch: Range<u64>,
    unmade: &[u64],
    mut accepts: impl FnMut(u64) -> bool,
) -> Result<Block, Error> {
    let mut collect =
        Collect { index, unmade, stretch, found: BTreeMap::new(), keys: YoungKeys::default(), gaps: Vec::new() };
    let (mut from, to) = (collect.stretch.start.max(segments.first()), collect.stretch.end);
    while from < to {
        let start = End { at: PhysicalOffset(from), last: None, last_stored_at: Timestamp(i64::MIN) };
        let unreadable = |error: crate::files::Error| Error::Unreadable(error.to_string());
        let (at, problem) = match scan(segments, start, Some(to), &mut collect).map_err(unreadable)?.1 {
            Stop::Reached => break,
            Stop::Nothing { at } => (at, NOTHING.to_owned()),
            Stop::Invalid { at, problem } => (at, problem),
        };
        if !accepts(at) {
            return Err(Error::Damaged { at, problem });
        }
        let next = search::behind(segments, at + 1, to).map_err(unreadable)?.record_at;
        from = next.map_or(to, |next| next.0);
        tracing::error!(at, problem, next = from, "a loss is accepted: what the log has here cannot be read");
        collect.gaps.push(at);
    }
    Ok(collect.finish(segments.first()))
}

struct Collect<'a> {
    index: &'a QueueIndex,
    unmade: &'a [u64],
    stretch: Range<u64>,
    /// Offsets and entries, ascending; consecutive as long as there are no gaps.
    found: BTreeMap<QueueNumber, Vec<(u64, Entry)>>,
    keys: YoungKeys,
    /// Where damaged places begin, ascending.
    gaps: Vec<u64>,
}

impl Visitor for Collect<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        if !record.is_queued() {
            return Ok(());
        }
        let queue = self.index.find(record.topic, record.header.queue).ok_or("of an unknown queue")?;
        let offset = record.header.queue_offset.0;
        let found = self.found.entry(queue).or_default();
        let fits = match found.last() {
            Some((last, _)) if self.gaps.is_empty() => last + 1 == offset,
            Some((last, _)) => (last + 1..self.index.range(queue).next.0).contains(&offset),
            None => self.gaps.is_empty() || offset < self.index.range(queue).next.0,
        };
        if !fits {
            return Err("it does not continue its queue".to_owned());
        }
        let hashes = record.hashes();
        found.push((offset, Entry::of(record, &hashes)));
        self.keys.push(&hashes.keys, record.header.physical_offset.0);
        Ok(())
    }

    fn takes_damaged_bodies(&self) -> bool {
        true
    }
}

impl Collect<'_> {
    fn finish(mut self, first: u64) -> Block {
        if !self.gaps.is_empty() {
            self.fill(first);
        }
        let stretches = self.found.into_iter().filter(|(_, found)| !found.is_empty()).map(|(queue, found)| Stretch {
            queue,
            first: found[0].0,
            entries: found.into_iter().map(|(_, entry)| entry).collect(),
        });
        Block { from: self.stretch.start, to: self.stretch.end, stretches: stretches.collect(), keys: self.keys.seal() }
    }

    /// Gives each queue the offsets that it lacks.
    fn fill(&mut self, first: u64) {
        for queue in self.index.numbers() {
            let found = self.found.remove(&queue).unwrap_or_default();
            let (before, behind) = self.index.around(queue, &self.stretch, self.unmade);
            let first_found = found.first().map(|(offset, _)| *offset);
            let end_found = found.last().map(|(offset, _)| offset + 1);
            // What is behind belongs to a part that is not made either, which then has a damaged place of its own for it.
            let end = behind.or(end_found);
            // At the log's edge what is missing before has expired.
            let is_edge = first > 0 && self.stretch.start <= first;
            let start = if is_edge { first_found.or(end) } else { Some(before) };
            let (Some(start), Some(end)) = (start, end) else { continue };
            let mut found = found.into_iter().peekable();
            let mut filled = Vec::new();
            for offset in start..end {
                let entry = match found.next_if(|(at, _)| *at == offset) {
                    Some((_, entry)) => entry,
                    None => self.missing(found.peek().map(|(_, next)| next.physical_offset)),
                };
                filled.push((offset, entry));
            }
            self.found.insert(queue, filled);
        }
    }

    /// An entry for a record that cannot be read: of the last damaged place before the queue's next record.
    fn missing(&self, next: Option<u64>) -> Entry {
        let before = self.gaps.partition_point(|gap| next.is_none_or(|next| *gap < next));
        let physical_offset = self.gaps[before.saturating_sub(1)];
        Entry { physical_offset, record_bytes: RECORD_BYTES_MIN as u32, tag_hash: 0, group_hash: None }
    }
}
