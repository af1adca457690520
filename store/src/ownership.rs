//! Whose a directory is: making Apache's ours, and ours nobody's. The format file alone decides.

use std::path::Path;

use env::Disk;

use crate::files::{self, Error, FORMAT_NAME, Layout};

/// Makes a directory with a log one of ours; durable on return. What the log must say for that is durable already.
///
/// # Errors
/// [`Error`]; then the directory is still what it was.
pub fn claim(disk: &dyn Disk, dir: &Path, segment_bytes: u64) -> Result<(), Error> {
    files::write_format(disk, &Layout::of(dir), segment_bytes)
}

/// Puts a file in place, whole or not at all; durable on return.
///
/// # Errors
/// [`Error`]; then what was there before is still there.
pub fn put_file(disk: &dyn Disk, dir: &Path, name: &str, content: &[u8]) -> Result<(), Error> {
    files::replace(disk, dir, name, &[content])
}

/// Makes a directory of ours nobody's: takes the checkpoints away, then the format file, durably, then the rest of what is
/// derived. The log stays as it is. The caller holds the directory's lock.
///
/// # Errors
/// [`Error`]; when the format file is gone already, index runs are left over, which the next [`crate::Store::open_foreign`]
/// removes. Checkpoints without a format file tell that it was lost otherwise.
pub fn disown(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let layout = Layout::of(dir);
    files::remove_unless(disk, &layout.checkpoints, |_| false)?;
    disk.sync_dir(&layout.checkpoints).map_err(Error::at("sync", &layout.checkpoints))?;
    if disk.list(dir).map_err(Error::at("list", dir))?.iter().any(|name| name == FORMAT_NAME) {
        let format = layout.format();
        disk.remove(&format).map_err(Error::at("remove", &format))?;
        disk.sync_dir(dir).map_err(Error::at("sync", dir))?;
    }
    files::remove_machine_files(disk, &layout.timers, |_| false)?;
    files::remove_unless(disk, &layout.queue_index, |_| false)
}

/// Removes a store from a directory, its log too; durable on return. What else is there stays. The caller holds the directory's lock.
///
/// # Errors
/// [`Error`]; then it can be done again.
pub fn erase(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let layout = Layout::create(disk, dir)?;
    disown(disk, dir)?;
    for name in disk.list(&layout.commit_log).map_err(Error::at("list", &layout.commit_log))? {
        let path = layout.commit_log.join(name);
        disk.remove(&path).map_err(Error::at("remove", &path))?;
    }
    for dir in [&layout.commit_log, &layout.queue_index, &layout.timers] {
        disk.sync_dir(dir).map_err(Error::at("sync", dir))?;
    }
    Ok(())
}
