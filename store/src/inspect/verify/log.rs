//! The pass over the log.

use std::ops::Range;

use record::Record;
use types::{PhysicalOffset, QueueOffset, Timestamp};

use super::index::Runs;
use super::machine_files::MachineFiles;
use crate::commit_log::End;
use crate::files;
use crate::inspect::Steps;
use crate::inspect::checkpoints::{Found, Saved, of_next_start};
use crate::inspect::directory::Directory;
use crate::inspect::finding::{Finding, Meaning, Report};
use crate::inspect::follow::Ending;
use crate::log_state::Begins;
use crate::queue_index::names::Names;
use crate::queue_index::{Entry, QueueNumber};
use crate::recovery::search::behind;
use crate::recovery::{MISSING, NOT_EXPIRED, NOTHING, Stop, Visitor, check_offset, proof, scan};

/// Damaged places that are remembered, so that index entries that point into them are called lost and not wrong.
const GAPS_MAX: usize = 10_000;

/// One pass over the log. Up to the checkpoint that the next start uses, records are only read when somebody asks for
/// them: damage there is told and stepped over. From there on the pass ends where a start would.
pub(super) struct Pass<'a, 'w> {
    directory: &'a Directory,
    report: &'a mut Report,
    steps: Steps<'a, 'w>,
    start: Option<&'a Saved>,
    runs: Runs<'a>,
    machine_files: MachineFiles<'a>,
    states: Begins,
    log: LogState,
}

/// What is known of the log's queues up to the place that is read.
pub(super) struct LogState {
    pub(super) names: Names,
    /// Offset that each queue's next record must have, by number; `None` before its first record here.
    next: Vec<Option<u64>>,
    /// Where the log begins: higher than when the directory was opened once a running server's retention was met.
    pub(super) first: u64,
    /// Damaged stretches, ascending.
    pub(super) gaps: Vec<Range<u64>>,
    /// Behind the last record.
    end: End,
    /// Whether what a start replays is read: then what does not continue its queue ends the log.
    is_replay: bool,
    may_begin_late: bool,
}

impl<'a, 'w> Pass<'a, 'w> {
    pub(super) fn new(
        directory: &'a Directory,
        found: &'a [Found],
        machine_files: MachineFiles<'a>,
        report: &'a mut Report,
        steps: Steps<'a, 'w>,
    ) -> Self {
        let start = of_next_start(found);
        let log = LogState {
            names: Names::default(),
            next: Vec::new(),
            first: directory.first(),
            gaps: Vec::new(),
            end: directory.log_start(),
            is_replay: false,
            may_begin_late: directory.first() > 0,
        };
        let (runs, states) = (Runs::new(directory, found), Begins::default());
        Self { directory, report, steps, start, runs, machine_files, states, log }
    }

    pub(super) fn run(mut self) -> Result<(), files::Error> {
        if let Some(start) = self.start {
            self.read_indexed(start)?;
            self.compare_queues(start);
            self.log.end = start.end;
        }
        self.log.is_replay = true;
        self.log.may_begin_late &= self.start.is_none();
        self.read_replayed()?;
        self.check_begin();
        self.runs.finish(&self.log, self.report);
        self.machine_files.finish(&self.log, self.report);
        self.report.log_end = self.log.end.at.0;
        self.report.queues = self.log.next.iter().flatten().count() as u64;
        self.steps.finish();
        Ok(())
    }

    /// Reads what the next start does not.
    fn read_indexed(&mut self, start: &Saved) -> Result<(), files::Error> {
        let to = start.end.at.0;
        while self.log.end.at.0 < to {
            let scanned = self.scan(Some(to));
            let (at, problem) = match scanned {
                Ok(Stop::Reached) => return Ok(()),
                Ok(Stop::Invalid { at, problem }) => (at, problem),
                Ok(Stop::Nothing { at }) => (at, NOTHING.to_owned()),
                Err(error) => (self.log.end.at.0, error.to_string()),
            };
            self.step_over(at, to, problem)?;
        }
        Ok(())
    }

    /// Tells a damaged place and goes on behind it.
    fn step_over(&mut self, at: u64, to: u64, problem: String) -> Result<(), files::Error> {
        if self.is_removed(at)? {
            return Ok(());
        }
        let next = self.next_record(at, to);
        self.log.end = End { at: PhysicalOffset(next), last: None, last_stored_at: Timestamp(i64::MIN) };
        if self.log.gaps.len() < GAPS_MAX {
            self.log.gaps.push(at..next);
        }
        let problem = match next - at {
            0 => problem,
            bytes => format!("{problem}; the next {bytes} bytes hold no whole record"),
        };
        self.tell(at, problem, Meaning::Lost);
        Ok(())
    }

    /// Whether retention of a running server has taken this place away; then the pass goes on where the log begins now.
    fn is_removed(&mut self, at: u64) -> Result<bool, files::Error> {
        let first = self.directory.segments.bases()?.first().copied().unwrap_or(0);
        let is_removed = self.directory.is_in_use && at < first;
        if is_removed {
            self.log.first = first;
            self.log.end = End { at: PhysicalOffset(first), last: None, last_stored_at: Timestamp(i64::MIN) };
        }
        Ok(is_removed)
    }

    /// Where the next whole record begins; where the disk does not let itself be read, in a later segment.
    fn next_record(&self, at: u64, to: u64) -> u64 {
        let segments = &self.directory.segments;
        let mut from = at;
        while from < to {
            match behind(segments, from, to) {
                Ok(behind) => return behind.record_at.map_or(to, |record_at| record_at.0),
                Err(_) => from = segments.end_of(from),
            }
        }
        to
    }

    /// What the checkpoint says of the queues must be what the records before it say.
    fn compare_queues(&mut self, start: &Saved) {
        let is_whole = self.log.gaps.is_empty() && self.directory.first() == 0 && !self.directory.is_in_use;
        for saved in &start.queues {
            let number = self.log.number(&saved.topic, saved.queue);
            let known = self.log.next[number.index()];
            let is_same = known == Some(saved.next) || (known.is_none() && !is_whole);
            if !is_same || saved.min > saved.next {
                let file = self.directory.checkpoint_path(start.end.at.0);
                let log_has = known.map_or_else(|| "has none".to_owned(), |next| format!("goes on at {next}"));
                let (topic, queue) = (&saved.topic, saved.queue);
                let problem = format!(
                    "it has {} to {} of queue {queue} of {topic}, the log before it {log_has}",
                    saved.min, saved.next
                );
                let meaning = if self.log.gaps.is_empty() { Meaning::Altered } else { Meaning::Lost };
                self.report.add(Finding { file, position: None, problem, meaning });
            }
            // A start goes on from what the checkpoint says.
            self.log.next[number.index()] = Some(saved.next);
        }
    }

    /// A log may begin late only where something says that what is missing has expired, as a start demands it.
    fn check_begin(&mut self) {
        let (first, states) = (self.directory.first(), self.states.begins());
        let begins = self.start.map_or(0, |start| start.begins).max(states.unwrap_or(0));
        if first > begins {
            let what = match (self.start, states) {
                (None, None) => format!("the log begins at {first}, without a checkpoint and without a whole state"),
                _ => format!("the log begins at {first}"),
            };
            self.tell(begins, format!("{what}: {MISSING}, and {NOT_EXPIRED}"), Meaning::Refused);
        }
    }

    /// Reads what the next start reads, up to where it would end the log.
    fn read_replayed(&mut self) -> Result<(), files::Error> {
        let directory = self.directory;
        // Before the log's end is looked for, which a running server moves on.
        let proof = proof::find(&directory.disk, &directory.layout)?;
        let Ending { end, at, problem, behind } = loop {
            match directory.find_end(self.log.end, self) {
                Ok(ending) => break ending,
                Err(_) if self.is_removed(self.log.end.at.0)? => {
                    self.log.next.fill(None);
                    self.log.may_begin_late = true;
                }
                Err(error) => {
                    self.tell(self.log.end.at.0, error.to_string(), Meaning::Refused);
                    return Ok(());
                }
            }
        };
        debug_assert_eq!(end.at, self.log.end.at, "the visitor was given every record");
        if let Some(proof) = proof.filter(|proof| proof.durable_to > end.at.0) {
            let problem = problem.unwrap_or_else(|| NOTHING.to_owned());
            let problem = match behind.record_at {
                Some(record_at) => format!("{problem}; {} whole records are behind", directory.count_from(record_at)?),
                None => format!("{problem}; no whole record is behind"),
            };
            let (to, file) = (proof.durable_to, proof.file.display());
            self.tell(at, format!("{problem}, and it was durable up to {to}: {file}"), Meaning::Refused);
        } else if let Some(record_at) = behind.record_at {
            let records = directory.count_from(record_at)?;
            let problem = problem.unwrap_or_else(|| NOTHING.to_owned());
            let problem = format!("{problem}; {records} whole records are behind, the first at {record_at}");
            self.tell(at, problem, Meaning::EndsLog);
        } else if let Some(written_at) = behind.written_at {
            let problem = problem.unwrap_or_else(|| format!("bytes at {written_at}, where nothing should be written"));
            self.tell(at, format!("no whole record: {problem}"), Meaning::Torn);
        }
        Ok(())
    }

    fn scan(&mut self, to: Option<u64>) -> Result<Stop, files::Error> {
        let (directory, from) = (self.directory, self.log.end);
        scan(&directory.segments, from, to, self).map(|(_, stop)| stop)
    }

    fn tell(&mut self, at: u64, problem: String, meaning: Meaning) {
        let segments = &self.directory.segments;
        let file = segments.path(segments.base_of(at));
        self.report.add(Finding { file, position: Some(at), problem, meaning });
    }
}

impl Visitor for Pass<'_, '_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        let at = record.header.physical_offset;
        self.states.take(record);
        self.runs.reach(at.0, &self.log, self.report);
        self.machine_files.reach(at.0, &self.log, self.report);
        self.machine_files.push(record);
        if record.is_queued() {
            let number = self.log.number(record.topic, record.header.queue);
            let (known, offset) = (self.log.next[number.index()], record.header.queue_offset);
            let fits = check_offset(known.map(QueueOffset), offset, self.log.may_begin_late);
            match fits {
                Err(problem) if self.log.is_replay => return Err(problem),
                Err(problem) => {
                    let queue = format!("queue {} of {}", record.header.queue, record.topic);
                    let meaning = if self.log.gaps.is_empty() { Meaning::Altered } else { Meaning::Lost };
                    self.tell(at.0, format!("record {offset} of {queue}: {problem}"), meaning);
                }
                Ok(()) => {}
            }
            self.log.next[number.index()] = Some(offset.0.saturating_add(1));
            let hashes = record.hashes();
            self.runs.push(number, offset.0, Entry::of(record, &hashes), &hashes.keys);
        }
        self.report.records += 1;
        let last = Some(at);
        let end = at.plus(u64::from(record.header.record_bytes));
        let last_stored_at = record.header.stored_at.max(self.log.end.last_stored_at);
        self.log.end = End { at: end, last, last_stored_at };
        self.steps.reach(end.0 - self.report.log_first);
        Ok(())
    }
}

impl LogState {
    fn number(&mut self, topic: &str, queue: types::QueueId) -> QueueNumber {
        let number = self.names.intern(topic, queue);
        if number.index() == self.next.len() {
            self.next.push(None);
        }
        number
    }

    /// Whether a position is in a stretch that was told to be damaged.
    pub(super) fn is_in_gap(&self, position: u64) -> bool {
        let after = self.gaps.partition_point(|gap| gap.start <= position);
        self.gaps[..after].last().is_some_and(|gap| gap.contains(&position))
    }
}
