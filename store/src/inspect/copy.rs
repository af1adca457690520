//! A copy of a store that a start can open, made beside the server that writes it.
//!
//! The order is what makes it whole. First the names of the segments, then checkpoints with their index runs, then the
//! log's end, which lies behind all of them, then the segments up to that end: what a server appends later is
//! not in the copy, what was acknowledged before is. Retention takes a segment only once everything of it that still
//! counts is in the log again; if that happens meanwhile, the segment is missed and all begins anew, with a later end.
//!
//! Files are really copied. A hard link would do only for files that nobody writes again, and a start writes in place:
//! it renews what it has replayed and cuts the end.

use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use env::disk::OpenMode;
use record::Record;

use super::checkpoints::{Found, Saved, of_next_start};
use super::directory::Directory;
use super::follow::Ending;
use super::{Steps, Watcher};
use crate::files::{self, Layout, name_of};
use crate::recovery::{NOTHING, Visitor, proof};

/// Bytes copied at once.
const BUFFER_BYTES: usize = 1024 * 1024;
/// How often a copy begins anew because the server took away what was to be copied next.
const TRIES_MAX: usize = 10;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Bytes of the log, the checkpoints and the index runs.
    pub bytes: u64,
    /// First position of the log.
    pub log_first: u64,
    /// The log's end.
    pub log_end: u64,
    /// Positions of the checkpoints.
    pub checkpoints: Vec<u64>,
    /// How often it began anew because retention took segments away meanwhile.
    pub restarts: usize,
}

/// Why there is no copy. What was copied so far stays, in a directory that a start refuses.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The target is in use for something.
    #[error("{dir} is not empty: a copy needs a directory of its own", dir = dir.display())]
    NotEmpty {
        /// The target.
        dir: PathBuf,
    },
    /// The log would be cut off in the middle.
    #[error("the log is damaged at {at} ({problem}) and a copy would leave out what was behind; verify it first")]
    Damaged {
        /// Where.
        at: u64,
        /// What is wrong there.
        problem: String,
    },
    /// The server removes faster than we copy.
    #[error("files were removed while they were copied, {TRIES_MAX} times: try again when the server deletes less")]
    TooBusy,
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] files::Error),
}

impl Directory {
    /// Copies the store to `to`, which must be empty or missing. On return the copy is durable. It holds every record
    /// that was written when the call began.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn copy(&self, to: &Path, watcher: &mut Watcher<'_>) -> Result<Copied, CopyError> {
        let target = Layout::of(to);
        for dir in [&target.root, &target.commit_log, &target.queue_index, &target.checkpoints, &target.timers] {
            if !self.disk.list(dir).map_err(files::Error::at("list", dir))?.is_empty() {
                return Err(CopyError::NotEmpty { dir: to.to_owned() });
            }
        }
        let target = Layout::create(&*self.disk, to)?;
        files::write_incomplete(&*self.disk, &target)?;
        let mut copy = Copy { from: self, target, closed: BTreeSet::new(), files: 0, bytes: 0 };
        for restarts in 0..TRIES_MAX {
            if let Some(copied) = copy.run(restarts, watcher)? {
                return Ok(copied);
            }
        }
        Err(CopyError::TooBusy)
    }
}

struct Copy<'a> {
    from: &'a Directory,
    target: Layout,
    /// Segments that are copied and never change again.
    closed: BTreeSet<u64>,
    files: u64,
    bytes: u64,
}

/// A file of the source was not there any more.
struct Gone;

impl Copy<'_> {
    /// One try; `None` when something was removed under its hands.
    fn run(&mut self, restarts: usize, watcher: &mut Watcher<'_>) -> Result<Option<Copied>, CopyError> {
        let from = self.from;
        let mut bases = from.segments.bases()?;
        let durable_to = proof::find(&from.disk, &from.layout)?.map_or(0, |proof| proof.durable_to);
        let found = from.checkpoints()?;
        let saved: Vec<&Saved> = found.iter().filter_map(|found| found.state.as_ref().ok()).collect();
        let runs: BTreeSet<u64> = saved.iter().flat_map(|saved| &saved.runs).map(|run| run.from).collect();
        let checkpoints: Vec<u64> = saved.iter().map(|saved| saved.end.at.0).collect();
        if self.derived(&runs, &checkpoints)?.is_err() {
            return Ok(None);
        }
        let start = of_next_start(&found).map_or_else(|| from.log_start(), |saved| saved.end);
        let Ending { end, at, problem, behind } = from.find_end(start, &mut Nobody)?;
        if behind.record_at.is_some() || end.at.0 < durable_to {
            let problem = problem.unwrap_or_else(|| NOTHING.to_owned());
            return Err(CopyError::Damaged { at, problem });
        }
        let end = end.at.0;
        // The server may have gone on in segments that were not there when they were listed.
        let newest = bases.last().copied();
        bases.extend(from.segments.bases()?.into_iter().filter(|base| newest.is_none_or(|newest| *base > newest)));
        let bases: Vec<u64> = bases.into_iter().filter(|base| *base < end).collect();
        let first = bases.first().copied().unwrap_or(from.first());
        let mut steps = Steps::begin(watcher, "copying the log", end - first);
        for &base in &bases {
            if self.segment(base, end, &mut |position| steps.reach(base - first + position))?.is_err() {
                return Ok(None);
            }
        }
        steps.finish();
        self.finish(&bases, &runs, &checkpoints)?;
        let (files, bytes) = (self.files, self.bytes);
        Ok(Some(Copied { files, bytes, log_first: first, log_end: end, checkpoints, restarts }))
    }

    /// Copies index runs, machines' files and the checkpoints that name them. A run that is missing is made again by the start.
    fn derived(&mut self, runs: &BTreeSet<u64>, checkpoints: &[u64]) -> Result<Result<(), Gone>, files::Error> {
        let mut missing = 0;
        for &run in runs {
            let to = self.target.queue_index.join(name_of(run));
            missing += usize::from(self.file(&self.from.run_path(run), &to, u64::MAX, None, &mut |_| ())?.is_err());
        }
        // One that a server has removed is of no checkpoint any more, or is made again by the start.
        let timers = &self.from.layout.timers;
        for name in self.from.disk.list(timers).map_err(files::Error::at("list", timers))? {
            let to = self.target.timers.join(&name);
            let _ = self.file(&timers.join(&name), &to, u64::MAX, None, &mut |_| ())?;
        }
        for &at in checkpoints {
            let to = self.target.checkpoints.join(name_of(at));
            if self.file(&self.from.checkpoint_path(at), &to, u64::MAX, None, &mut |_| ())?.is_err() {
                return Ok(Err(Gone));
            }
        }
        // Were runs removed because newer checkpoints do not name them?
        let usable = |found: &Found| found.state.as_ref().ok().map(|saved| saved.end.at.0);
        let is_gone = missing > 0
            && self.from.is_in_use
            && self.from.checkpoints()?.iter().filter_map(usable).ne(checkpoints.iter().copied());
        Ok(if is_gone { Err(Gone) } else { Ok(()) })
    }

    /// Copies a segment up to the log's end.
    fn segment(&mut self, base: u64, end: u64, reached: &mut dyn FnMut(u64)) -> Result<Result<(), Gone>, files::Error> {
        if self.closed.contains(&base) {
            return Ok(Ok(()));
        }
        let segment_bytes = self.from.segment_bytes();
        let to = self.target.commit_log.join(name_of(base));
        let from = self.from.segments.path(base);
        let copied = self.file(&from, &to, (end - base).min(segment_bytes), Some(segment_bytes), reached)?;
        if copied.is_ok() && base + segment_bytes <= end {
            self.closed.insert(base);
        }
        Ok(copied)
    }

    /// Copies the first `bytes_max` bytes of a file, durable on return but for its name. Zeros are left out where the
    /// file gets a length: they take no room then.
    fn file(
        &mut self,
        from: &Path,
        to: &Path,
        bytes_max: u64,
        length: Option<u64>,
        reached: &mut dyn FnMut(u64),
    ) -> Result<Result<(), Gone>, files::Error> {
        let disk = &self.from.disk;
        let source = match disk.open(from, OpenMode::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(Gone)),
            source => source.map_err(files::Error::at("open", from))?,
        };
        let target = disk.open(to, OpenMode::Create).map_err(files::Error::at("create", to))?;
        if let Some(length) = length {
            target.set_len(length).map_err(files::Error::at("lengthen", to))?;
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut position = 0;
        while position < bytes_max {
            let wanted = usize::try_from(bytes_max - position).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
            let read = source.read_at(&mut buffer[..wanted], position).map_err(files::Error::at("read", from))?;
            if read == 0 {
                break;
            }
            let part = &buffer[..read];
            if length.is_none() || part.iter().any(|byte| *byte != 0) {
                target.write_all_at(&[IoSlice::new(part)], position).map_err(files::Error::at("write", to))?;
            }
            position += read as u64;
            reached(position);
        }
        target.sync_data().map_err(files::Error::at("sync", to))?;
        self.files += 1;
        self.bytes += position;
        Ok(Ok(()))
    }

    /// Removes what earlier tries copied and the last did not, and makes the directory one that a start takes.
    fn finish(&self, bases: &[u64], runs: &BTreeSet<u64>, checkpoints: &[u64]) -> Result<(), files::Error> {
        let (disk, target) = (&*self.from.disk, &self.target);
        files::remove_unless(disk, &target.commit_log, |base| bases.contains(&base))?;
        files::remove_unless(disk, &target.queue_index, |run| runs.contains(&run))?;
        files::remove_unless(disk, &target.checkpoints, |at| checkpoints.contains(&at))?;
        for dir in [&target.commit_log, &target.queue_index, &target.checkpoints, &target.timers] {
            disk.sync_dir(dir).map_err(files::Error::at("sync", dir))?;
        }
        files::write_format(disk, target, self.from.segment_bytes())
    }
}

/// Finding the end needs no look at the records.
struct Nobody;

impl Visitor for Nobody {
    fn record(&mut self, _: &Record<'_>) -> Result<(), String> {
        Ok(())
    }
}
