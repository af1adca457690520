//! The lock on a data directory, by Apache's rule: a POSIX lock that covers byte 0 of its `lock` file.
//!
//! Such a lock belongs to the process: it does not exclude a second store of the same process, and closing any
//! descriptor of the file ends it. So the files that this process has locked are remembered and not opened again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Device and inode of the files that this process has locked; a process-wide fact, hence no field. Held while
/// a lock is taken or given back.
static LOCKED: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// A lock that is held.
pub(super) struct Lock {
    /// Closing it ends the lock; an option only so that [`Drop`] can do that at the right moment.
    file: Option<fs::File>,
    id: (u64, u64),
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut locked = LOCKED.lock();
        drop(self.file.take());
        locked.remove(&self.id);
    }
}

/// Takes the lock on `path`, creating the file. It covers all bytes: that excludes those who lock byte 0 alone.
#[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
pub(super) fn take(path: &Path) -> io::Result<Lock> {
    let mut locked = LOCKED.lock();
    if fs::metadata(path).is_ok_and(|metadata| locked.contains(&id_of(&metadata))) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        // Both mean a lock of another process. Source: fcntl(2).
        Err(Errno::AGAIN | Errno::ACCESS) => return Err(io::ErrorKind::WouldBlock.into()),
        other => other?,
    }
    let id = id_of(&file.metadata()?);
    locked.insert(id);
    Ok(Lock { file: Some(file), id })
}

/// Whether this process or another holds the lock on `path`. A file that this process has locked is not opened.
#[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
pub(super) fn is_held(path: &Path) -> io::Result<bool> {
    let locked = LOCKED.lock();
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(metadata) if locked.contains(&id_of(&metadata)) => Ok(true),
        Ok(_) => Ok(fcntl_getlk(fs::File::open(path)?, &Flock::from(FlockType::WriteLock))?.is_some()),
    }
}

fn id_of(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
