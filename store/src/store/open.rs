//! Opening a store: lock, format, checkpoint, replay, cut, threads.

mod judge;
mod recover;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::clock::BoxFuture;
use env::{Disk, Env};
use tokio::sync::mpsc;
use types::PhysicalOffset;

use recover::{Recovered, Recovery};

use super::Store;
use crate::checkpoint::publisher::{JOBS_MAX, Publisher};
use crate::commit_log::{self, CommitLog};
use crate::files::{self, FormatError, Layout, name_of};
use crate::flush::{Dirty, Flusher};
use crate::hot_tail::HotTail;
use crate::machine::{Machine, RestoreError};
use crate::marks::Marks;
use crate::options::{Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::reader::{self, Pool, Reader};
use crate::segments::{Maker, Segments};
use crate::signal::Signal;
use crate::sweeper::{self, Sweeper};

/// Highest position of a log. Source: Apache counts them in a signed 64-bit number.
const POSITION_MAX: u64 = i64::MAX as u64;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the directory.
    #[error("{dir} is in use by another process", dir = dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// A newer program wrote it.
    #[error("{dir} has format {found}, this version knows up to {known}: use the newer version", dir = dir.display())]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// A newer program wrote the state in this file or directory. Nothing was removed or cut off.
    #[error("{path}: {error}", path = path.display())]
    NewerState {
        /// The checkpoint, or the log.
        path: PathBuf,
        /// Its version and ours.
        error: RestoreError,
    },
    /// A file that is not what it must be.
    #[error("{path} is not usable: {problem}", path = path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A part of the log that was durable is damaged or gone. Nothing was removed or cut off.
    #[error(
        "{path} is damaged at position {at}: {problem}. The log was durable up to {durable_to}, as {proof} proves, so this is no \
         torn end",
        path = path.display(), proof = proof.display()
    )]
    Damaged {
        /// The segment of the log.
        path: PathBuf,
        /// The position in the log; see [`Options::accept_loss_at`].
        at: PhysicalOffset,
        /// What was found there.
        problem: String,
        /// How far the log was durable.
        durable_to: PhysicalOffset,
        /// The file that proves it.
        proof: PathBuf,
    },
    /// A segment length that cannot be.
    #[error("segments of {bytes} bytes are not possible, allowed are {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}")]
    SegmentBytes {
        /// The length.
        bytes: u64,
    },
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] files::Error),
}

impl Store {
    /// Opens or makes the store in `options.dir`: takes its lock, restores `machines` from the newest checkpoint that is
    /// whole and that the log covers, replays the log from there into them and cuts off what is not a valid record.
    /// On return everything that was found is durable. What lies before a checkpoint or the end of an index run is
    /// never cut off, unless [`Options::accept_loss_at`] says so.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(env: &Env, options: &Options, machines: &mut dyn Machine) -> Result<Self, OpenError> {
        Self::open_as(env, options, Writer::Ours, machines)
    }

    /// Opens a log that Apache's broker wrote and of which all up to `end` is known to be good. What a start would make of it:
    /// the queue index, room for the next records, nothing else. The directory gets no format file, so for everyone
    /// else it stays Apache's, and all this can be done again.
    ///
    /// # Errors
    /// [`OpenError`]; also when a replay would end elsewhere than at `end`: then nothing was cut off.
    pub fn open_foreign(
        env: &Env,
        options: &Options,
        end: PhysicalOffset,
        machines: &mut dyn Machine,
    ) -> Result<Self, OpenError> {
        Self::open_as(env, options, Writer::Apache { end }, machines)
    }

    fn open_as(env: &Env, options: &Options, writer: Writer, machines: &mut dyn Machine) -> Result<Self, OpenError> {
        let disk = Arc::clone(&env.disk);
        let layout = Layout::create(&*disk, &options.dir)?;
        let lock: Arc<dyn Send + Sync> = lock(&*disk, &layout)?.into();
        let segments = Arc::new(open_segments(&disk, &layout, options, &writer)?);
        let is_ours = matches!(writer, Writer::Ours);
        if matches!(writer, Writer::Ours) {
            segments.reserve.want();
            segments.keep_reserve();
        }
        let recovery = Recovery { disk: &disk, layout: &layout, segments: &segments, options, is_ours };
        let Recovered { index, end, checkpoint_at, states } = recovery.run(machines)?;
        if let Writer::Apache { end: expected } = writer
            && end.at != expected
        {
            let problem = format!("its records can be read up to {}, not to {expected}", end.at);
            return Err(OpenError::Unusable { path: layout.commit_log, problem });
        }
        let active = segments.cut(checkpoint_at, end.at)?;

        let marks = Marks::new(end.at, options.flush);
        let (signal, dirty) = (Arc::new(Signal::new()), Arc::new(Dirty::default()));
        let hot = Arc::new(HotTail::new(options.hot_bytes));
        let maker = Arc::new(Maker::new(Arc::clone(&segments), active.base + segments.segment_bytes));
        let (reader, pool) = Reader::new(Arc::clone(&hot), marks.clone(), Arc::clone(&segments));
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let flusher = Flusher {
            marks: marks.clone(),
            flush: options.flush,
            dirty: Arc::clone(&dirty),
            segments: Arc::clone(&segments),
            clock: Arc::clone(&env.clock),
            signal: Arc::clone(&signal),
            named_to: active.base,
        };
        let (sweeps, requests) = mpsc::channel(sweeper::REQUESTS_MAX);
        let sweeper = Sweeper {
            disk: Arc::clone(&disk),
            layout: layout.clone(),
            segments: Arc::clone(&segments),
            marks: marks.clone(),
            requests,
            signal: Arc::clone(&signal),
            oldest: BTreeMap::new(),
        };
        let referred = [machines.files().into_iter().map(|file| file.name).collect()].into();
        let (marks_seen, signal_seen) = (marks.clone(), Arc::clone(&signal));
        let publisher = Publisher { disk, layout, marks: marks_seen, jobs: waiting, signal: signal_seen, referred };
        let works = Works { flusher, maker: Arc::clone(&maker), publisher, sweeper, pool, signal: Arc::clone(&signal) };
        let threads = works.spawn(env, &lock);
        let shared = commit_log::Shared {
            segments: Arc::clone(&segments),
            maker: Arc::clone(&maker),
            marks: marks.clone(),
            dirty,
            hot,
        };
        Ok(Self {
            log: CommitLog::new(shared, active, end),
            index,
            segments,
            maker,
            marks,
            reader,
            signal,
            jobs: Some(jobs),
            pending: None,
            published: None,
            checkpoint_at,
            checkpoint_bytes: options.checkpoint_bytes,
            accept_loss_at: options.accept_loss_at,
            sweeps: Some(sweeps),
            expiry: None,
            states,
            threads,
        })
    }
}

/// Who wrote the log.
enum Writer {
    Ours,
    /// Apache's broker, up to here.
    Apache {
        end: PhysicalOffset,
    },
}

/// What runs beside the engine.
struct Works {
    flusher: Flusher,
    maker: Arc<Maker>,
    publisher: Publisher,
    sweeper: Sweeper,
    pool: Arc<Pool>,
    signal: Arc<Signal>,
}

impl Works {
    /// Starts the threads. Each keeps the lock, so that nobody else opens the directory while one of them may
    /// still write in it.
    fn spawn(self, env: &Env, lock: &Arc<dyn Send + Sync>) -> Vec<BoxFuture<()>> {
        let spawn = |name, work: BoxFuture<()>| {
            let lock = Arc::clone(lock);
            let work = async move {
                work.await;
                drop(lock);
            };
            env.tasks.spawn_thread(name, Box::pin(work))
        };
        let mut threads = vec![
            spawn("store-flush", Box::pin(self.flusher.run())),
            spawn("store-segment", Box::pin(self.maker.run(Arc::clone(&env.clock), Arc::clone(&self.signal)))),
            spawn("store-checkpoint", Box::pin(self.publisher.run())),
            spawn("store-sweep", Box::pin(self.sweeper.run())),
        ];
        let reads = || spawn("store-read", Box::pin(Arc::clone(&self.pool).run(Arc::clone(&self.signal))));
        threads.extend(std::iter::repeat_with(reads).take(reader::THREADS));
        threads
    }
}

fn lock(disk: &dyn Disk, layout: &Layout) -> Result<Box<dyn Send + Sync>, OpenError> {
    let path = layout.lock();
    disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked { dir: layout.root.clone() },
        _ => files::Error::at("lock", &path)(error).into(),
    })
}

/// The log's segments; a new directory gets its format file.
fn open_segments(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    options: &Options,
    writer: &Writer,
) -> Result<Segments, OpenError> {
    let Form { segment_bytes, bases, is_written } = Form::find(&**disk, layout, options.segment_bytes)?;
    if !is_written && matches!(writer, Writer::Ours) {
        files::write_format(&**disk, layout, segment_bytes)?;
    }
    let first = bases.first().copied().unwrap_or(0);
    Ok(Segments::new(Arc::clone(disk), layout.commit_log.clone(), segment_bytes, first))
}

/// What a directory says of its log before anything is read of it.
pub(crate) struct Form {
    /// Length of the segments, which a log keeps for ever: positions say segments by it.
    pub(crate) segment_bytes: u64,
    /// Bases of the segments that exist, ascending.
    pub(crate) bases: Vec<u64>,
    /// Whether a format file says so.
    pub(crate) is_written: bool,
}

impl Form {
    /// Reads it; an empty log gets segments of `new_bytes`.
    pub(crate) fn find(disk: &dyn Disk, layout: &Layout, new_bytes: u64) -> Result<Self, OpenError> {
        let format = files::read_format(disk, layout).map_err(|error| match error {
            FormatError::Newer { found } => {
                OpenError::NewerFormat { dir: layout.root.clone(), found, known: FormatError::KNOWN }
            }
            FormatError::Unknown | FormatError::Incomplete => {
                OpenError::Unusable { path: layout.format(), problem: error.to_string() }
            }
            FormatError::Io(error) => error.into(),
        })?;
        let bases = files::positions(disk, &layout.commit_log)?;
        let segment_bytes = match (format, bases.as_slice()) {
            (Some(bytes), _) => bytes,
            (None, []) => new_bytes,
            (None, [first, second, ..]) => second - first,
            (None, [only]) => file_bytes(disk, &layout.commit_log.join(name_of(*only)))?,
        };
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes) {
            return Err(OpenError::SegmentBytes { bytes: segment_bytes });
        }
        let unusable = |base: u64, problem: String| {
            Err(OpenError::Unusable { path: layout.commit_log.join(name_of(base)), problem })
        };
        if let Some(base) = bases.iter().find(|base| *base % segment_bytes != 0) {
            return unusable(*base, format!("its name is not a multiple of the segment length {segment_bytes}"));
        }
        if let Some(base) = bases.last().filter(|base| **base > POSITION_MAX - segment_bytes) {
            return unusable(*base, format!("its name is beyond the last position {POSITION_MAX}"));
        }
        Ok(Self { segment_bytes, bases, is_written: format.is_some() })
    }
}

fn file_bytes(disk: &dyn Disk, path: &Path) -> Result<u64, files::Error> {
    let file = disk.open(path, env::disk::OpenMode::Read).map_err(files::Error::at("open", path))?;
    file.len().map_err(files::Error::at("measure", path))
}
