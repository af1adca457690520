//! What proves that a part of the log was durable: damage or zeros before that point are no torn end.
//!
//! Checkpoints and index runs are put in place only once the log is durable up to where they end, and a start removes
//! those beyond the place where it cuts the log before it cuts it. So a checkpoint's mere name says how far the log
//! was durable, whatever became of the file's content; a run's name says where it begins, and its whole head where
//! it ends.

use std::path::PathBuf;
use std::sync::Arc;

use env::Disk;

use crate::files::{Error, Layout, name_of, positions};
use crate::queue_index::run::Run;

/// The file that proves the most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// The log was durable up to here.
    pub(crate) durable_to: u64,
    /// The position in the name of the file that says so.
    pub(crate) name: u64,
    /// The checkpoint or index run that says so.
    pub(crate) file: PathBuf,
}

impl Proof {
    /// Whether a replay that has come to `end` may write an index run that begins at `from`: as the newest run, and
    /// shorter, it would prove less than this one.
    pub(crate) fn allows_run(&self, from: u64, end: u64) -> bool {
        from < self.name || end >= self.durable_to
    }
}

/// Finds it. Reads names, and the head of the last index run; `None` in a directory without such files.
pub(crate) fn find(disk: &Arc<dyn Disk>, layout: &Layout) -> Result<Option<Proof>, Error> {
    let proof = |dir: &PathBuf, name: u64, durable_to| Proof { durable_to, name, file: dir.join(name_of(name)) };
    let (checkpoints, runs) = (&layout.checkpoints, &layout.queue_index);
    let checkpoint = positions(&**disk, checkpoints)?.last().map(|at| proof(checkpoints, *at, *at));
    let run = positions(&**disk, runs)?.last().map(|from| {
        let to = Run::find(disk, runs, *from).map_or(*from, |run| run.to);
        proof(runs, *from, to)
    });
    Ok(run.into_iter().chain(checkpoint).max_by_key(|proof| proof.durable_to))
}
