//! Files: what the store needs of a disk, and no more.

#[cfg(test)]
mod contract;
pub mod os;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// A file system. Paths are absolute or relative to the process; calls block.
pub trait Disk: Send + Sync {
    /// Opens a file for reading and, unless `mode` says otherwise, writing.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The names of the files in a directory, sorted; empty when the directory does not exist.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The names of the directories in a directory, sorted; empty when the directory does not exist.
    ///
    /// # Errors
    /// The system's.
    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and those above it; their existence is durable on return.
    ///
    /// # Errors
    /// The system's.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file, replacing `to`; durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the directory's entries durable: files created, renamed and removed in it.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive POSIX lock on byte 0 of `path`, creating the file (Apache's `lock` file rule).
    /// It is held until the returned value is dropped or the process dies.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process holds it; else the system's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;

    /// Whether somebody, this process included, holds [`Disk::lock`] on `path`. Takes and makes nothing, so that
    /// nobody is refused because somebody looked.
    ///
    /// # Errors
    /// The system's.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;

    /// The room of the file system that `dir` is in.
    ///
    /// # Errors
    /// The system's.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What files may use in all: what is in use, and [`Space::free_bytes`].
    pub total_bytes: u64,
    /// What this process may still use; what is kept for the system's administrator is not in it.
    pub free_bytes: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It exists and is only read.
    Read,
    /// It exists.
    ReadWrite,
    /// It is created, or emptied if it exists. Its existence is durable only after [`Disk::sync_dir`].
    Create,
}

/// An open file. Calls block and may run at the same time on several threads.
#[expect(clippy::len_without_is_empty, reason = "a file is not a collection; `len` is a call that may fail")]
pub trait File: Send + Sync {
    /// Reads at most `buffer.len()` bytes at `offset`; fewer only at the file's end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes of `slices`, one after the other, from `offset` on. On return they are in the system's
    /// hands, durable only after [`File::sync_data`]; after an error any part of them may be.
    ///
    /// # Errors
    /// The system's.
    fn write_all_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Makes all written bytes and the file's length durable. After an error nothing may be assumed of what was
    /// written since the last success: the caller must not try again.
    ///
    /// # Errors
    /// The system's.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the file `bytes` long with room on the disk for all of it; new bytes are zeros.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] when there is no room; else the system's.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Sets the file's length; new bytes are zeros and need room only when written.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// The file's length.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;
}
