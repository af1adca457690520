//! Checkpoints as a start judges them.

use std::io::ErrorKind;
use std::sync::Arc;

use types::{PhysicalOffset, QueueId, Timestamp};

use super::directory::{Directory, FileCheck};
use crate::checkpoint;
use crate::commit_log::End;
use crate::files;
use crate::queue_index::run::RunName;
use crate::recovery;

/// Reads of the list of checkpoints before a server that makes and removes them counts as too busy to be looked at.
const TRIES_MAX: usize = 10;

/// A checkpoint of the directory.
pub(super) struct Found {
    pub(super) at: u64,
    pub(super) file_bytes: u64,
    /// What it holds, or why a start does not use it.
    pub(super) state: Result<Saved, Unfit>,
}

/// Why a start does not use a checkpoint.
pub(super) enum Unfit {
    /// The file is not what was written, or the machines do not understand it.
    Damaged(String),
    /// The log does not hold the records that it was taken over.
    NotCovered,
}

/// What a checkpoint holds but for the machines' state.
pub(super) struct Saved {
    pub(super) end: End,
    /// By number.
    pub(super) queues: Vec<SavedQueue>,
    /// Those that a start needs: not the ones whose whole stretch of the log has expired.
    pub(super) runs: Vec<RunName>,
    /// The machines' files that its snapshot refers to.
    pub(super) files: Vec<Box<dyn FileCheck>>,
    /// The log begins here or earlier.
    pub(super) begins: u64,
}

/// A queue as a checkpoint has it.
pub(super) struct SavedQueue {
    pub(super) topic: Arc<str>,
    pub(super) queue: QueueId,
    pub(super) min: u64,
    pub(super) next: u64,
}

impl Directory {
    /// All checkpoints, ascending. Those that a running server removes meanwhile are not among them.
    pub(super) fn checkpoints(&self) -> Result<Vec<Found>, files::Error> {
        let mut tries_left = TRIES_MAX;
        loop {
            match self.read_checkpoints() {
                Err(error) if error.error.kind() == ErrorKind::NotFound && tries_left > 0 => tries_left -= 1,
                done => return done,
            }
        }
    }

    fn read_checkpoints(&self) -> Result<Vec<Found>, files::Error> {
        let positions = files::positions(&*self.disk, &self.layout.checkpoints)?;
        positions.into_iter().map(|at| self.read_checkpoint(at)).collect()
    }

    fn read_checkpoint(&self, at: u64) -> Result<Found, files::Error> {
        let (file, unreadable) = match files::read(&*self.disk, &self.checkpoint_path(at)) {
            Err(error) if error.error.kind() == ErrorKind::NotFound => return Err(error),
            Err(error) => (Vec::new(), Some(error)),
            Ok(file) => (file, None),
        };
        let file_bytes = file.len() as u64;
        let damaged = |problem: String| Found { at, file_bytes, state: Err(Unfit::Damaged(problem)) };
        if let Some(error) = unreadable {
            return Ok(damaged(error.to_string()));
        }
        let checkpoint = match checkpoint::parse(&file) {
            Ok(checkpoint) => checkpoint,
            Err(problem) => return Ok(damaged(problem.to_owned())),
        };
        if checkpoint.end.at.0 != at {
            return Ok(damaged(format!("it was taken at {}, which is not what its name says", checkpoint.end.at)));
        }
        let files = match (self.check_snapshot)(checkpoint.snapshot) {
            Ok(files) => files,
            Err(error) => return Ok(damaged(error.to_string())),
        };
        match recovery::is_covered(&self.segments, checkpoint.end) {
            Ok(true) => {}
            Ok(false) => return Ok(Found { at, file_bytes, state: Err(Unfit::NotCovered) }),
            Err(error) => return Ok(damaged(error.to_string())),
        }
        let queues = checkpoint.queues.iter().map(|saved| SavedQueue {
            topic: saved.topic.into(),
            queue: saved.queue,
            min: saved.min,
            next: saved.next,
        });
        let runs = checkpoint.runs.into_iter().filter(|run| run.to > self.first());
        let begins = checkpoint.begins.unwrap_or(u64::MAX);
        let saved = Saved { end: checkpoint.end, queues: queues.collect(), runs: runs.collect(), files, begins };
        Ok(Found { at, file_bytes, state: Ok(saved) })
    }

    /// Where a replay without a checkpoint begins.
    pub(super) fn log_start(&self) -> End {
        End { at: PhysicalOffset(self.first()), last: None, last_stored_at: Timestamp(i64::MIN) }
    }
}

/// The checkpoint that the next start uses: the newest that can be.
pub(super) fn of_next_start(found: &[Found]) -> Option<&Saved> {
    found.iter().rev().find_map(|found| found.state.as_ref().ok())
}
