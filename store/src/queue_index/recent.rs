//! What look-ups in index runs leave behind: the chunks and files that they ended with, so that who reads a queue on,
//! a few entries at a time, does not open a file and check a chunk for every few entries.
//!
//! A chunk was checked when it was read. What replaces or removes a run must say so ([`Recent::forget`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use env::File;

use super::names::QueueNumber;
use super::run::{CHUNK_ENTRIES, Run};
use super::{Entry, QueueEntry};

/// Most chunks that are kept, 3 KiB each: queues that are read side by side.
const CHUNKS_MAX: usize = 64;
/// Most files of runs that are kept open: stretches of the log that are read side by side.
const FILES_MAX: usize = 16;

#[derive(Default)]
pub(super) struct Recent {
    /// The one that was used last is the last.
    chunks: VecDeque<Chunk>,
    /// By where the run begins; the one that was opened last is the last.
    files: VecDeque<(u64, Arc<dyn File>)>,
}

/// Consecutive entries of one queue.
struct Chunk {
    /// Where the run begins.
    run: u64,
    queue: QueueNumber,
    /// Offset of the first entry.
    first: u64,
    entries: Vec<Entry>,
}

impl Chunk {
    fn offsets(&self) -> Range<u64> {
        self.first..self.first + self.entries.len() as u64
    }

    /// Gives `take` its entries at these offsets; whether that wanted all of them.
    fn give(&self, offsets: Range<u64>, take: &mut impl FnMut(QueueEntry) -> bool) -> bool {
        let (start, end) = ((offsets.start - self.first) as usize, (offsets.end - self.first) as usize);
        self.entries[start..end].iter().zip(offsets).all(|(entry, offset)| take(entry.at(offset)))
    }
}

impl Recent {
    /// Gives `take` the queue's entries at offsets that are known to be in the run, until it says `false`; whether it did
    /// not. Before an error it may have been given some.
    pub(super) fn read(
        &mut self,
        run: &Run,
        queue: QueueNumber,
        mut offsets: Range<u64>,
        take: &mut impl FnMut(QueueEntry) -> bool,
    ) -> Result<bool, String> {
        while !offsets.is_empty() {
            let chunk = match self.take(run.from, queue, offsets.start) {
                Some(chunk) => chunk,
                None => self.load(run, queue, offsets.clone())?,
            };
            let end = chunk.offsets().end;
            let wants_more = chunk.give(offsets.start..offsets.end.min(end), take);
            offsets.start = end;
            self.keep(chunk);
            if !wants_more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets the run that begins at `run`.
    pub(super) fn forget(&mut self, run: u64) {
        self.chunks.retain(|chunk| chunk.run != run);
        self.files.retain(|(of, _)| *of != run);
    }

    fn take(&mut self, run: u64, queue: QueueNumber, offset: u64) -> Option<Chunk> {
        let has = |chunk: &Chunk| chunk.run == run && chunk.queue == queue && chunk.offsets().contains(&offset);
        self.chunks.iter().rposition(has).and_then(|index| self.chunks.remove(index))
    }

    /// All chunks that have these offsets, as one.
    fn load(&mut self, run: &Run, queue: QueueNumber, offsets: Range<u64>) -> Result<Chunk, String> {
        let file = match self.files.iter().find(|(of, _)| *of == run.from) {
            Some((_, file)) => Arc::clone(file),
            None => self.open(run)?,
        };
        let (first, entries) = run.read_chunks(&*file, queue, offsets)?;
        Ok(Chunk { run: run.from, queue, first, entries })
    }

    fn open(&mut self, run: &Run) -> Result<Arc<dyn File>, String> {
        let file = run.open()?;
        if self.files.len() == FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back((run.from, Arc::clone(&file)));
        Ok(file)
    }

    /// Keeps the last chunk of those that were read together.
    fn keep(&mut self, mut chunk: Chunk) {
        let before = chunk.entries.len().saturating_sub(1) / CHUNK_ENTRIES * CHUNK_ENTRIES;
        if before > 0 {
            chunk.entries = chunk.entries.split_off(before);
            chunk.first += before as u64;
        }
        if self.chunks.len() == CHUNKS_MAX {
            self.chunks.pop_front();
        }
        self.chunks.push_back(chunk);
    }
}
