//! Writes checkpoints beside the engine, once the log is durable up to them.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use env::Disk;
use tokio::sync::{mpsc, oneshot};
use types::PhysicalOffset;

use super::{GENERATIONS, finish};
use crate::files::{self, Layout, name_of, positions, replace};
use crate::machine::MachineFile;
use crate::marks::Marks;
use crate::queue_index::Part;
use crate::queue_index::run::{Run, RunName};
use crate::signal::Signal;

/// Checkpoints that wait to be published. The store begins one when the one before is done, and a last one at its end.
pub(crate) const JOBS_MAX: usize = 2;

/// A checkpoint taken between two rounds of the engine.
pub(crate) struct Job {
    pub(crate) at: PhysicalOffset,
    /// See [`super::begin_body`].
    pub(crate) body: Vec<u8>,
    /// Where the log begins, or is about to begin.
    pub(crate) begins: u64,
    /// All sealed parts of the queue index up to `at`; blocks become runs.
    pub(crate) parts: Vec<Part>,
    /// What the machines' snapshot refers to.
    pub(crate) files: Vec<MachineFile>,
    /// Gets the runs that were written; dropped when it came to nothing.
    pub(crate) done: oneshot::Sender<Vec<Arc<Run>>>,
}

/// Publishes checkpoints one after the other.
pub(crate) struct Publisher {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) marks: Marks,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) signal: Arc<Signal>,
    /// Machines' files that the checkpoints refer to that are kept, the oldest first.
    pub(crate) referred: VecDeque<BTreeSet<String>>,
}

impl Publisher {
    /// Publishes until the store closes, is abandoned, or has failed.
    pub(crate) async fn run(mut self) {
        loop {
            let job = tokio::select! {
                biased;
                () = self.signal.abandoned() => return,
                job = self.jobs.recv() => job,
            };
            let Some(job) = job else { return };
            tokio::select! {
                biased;
                () = self.signal.abandoned() => return,
                durable = self.marks.durable(job.at) => if durable.is_err() { return },
            }
            match self.publish(job.at, job.body, job.begins, &job.parts, &job.files) {
                // Nobody listens when the store is gone.
                Ok(runs) => drop(job.done.send(runs)),
                // Nothing is lost: the next start replays more of the log.
                Err(error) => tracing::warn!(%error, at = %job.at, "a checkpoint could not be published"),
            }
        }
    }

    /// Runs and machines' files first, then the checkpoint that names them, then what it makes superfluous goes.
    fn publish(
        &mut self,
        at: PhysicalOffset,
        mut body: Vec<u8>,
        begins: u64,
        parts: &[Part],
        machine_files: &[MachineFile],
    ) -> Result<Vec<Arc<Run>>, files::Error> {
        for file in machine_files {
            files::put_machine_file(&*self.disk, &self.layout.timers, file)?;
        }
        let mut names: Vec<RunName> = Vec::with_capacity(parts.len());
        let mut written = Vec::new();
        for part in parts {
            match part {
                Part::Run(run) => names.push(run.name()),
                Part::Block(block) => {
                    let run = Arc::new(Run::write(&self.disk, &self.layout.queue_index, block)?);
                    names.push(run.name());
                    written.push(run);
                }
            }
        }
        let header = finish(&mut body, &names, begins);
        replace(&*self.disk, &self.layout.checkpoints, &name_of(at.0), &[&header, &body])?;
        self.referred.push_back(machine_files.iter().map(|file| file.name.clone()).collect());
        if let Err(error) = self.remove_old() {
            tracing::warn!(%error, "what no checkpoint needs any more is removed later");
        }
        Ok(written)
    }

    /// Removes all checkpoints but the newest generations, then the machines' files that only they referred to.
    fn remove_old(&mut self) -> Result<(), files::Error> {
        remove_old(&*self.disk, &self.layout.checkpoints)?;
        let first_kept = self.referred.len().saturating_sub(GENERATIONS);
        self.referred.drain(..first_kept);
        files::remove_machine_files(&*self.disk, &self.layout.timers, |name| {
            self.referred.iter().any(|names| names.contains(name))
        })
    }
}

/// Removes all checkpoints but the newest generations.
fn remove_old(disk: &dyn Disk, dir: &Path) -> Result<(), files::Error> {
    let all = positions(disk, dir)?;
    let Some(oldest_kept) = all.iter().rev().nth(GENERATIONS - 1) else { return Ok(()) };
    files::remove_unless(disk, dir, |position| position >= *oldest_kept)
}
