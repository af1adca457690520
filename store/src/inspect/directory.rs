//! Opening a directory to look at it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::Disk;
use record::Record;
use types::PhysicalOffset;

use crate::files::{self, Layout, name_of};
use crate::machine::RestoreError;
use crate::options::SEGMENT_BYTES_LOCAL;
use crate::segments::Segments;
use crate::store::{Form, OpenError};

/// Says whether a checkpoint's snapshot is one that the machines understand, and how the files are checked that it refers to; the
/// store itself knows nothing of either.
pub type SnapshotCheck = fn(&[u8]) -> Result<Vec<Box<dyn FileCheck>>, RestoreError>;

/// A machine's file, to be compared with the records that it is made of: opened, given these records in order, then asked.
pub trait FileCheck {
    /// Its name in the folder `timers`.
    fn name(&self) -> String;

    /// The stretch of the log whose records it is a function of.
    fn stretch(&self) -> Range<PhysicalOffset>;

    /// Reads all of it; memory holds what it says from now on. The text says why it cannot be used.
    ///
    /// # Errors
    /// That text.
    fn open(&mut self, disk: &dyn Disk, folder: &Path) -> Result<(), String>;

    /// Takes a record of the stretch.
    fn apply(&mut self, record: &Record<'_>);

    /// After all records of the stretch from the log's beginning at `first` on: the text says what of the file differs from them.
    ///
    /// # Errors
    /// That text.
    fn compare(&self, first: PhysicalOffset) -> Result<(), String>;
}

/// A store's directory, to look at. Nothing in it is changed and its lock is not taken.
pub struct Directory {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) layout: Layout,
    pub(super) segments: Segments,
    pub(super) has_format: bool,
    pub(super) is_in_use: bool,
    pub(super) check_snapshot: SnapshotCheck,
}

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of a store's files.
    #[error("{dir} holds no store: it has neither a format file nor a log", dir = dir.display())]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// A start would refuse it too.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system refused something.
    #[error(transparent)]
    Io(#[from] files::Error),
}

impl Directory {
    /// Opens a directory. Whether a server uses it is looked up now.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, check_snapshot: SnapshotCheck) -> Result<Self, Error> {
        let layout = Layout::of(dir);
        let lock = layout.lock();
        let is_in_use = disk.is_locked(&lock).map_err(files::Error::at("look at", &lock))?;
        let Form { segment_bytes, bases, is_written } = Form::find(&**disk, &layout, SEGMENT_BYTES_LOCAL)?;
        if bases.is_empty() && !is_written {
            return Err(Error::NoStore { dir: dir.to_owned() });
        }
        let first = bases.first().copied().unwrap_or(0);
        let segments = Segments::new(Arc::clone(disk), layout.commit_log.clone(), segment_bytes, first);
        Ok(Self { disk: Arc::clone(disk), layout, segments, has_format: is_written, is_in_use, check_snapshot })
    }

    /// Whether a server had it in use when it was opened.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.is_in_use
    }

    /// Length of the log's segments in bytes.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segments.segment_bytes
    }

    /// Where the log's first segment begins.
    #[must_use]
    pub fn log_first(&self) -> types::PhysicalOffset {
        types::PhysicalOffset(self.first())
    }

    /// First position of the log.
    pub(super) fn first(&self) -> u64 {
        self.segments.first()
    }

    /// Position behind the last segment that exists now.
    pub(super) fn limit(&self) -> Result<u64, files::Error> {
        Ok(self.segments.bases()?.last().map_or(self.first(), |last| last + self.segment_bytes()))
    }

    pub(super) fn checkpoint_path(&self, at: u64) -> PathBuf {
        self.layout.checkpoints.join(name_of(at))
    }

    pub(super) fn run_path(&self, from: u64) -> PathBuf {
        self.layout.queue_index.join(name_of(from))
    }
}
