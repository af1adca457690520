//! Index runs against the records of their stretch of the log.

use std::collections::VecDeque;
use std::io::ErrorKind;

use env::disk::OpenMode;

use super::log::LogState;
use crate::files;
use crate::inspect::checkpoints::{Found, Saved, of_next_start};
use crate::inspect::directory::Directory;
use crate::inspect::finding::{Finding, Meaning, Report};
use crate::queue_index::keys::Key;
use crate::queue_index::run::{Run, RunName};
use crate::queue_index::{Entry, QueueNumber};

/// Entries of one queue that are read at once: whole chunks.
const READ_ENTRIES: u64 = 64 * 128;

/// The runs that checkpoints name, each compared once the log is read up to its end.
pub(super) struct Runs<'a> {
    directory: &'a Directory,
    /// By the beginning of their stretch.
    waiting: VecDeque<Named<'a>>,
    /// Those whose stretch is being read: one, unless checkpoints disagree.
    open: Vec<Collected<'a>>,
}

/// A run and a checkpoint that names it.
#[derive(Clone, Copy)]
struct Named<'a> {
    name: RunName,
    saved: &'a Saved,
    /// Whether the next start loads it.
    is_needed: bool,
}

/// The log's records of a run's stretch.
struct Collected<'a> {
    named: Named<'a>,
    entries: Vec<(QueueNumber, u64, Entry)>,
    keys: Vec<Key>,
}

impl<'a> Runs<'a> {
    pub(super) fn new(directory: &'a Directory, found: &'a [Found]) -> Self {
        let needed = of_next_start(found);
        let mut waiting: Vec<Named<'a>> = Vec::new();
        // The newest first: of runs that several checkpoints name, that one is asked for queues.
        for saved in found.iter().rev().filter_map(|found| found.state.as_ref().ok()) {
            let is_needed = needed.is_some_and(|needed| std::ptr::eq(needed, saved));
            waiting.extend(saved.runs.iter().map(|&name| Named { name, saved, is_needed }));
        }
        waiting.sort_by_key(|named| (named.name.from, named.name.to, named.name.crc));
        waiting.dedup_by_key(|named| named.name);
        Self { directory, waiting: waiting.into(), open: Vec::new() }
    }

    /// Says that the log is read up to `at`.
    pub(super) fn reach(&mut self, at: u64, log: &LogState, report: &mut Report) {
        let done: Vec<Collected<'a>> = self.open.extract_if(.., |open| open.named.name.to <= at).collect();
        done.into_iter().for_each(|done| self.compare(done, log, report));
        while let Some(named) = self.waiting.pop_front_if(|named| named.name.from <= at) {
            let collected = Collected { named, entries: Vec::new(), keys: Vec::new() };
            if named.name.to <= at { self.compare(collected, log, report) } else { self.open.push(collected) }
        }
    }

    /// Takes a record of the log.
    pub(super) fn push(&mut self, queue: QueueNumber, offset: u64, entry: Entry, keys: &[u64]) {
        for open in &mut self.open {
            open.entries.push((queue, offset, entry));
            open.keys.extend(keys.iter().map(|&hash| Key { hash, at: entry.physical_offset }));
        }
    }

    /// Compares what is left: the log ends here.
    pub(super) fn finish(&mut self, log: &LogState, report: &mut Report) {
        self.reach(u64::MAX, log, report);
    }

    fn compare(&self, collected: Collected<'a>, log: &LogState, report: &mut Report) {
        let Collected { named, mut entries, mut keys } = collected;
        keys.sort_unstable();
        entries.sort_unstable_by_key(|(queue, offset, entry)| (*queue, *offset, entry.physical_offset));
        report.index_runs += 1;
        let comparison = Comparison { directory: self.directory, named, log, entries: &entries, keys: &keys, report };
        comparison.run();
    }
}

/// One run beside the records of its stretch, by queue and offset.
struct Comparison<'a, 'r> {
    directory: &'a Directory,
    named: Named<'a>,
    log: &'r LogState,
    entries: &'r [(QueueNumber, u64, Entry)],
    keys: &'r [Key],
    report: &'r mut Report,
}

impl Comparison<'_, '_> {
    fn run(mut self) {
        let run = match Run::load(&self.directory.disk, &self.directory.layout.queue_index, self.named.name) {
            Ok(run) => run,
            Err(problem) => return self.tell_damage(problem),
        };
        let mut matched = 0;
        for row in run.rows() {
            let row = row.and_then(|(number, offsets)| {
                let saved = self.named.saved.queues.get(number.index());
                let saved = saved.ok_or_else(|| format!("queue number {} is not in the checkpoint", number.0))?;
                Ok((number, offsets, self.log.names.find(&saved.topic, saved.queue)))
            });
            let (number, offsets, queue) = match row {
                Ok(row) => row,
                Err(problem) => return self.tell_damage(problem),
            };
            let mut from = offsets.start;
            while from < offsets.end {
                let to = offsets.end.min(from + READ_ENTRIES);
                match run.read(number, from..to) {
                    Ok(entries) => {
                        let pairs = (from..to).zip(entries);
                        matched +=
                            pairs.filter(|&(offset, entry)| self.is_of_log(number, queue, offset, entry)).count();
                    }
                    Err(problem) => return self.tell_damage(problem),
                }
                from = to;
            }
        }
        self.report.index_entries += matched as u64;
        if matched < self.entries.len() {
            let missing = self.entries.len() - matched;
            self.tell(format!("{missing} records of its stretch of the log are not in it"), Meaning::Altered);
        }
        match self.count_strange_keys(&run) {
            Ok(0) => self.tell_surplus(&run),
            Ok(strange) => {
                let problem = format!("{strange} keys of messages are only in it or only in its stretch of the log");
                self.tell(problem, Meaning::Altered);
            }
            Err(problem) => self.tell_damage(problem),
        }
    }

    /// How many keys the run and the log do not share; those in places that cannot be read or are gone do not count.
    fn count_strange_keys(&self, run: &Run) -> Result<usize, String> {
        let (mut strange, mut of_log) = (0, self.keys.iter().peekable());
        for chunk in run.key_chunks() {
            for key in chunk? {
                while of_log.next_if(|first| **first < key).is_some() {
                    strange += 1;
                }
                let is_explained = key.at < self.log.first || self.log.is_in_gap(key.at);
                if of_log.next_if_eq(&&key).is_none() && !is_explained {
                    strange += 1;
                }
            }
        }
        Ok(strange + of_log.count())
    }

    /// Whether the log has the record that an entry tells of; else tells why not.
    fn is_of_log(&mut self, number: QueueNumber, queue: Option<QueueNumber>, offset: u64, entry: Entry) -> bool {
        let saved = &self.named.saved.queues[number.index()];
        let name = format_args!("record {offset} of queue {} of {}", saved.queue, saved.topic);
        let at = entry.physical_offset;
        let found = queue.and_then(|queue| {
            let index = self.entries.binary_search_by_key(&(queue, offset), |(queue, offset, _)| (*queue, *offset));
            Some(self.entries[index.ok()?].2)
        });
        let bytes = entry.record_bytes;
        match found {
            Some(found) if found == entry => return true,
            // Retention has taken it.
            None if at < self.log.first => return false,
            None if self.log.is_in_gap(at) => {
                let problem = format!("{name}, {bytes} bytes at {at} of the log, cannot be read");
                self.tell(problem, Meaning::Lost);
            }
            None => self.tell(format!("{name} is not at {at} of the log"), Meaning::Altered),
            Some(found) => {
                let problem = format!("{name}: {}", difference(entry, found));
                self.tell(problem, Meaning::Altered);
                // It is there, so it is not missing too.
                return true;
            }
        }
        false
    }

    fn tell_damage(&mut self, problem: String) {
        let RunName { from, to, .. } = self.named.name;
        let path = self.directory.run_path(from);
        if self.directory.is_in_use {
            // A running server takes runs away with the checkpoints that name them.
            let checkpoint = self.directory.checkpoint_path(self.named.saved.end.at.0);
            let is_gone = |error: std::io::Error| error.kind() == ErrorKind::NotFound;
            if self.directory.disk.open(&checkpoint, OpenMode::Read).err().is_some_and(is_gone) {
                return;
            }
        }
        let is_remade = from >= self.log.first && !self.log.gaps.iter().any(|gap| gap.start < to && gap.end > from);
        let meaning = if self.named.is_needed && !is_remade { Meaning::Refused } else { Meaning::Derived };
        self.report.add(Finding { file: path, position: None, problem, meaning });
    }

    fn tell(&mut self, problem: String, meaning: Meaning) {
        let file = self.directory.run_path(self.named.name.from);
        self.report.add(Finding { file, position: None, problem, meaning });
    }

    fn tell_surplus(&mut self, run: &Run) {
        let path = self.directory.run_path(run.from);
        let length = self.directory.disk.open(&path, OpenMode::Read).and_then(|file| file.len());
        let surplus =
            length.map_err(files::Error::at("measure", &path)).map(|bytes| bytes.saturating_sub(run.file_bytes()));
        if let Ok(surplus @ 1..) = surplus {
            self.tell(format!("{surplus} bytes behind its end are never read"), Meaning::Unused);
        }
    }
}

fn difference(index: Entry, log: Entry) -> String {
    let mut differences = Vec::new();
    let mut compare = |what, index: String, log: String| {
        if index != log {
            differences.push(format!("{what} is {index} in the index, {log} in the log"));
        }
    };
    compare("position", index.physical_offset.to_string(), log.physical_offset.to_string());
    compare("length", index.record_bytes.to_string(), log.record_bytes.to_string());
    compare("tag hash", index.tag_hash.to_string(), log.tag_hash.to_string());
    let hash = |entry: Entry| entry.group_hash.map_or(0, std::num::NonZeroU32::get).to_string();
    compare("message group hash", hash(index), hash(log));
    differences.join(", ")
}
