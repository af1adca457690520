//! Machines' files against the records of their stretch of the log, by the machine that made them.

use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;

use env::disk::OpenMode;
use record::Record;
use types::PhysicalOffset;

use super::log::LogState;
use crate::inspect::checkpoints::Found;
use crate::inspect::directory::{Directory, FileCheck};
use crate::inspect::finding::{Finding, Meaning, Report};

/// The files that checkpoints name, each compared once the log is read up to the end of its stretch.
pub(super) struct MachineFiles<'a> {
    directory: &'a Directory,
    /// By the beginning of their stretch.
    waiting: VecDeque<Named>,
    /// Those whose stretch is being read.
    open: Vec<Named>,
}

/// A file and the oldest checkpoint that names it: that one demands the most of it.
struct Named {
    check: Box<dyn FileCheck>,
    checkpoint: u64,
    /// Why it cannot be read, once it was.
    problem: Option<String>,
}

impl<'a> MachineFiles<'a> {
    /// Takes the checks out of what was found.
    pub(super) fn new(directory: &'a Directory, found: &mut [Found]) -> Self {
        let (mut names, mut waiting) = (BTreeSet::new(), Vec::new());
        for saved in found.iter_mut().filter_map(|found| found.state.as_mut().ok()) {
            let checkpoint = saved.end.at.0;
            for check in std::mem::take(&mut saved.files) {
                if names.insert(check.name()) {
                    waiting.push(Named { check, checkpoint, problem: None });
                }
            }
        }
        waiting.sort_by_key(|named| named.check.stretch().start);
        Self { directory, waiting: waiting.into(), open: Vec::new() }
    }

    /// Says what else lies in the folder.
    pub(super) fn find_unused(&self, names: &[String], report: &mut Report) {
        let known: BTreeSet<String> = self.waiting.iter().map(|named| named.check.name()).collect();
        for name in names.iter().filter(|name| !known.contains(*name)) {
            let file = self.directory.layout.timers.join(name);
            let problem = "no checkpoint names this file".to_owned();
            report.add(Finding { file, position: None, problem, meaning: Meaning::Unused });
        }
    }

    /// Says that the log is read up to `at`.
    pub(super) fn reach(&mut self, at: u64, log: &LogState, report: &mut Report) {
        let done: Vec<Named> = self.open.extract_if(.., |open| open.check.stretch().end.0 <= at).collect();
        done.into_iter().for_each(|named| self.finish_one(&named, log, report));
        while let Some(mut named) = self.waiting.pop_front_if(|named| named.check.stretch().start.0 <= at) {
            named.problem = named.check.open(&*self.directory.disk, &self.directory.layout.timers).err();
            if named.check.stretch().end.0 <= at {
                self.finish_one(&named, log, report);
            } else {
                self.open.push(named);
            }
        }
    }

    /// Takes a record of the log.
    pub(super) fn push(&mut self, record: &Record<'_>) {
        self.open.iter_mut().for_each(|named| named.check.apply(record));
    }

    /// Compares what is left: the log ends here.
    pub(super) fn finish(&mut self, log: &LogState, report: &mut Report) {
        self.reach(u64::MAX, log, report);
    }

    fn finish_one(&self, named: &Named, log: &LogState, report: &mut Report) {
        let stretch = named.check.stretch();
        let is_whole = !log.gaps.iter().any(|gap| gap.start < stretch.end.0 && gap.end > stretch.start.0);
        report.machine_files += 1;
        let (problem, meaning) = match &named.problem {
            Some(_) if self.is_removed(named) => return,
            // What is missing in the log is missing in what is made of it.
            Some(problem) => (problem.clone(), if is_whole { Meaning::Derived } else { Meaning::Lost }),
            None if !is_whole => return,
            None => match named.check.compare(PhysicalOffset(log.first)) {
                Ok(()) => return,
                Err(problem) => (problem, Meaning::Altered),
            },
        };
        let file = self.directory.layout.timers.join(named.check.name());
        report.add(Finding { file, position: None, problem, meaning });
    }

    /// Whether a running server has taken the file away, with the checkpoint that names it.
    fn is_removed(&self, named: &Named) -> bool {
        let checkpoint = self.directory.checkpoint_path(named.checkpoint);
        let opened = self.directory.disk.open(&checkpoint, OpenMode::Read);
        self.directory.is_in_use && opened.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }
}
