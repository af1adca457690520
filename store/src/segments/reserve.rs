//! Room for one more segment, kept in a file beside the log's segments, so that on a disk that is full to the last byte the log
//! can still take what ends messages and carries them forward: that is what makes room again.
//!
//! When a segment cannot be made for want of room, the file becomes that segment by its name: nobody else gets the room in
//! between. From that segment's base on ([`Reserve::limit`]) the log takes no messages until there is a reserve again.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use env::disk::OpenMode;

use super::{Segment, Segments};
use crate::files::Error;

/// The file's name, in the log's directory.
pub(crate) const NAME: &str = "reserve";

const NONE: u8 = 0;
const WANTED: u8 = 1;
const KEPT: u8 = 2;

/// What is known of the reserve. Changed at start, and then by the one who makes segments.
pub(crate) struct Reserve {
    /// `NONE`: none is to be kept. `WANTED`: there is none. `KEPT`: it is there.
    state: AtomicU8,
    limit: AtomicU64,
}

impl Default for Reserve {
    /// None, and none is to be kept.
    fn default() -> Self {
        Self { state: AtomicU8::new(NONE), limit: AtomicU64::new(u64::MAX) }
    }
}

impl Reserve {
    /// Says that one is to be kept.
    pub(crate) fn want(&self) {
        self.state.store(WANTED, Ordering::Release);
    }

    /// Whether one is to be kept and there is none.
    pub(crate) fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Acquire) == WANTED
    }

    /// Says that a segment was made: where there is no reserve it takes its place.
    pub(super) fn stands_in(&self, base: u64) {
        if self.is_wanted() {
            self.limit.fetch_min(base, Ordering::AcqRel);
        }
    }

    /// Where the log ends for messages: the base of the segment that is kept for the rest, as long as there is no reserve.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }
}

impl Segments {
    /// Makes the reserve when one is wanted and there is room. What is left of another life's is emptied first: it may have been a
    /// segment whose name was lost.
    pub(crate) fn keep_reserve(&self) {
        if !self.reserve.is_wanted() {
            return;
        }
        match self.allocate(&self.dir.join(NAME)) {
            Ok(_) => {
                self.reserve.state.store(KEPT, Ordering::Release);
                self.reserve.limit.store(u64::MAX, Ordering::Release);
            }
            Err(error) => tracing::debug!(%error, "the log has no reserve"),
        }
    }

    /// Makes the reserve a segment, if there is one.
    pub(super) fn take_reserve(&self, base: u64) -> Option<Segment> {
        if self.reserve.state.load(Ordering::Acquire) != KEPT {
            return None;
        }
        let (kept, path) = (self.dir.join(NAME), self.path(base));
        let taken = self.disk.rename(&kept, &path).and_then(|()| self.disk.open(&path, OpenMode::ReadWrite));
        match taken {
            Ok(file) => {
                self.reserve.state.store(WANTED, Ordering::Release);
                self.reserve.stands_in(base);
                tracing::error!(base, "the disk is full: the log goes on in its reserve and takes no messages");
                Some(Segment { base, file })
            }
            Err(error) => {
                tracing::error!(%error, base, "the log's reserve cannot be used");
                None
            }
        }
    }

    /// Removes the reserve for good: the directory is about to become another one's.
    pub(crate) fn drop_reserve(&self) -> Result<(), Error> {
        self.reserve.state.store(NONE, Ordering::Release);
        let path = self.dir.join(NAME);
        match self.disk.remove(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(Error::at("remove", &path)).and_then(|()| self.sync_dir()),
        }
    }
}
