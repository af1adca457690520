//! The log's files: which there are, opening and making them.

mod maker;
mod reserve;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use env::disk::OpenMode;
use env::{Disk, File};
use parking_lot::Mutex;
use types::PhysicalOffset;

use crate::files::{Error, name_of, positions};

pub(crate) use maker::{Maker, NotReady};
pub(crate) use reserve::{NAME as RESERVE_NAME, Reserve};

/// Bytes that are written again at once.
const RENEW_BYTES: usize = 1024 * 1024;
/// Most segments that are held open for cold reads.
const OPEN_MAX: usize = 64;

/// One file of the log.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    pub(crate) file: Arc<dyn File>,
}

/// The log's directory. All segments have one length and are named by multiples of it, so that a position
/// says its segment.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) segment_bytes: u64,
    /// Base of the oldest segment that has not expired.
    first: AtomicU64,
    /// Opened for reading; held for a look-up.
    open: Mutex<BTreeMap<u64, Arc<dyn File>>>,
    /// Room for one more.
    pub(crate) reserve: Reserve,
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, segment_bytes: u64, first: u64) -> Self {
        let open = Mutex::new(BTreeMap::new());
        Self { disk, dir, segment_bytes, first: AtomicU64::new(first), open, reserve: Reserve::default() }
    }

    /// Position of the log's first byte that is still there.
    pub(crate) fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// Base of the segment that holds a position.
    pub(crate) fn base_of(&self, position: u64) -> u64 {
        position - position % self.segment_bytes
    }

    /// End of the segment that holds a position.
    pub(crate) fn end_of(&self, position: u64) -> u64 {
        self.base_of(position) + self.segment_bytes
    }

    pub(crate) fn path(&self, base: u64) -> PathBuf {
        self.dir.join(name_of(base))
    }

    /// Bases of the segments that exist, ascending.
    pub(crate) fn bases(&self) -> Result<Vec<u64>, Error> {
        positions(&*self.disk, &self.dir)
    }

    /// Bases of the segments from the first one up to the one that holds `to` that are not there, ascending.
    pub(crate) fn missing_before(&self, to: u64) -> Result<Vec<u64>, Error> {
        let (bases, steps) = (self.bases()?, usize::try_from(self.segment_bytes).unwrap_or(usize::MAX));
        let expected = (self.first()..to).step_by(steps);
        Ok(expected.filter(|base| bases.binary_search(base).is_err()).collect())
    }

    /// Opens a segment for writing.
    pub(crate) fn open(&self, base: u64) -> Result<Segment, Error> {
        let path = self.path(base);
        let file = self.disk.open(&path, OpenMode::ReadWrite).map_err(Error::at("open", &path))?;
        Ok(Segment { base, file })
    }

    /// The file that holds a position, for reading.
    pub(crate) fn reading(&self, position: u64) -> io::Result<Arc<dyn File>> {
        let base = self.base_of(position);
        let mut open = self.open.lock();
        if base < self.first() {
            return Err(io::Error::new(ErrorKind::NotFound, "this part of the log has expired"));
        }
        if let Some(file) = open.get(&base) {
            return Ok(Arc::clone(file));
        }
        let file = self.disk.open(&self.path(base), OpenMode::Read)?;
        if open.len() >= OPEN_MAX {
            open.pop_first();
        }
        open.insert(base, Arc::clone(&file));
        Ok(file)
    }

    /// Makes a segment, all zeros, with room on the disk, on a full one out of the [`Reserve`]. Neither the file nor its name is durable on return: the
    /// flusher sees to both before it calls any of its bytes durable.
    pub(crate) fn create(&self, base: u64) -> Result<Segment, Error> {
        match self.allocate(&self.path(base)) {
            Ok(file) => {
                self.reserve.stands_in(base);
                Ok(Segment { base, file })
            }
            Err(error) if error.error.kind() == ErrorKind::StorageFull => self.take_reserve(base).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// A new file of a segment's length, all zeros, with room on the disk.
    fn allocate(&self, path: &Path) -> Result<Arc<dyn File>, Error> {
        let file = self.disk.open(path, OpenMode::Create).map_err(Error::at("create", path))?;
        if let Err(error) = file.allocate(self.segment_bytes) {
            drop(file);
            // A short segment would be taken for a torn one at the next start; if this fails too it is, harmlessly.
            let _ = self.disk.remove(path);
            return Err(Error::at("allocate", path)(error));
        }
        Ok(file)
    }

    /// Nothing before `base` is read from now on; who is reading goes on with the file that is open.
    pub(crate) fn expire_before(&self, base: u64) {
        self.first.fetch_max(base, Ordering::AcqRel);
        self.open.lock().retain(|open, _| *open >= base);
    }

    pub(crate) fn sync_dir(&self) -> Result<(), Error> {
        self.disk.sync_dir(&self.dir).map_err(Error::at("sync", &self.dir))
    }

    /// Writes the bytes of a segment from `from` to `to` again as they are, so that the next sync brings them to the disk
    /// whatever became of them before: after a failed sync the system may call bytes clean that it still shows and
    /// the disk never got, and then a later sync, of another process too, succeeds without them.
    pub(crate) fn renew(&self, segment: &Segment, from: u64, to: u64) -> Result<(), Error> {
        let path = self.path(segment.base);
        let mut buffer = vec![0; RENEW_BYTES];
        let mut position = from.max(segment.base);
        while position < to {
            let wanted = usize::try_from(to - position).map_or(RENEW_BYTES, |left| left.min(RENEW_BYTES));
            let at = position - segment.base;
            let read = segment.file.read_at(&mut buffer[..wanted], at).map_err(Error::at("read", &path))?;
            if read == 0 {
                break;
            }
            segment.file.write_all_at(&[IoSlice::new(&buffer[..read])], at).map_err(Error::at("write", &path))?;
            position += read as u64;
        }
        Ok(())
    }

    /// Cuts the log off at `end`, of which all from `replayed_from` on may be the system's only: removes the segments
    /// behind, makes the rest of its segment zeros, and all of it durable, so that no stale record can follow a new
    /// one. Returns the segment to go on in.
    pub(crate) fn cut(&self, replayed_from: PhysicalOffset, end: PhysicalOffset) -> Result<Segment, Error> {
        let base = self.base_of(end.0);
        let bases = self.bases()?;
        // From the last one down: a crash in between leaves a log that is cut off at the same place again.
        for &later in bases.iter().rev().take_while(|&&b| b > base) {
            let path = self.path(later);
            self.disk.remove(&path).map_err(Error::at("remove", &path))?;
        }
        self.open.lock().clear();
        let segment = if bases.contains(&base) { self.open(base)? } else { self.create(base)? };
        let path = self.path(base);
        self.renew(&segment, replayed_from.0, end.0)?;
        segment.file.set_len(end.0 - base).map_err(Error::at("cut", &path))?;
        segment.file.allocate(self.segment_bytes).map_err(Error::at("allocate", &path))?;
        segment.file.sync_data().map_err(Error::at("sync", &path))?;
        self.sync_dir()?;
        Ok(segment)
    }
}
