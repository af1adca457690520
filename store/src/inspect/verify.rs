//! Everything that can be checked about a directory, checked.
//!
//! The log is read once from its first record to its end. On the way each index run and each file of a machine is compared with the
//! records of its stretch, so memory holds the entries of one run, of the files whose stretches overlap, and a number for each queue. What is behind the last
//! record is looked at too: it tells a torn end from damage in the middle.

mod index;
mod log;
mod machine_files;
mod names;

use std::path::Path;
use std::sync::Arc;

use env::Disk;

use super::checkpoints::{self, Found, Unfit};
use super::directory::{Directory, Error, SnapshotCheck};
use super::finding::{Finding, Meaning, Report};
use super::{Steps, Watcher};
use crate::files;
use crate::store::OpenError;
use log::Pass;
use machine_files::MachineFiles;

impl Directory {
    /// Checks everything in `dir`. What makes a start refuse the directory is a finding, unless it is a newer format,
    /// of which nothing can be said.
    ///
    /// # Errors
    /// [`Error`] when there is no store or the system refuses to show it.
    pub fn verify(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        check_snapshot: SnapshotCheck,
        watcher: &mut Watcher<'_>,
    ) -> Result<Report, Error> {
        match Self::open(disk, dir, check_snapshot) {
            Ok(directory) => Ok(directory.verify_all(watcher)?),
            Err(Error::Open(error @ (OpenError::Unusable { .. } | OpenError::SegmentBytes { .. }))) => {
                Ok(refused(dir, &error))
            }
            Err(error) => Err(error),
        }
    }

    fn verify_all(&self, watcher: &mut Watcher<'_>) -> Result<Report, files::Error> {
        let mut report = Report { is_in_use: self.is_in_use, log_first: self.first(), ..Report::default() };
        let mut found = self.checkpoints()?;
        self.verify_checkpoints(&found, &mut report);
        let steps = Steps::begin(watcher, "checking the log", self.limit()? - self.first());
        let machine_files = MachineFiles::new(self, &mut found);
        // A running server makes files that no checkpoint names yet.
        if !self.is_in_use {
            let timers = &self.layout.timers;
            let names = self.disk.list(timers).map_err(files::Error::at("list", timers))?;
            machine_files.find_unused(&names, &mut report);
        }
        Pass::new(self, &found, machine_files, &mut report, steps).run()?;
        self.verify_names(&found, &mut report)?;
        Ok(report)
    }

    fn verify_checkpoints(&self, found: &[Found], report: &mut Report) {
        let is_replay_whole = self.first() == 0 || checkpoints::of_next_start(found).is_some();
        for checkpoint in found {
            let (problem, meaning) = match &checkpoint.state {
                Ok(_) => {
                    report.checkpoints.push(checkpoint.at);
                    continue;
                }
                // The state that older segments have left is nowhere else.
                Err(Unfit::Damaged(problem)) if !is_replay_whole => (problem.clone(), Meaning::Lost),
                Err(Unfit::Damaged(problem)) => (problem.clone(), Meaning::Derived),
                Err(Unfit::NotCovered) => {
                    let problem = "the log does not hold the records before it, which were durable when it was taken";
                    (problem.to_owned(), Meaning::Lost)
                }
            };
            report.add(Finding { file: self.checkpoint_path(checkpoint.at), position: None, problem, meaning });
        }
    }
}

fn refused(dir: &Path, error: &OpenError) -> Report {
    let file = match error {
        OpenError::Unusable { path, .. } => path.clone(),
        _ => dir.to_owned(),
    };
    let problem = match error {
        OpenError::Unusable { problem, .. } => problem.clone(),
        error => error.to_string(),
    };
    let mut report = Report::default();
    report.add(Finding { file, position: None, problem, meaning: Meaning::Refused });
    report
}
