//! Which records have which keys: 16 bytes a key, derived from the log, kept beside the queues' entries of the same
//! stretch of the log.
//!
//! Keys are known by their hash (`record::key_hash`), so what is found may be of another key: who looks one up reads
//! the record and compares. In memory they are sorted in small batches, so that neither adding nor sealing ever
//! costs more than one batch; the thread that writes a run merges them.

use std::sync::Arc;

use types::PhysicalOffset;

use super::Part;
use super::run::Run;
use crate::recovery;
use crate::segments::Segments;

/// Keys that are sorted together in memory.
const BATCH_KEYS: usize = 4096;

/// One key of one record. Ordered by hash, then by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) hash: u64,
    /// The record's position.
    pub(crate) at: u64,
}

/// Keys of a stretch of the log, in sorted batches.
pub(crate) type Batches = Vec<Arc<[Key]>>;

/// The keys of the youngest block.
#[derive(Debug, Default)]
pub(crate) struct YoungKeys {
    sorted: Batches,
    /// Fewer than [`BATCH_KEYS`], in the order in which they came.
    rest: Vec<Key>,
}

impl YoungKeys {
    pub(crate) fn push(&mut self, hashes: &[u64], at: u64) {
        for &hash in hashes {
            self.rest.push(Key { hash, at });
            if self.rest.len() == BATCH_KEYS {
                self.sort_rest();
            }
        }
    }

    fn sort_rest(&mut self) {
        self.rest.sort_unstable();
        self.sorted.push(self.rest.as_slice().into());
        self.rest.clear();
    }

    /// All of them; the next block's begin.
    pub(crate) fn seal(&mut self) -> Batches {
        if !self.rest.is_empty() {
            self.sort_rest();
        }
        std::mem::take(&mut self.sorted)
    }

    /// What a search needs of them.
    fn found(&self, hash: u64) -> Vec<u64> {
        let mut found = in_batches(&self.sorted, hash);
        found.extend(self.rest.iter().filter(|key| key.hash == hash).map(|key| key.at));
        found
    }
}

/// Positions of the records in these batches that have a key of this hash; rising, because the batches do.
fn in_batches(batches: &[Arc<[Key]>], hash: u64) -> Vec<u64> {
    let of_hash = |batch: &Arc<[Key]>| {
        let from = batch.partition_point(|key| key.hash < hash);
        let found: Vec<u64> = batch[from..].iter().take_while(|key| key.hash == hash).map(|key| key.at).collect();
        found
    };
    batches.iter().flat_map(of_hash).collect()
}

/// A search for the records that have a key of one hash: the index as it was when the search began. It holds no lock
/// and does not hinder the index from going on; where it reads the disk it is for a reader thread
/// ([`crate::Reader::find_keys`]).
#[derive(Clone)]
pub struct KeySearch {
    hash: u64,
    /// Found in the youngest block, rising.
    young: Vec<u64>,
    /// Where the youngest block begins.
    young_from: u64,
    parts: Vec<Part>,
}

impl std::fmt::Debug for KeySearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySearch").field("hash", &self.hash).field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl KeySearch {
    pub(crate) fn new(hash: u64, young: &YoungKeys, young_from: u64, parts: &[Part]) -> Self {
        Self { hash, young: young.found(hash), young_from, parts: parts.to_vec() }
    }

    /// The newest positions before `before`, falling, at most `max`.
    pub(crate) fn newest(&self, segments: &Segments, before: u64, max: usize) -> Result<Vec<PhysicalOffset>, String> {
        let mut found = Vec::new();
        if before > self.young_from {
            take_newest(&self.young, before, max, &mut found);
        }
        let first = segments.first();
        for part in self.parts.iter().rev().filter(|part| part.from() < before && part.to() > first) {
            if found.len() >= max {
                break;
            }
            match part {
                Part::Block(block) => take_newest(&in_batches(&block.keys, self.hash), before, max, &mut found),
                Part::Run(run) => self.in_run(segments, run, before, max, &mut found)?,
            }
        }
        // Its records may have expired since the search began.
        found.retain(|at| at.0 >= segments.first());
        Ok(found)
    }

    /// What a damaged run should say is read from the log instead.
    fn in_run(
        &self,
        segments: &Segments,
        run: &Run,
        before: u64,
        max: usize,
        found: &mut Vec<PhysicalOffset>,
    ) -> Result<(), String> {
        let wanted = max - found.len();
        match run.newest_keys(self.hash, before, wanted) {
            Ok(keys) => found.extend(keys.into_iter().map(PhysicalOffset)),
            // It was removed with its stretch of the log.
            Err(_) if run.to <= segments.first() => {}
            Err(problem) => {
                tracing::warn!(
                    from = run.from,
                    to = run.to,
                    problem,
                    "keys of a damaged index run are read from the log"
                );
                let all = recovery::positions_of_key(segments, run.from, run.to, self.hash)?;
                take_newest(&all, before, max, found);
            }
        }
        Ok(())
    }
}

/// Adds the newest of `rising` before `before` to `found`, up to `max` in all.
fn take_newest(rising: &[u64], before: u64, max: usize, found: &mut Vec<PhysicalOffset>) {
    let wanted = max - found.len();
    found.extend(rising.iter().rev().filter(|at| **at < before).take(wanted).map(|at| PhysicalOffset(*at)));
}
