//! The machine's file system, by plain system calls (Linux).
//!
//! Calls that a signal interrupts are repeated, short reads and writes are continued: callers see all or an error.

mod lock;

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};

use super::{Disk, File, OpenMode, Space};

/// Most slices of one `pwritev`. Source: Linux `UIO_MAXIOV`.
const SLICES_MAX: usize = 1024;
/// Zeros written at once where the file system cannot reserve room by itself.
const ZEROS_BYTES: usize = 1024 * 1024;

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::ReadWrite => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(true),
        };
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        names(dir, fs::FileType::is_file)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        names(dir, fs::FileType::is_dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|dir| is_named(dir) && !dir.is_dir()).collect();
        for dir in missing.iter().rev() {
            match fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => self.sync_dir(parent(dir))?,
            }
        }
        if missing.is_empty() && is_named(dir) {
            // It may have been made a moment ago by somebody who did not sync. Where we may not even look into its
            // parent, it was made by a more powerful user long before us.
            match self.sync_dir(parent(dir)) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam that the rule points to")]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = fs::File::open(dir)?;
        Ok(retry_on_intr(|| rustix::fs::fsync(&dir))?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(lock::take(path)?))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        lock::is_held(path)
    }

    /// As `df` counts: blocks kept for root are neither used nor free.
    fn space(&self, dir: &Path) -> io::Result<Space> {
        let found = retry_on_intr(|| rustix::fs::statvfs(dir))?;
        let used_blocks = found.f_blocks.saturating_sub(found.f_bfree);
        Ok(Space {
            total_bytes: used_blocks.saturating_add(found.f_bavail).saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}

/// What a directory holds of one kind, by name.
fn names(dir: &Path, is_wanted: fn(&fs::FileType) -> bool) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 is none of ours.
        if let (true, Ok(name)) = (is_wanted(&entry.file_type()?), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a path has a name of its own, as neither `/` nor the empty path has.
fn is_named(path: &Path) -> bool {
    path.file_name().is_some()
}

/// The directory that a path's entry is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let rest @ [_, ..] = &mut buffer[done..] {
            match retry_on_intr(|| rustix::io::pread(&self.0, &mut *rest, offset + done as u64))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut offset = offset;
        for slices in slices.chunks(SLICES_MAX) {
            offset += write_chunk(&self.0, slices, offset)?;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::fdatasync(&self.0))?)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let old_bytes = self.len()?;
        if bytes > 0 {
            match retry_on_intr(|| rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, bytes)) {
                Err(Errno::OPNOTSUPP) => write_zeros(&self.0, old_bytes, bytes)?,
                Err(Errno::DQUOT) => return Err(io::ErrorKind::StorageFull.into()),
                other => other?,
            }
        }
        if old_bytes > bytes { self.set_len(bytes) } else { Ok(()) }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.0, bytes))?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Writes all of at most [`SLICES_MAX`] slices; returns how many bytes they have.
fn write_chunk(file: impl AsFd, slices: &[IoSlice<'_>], offset: u64) -> io::Result<u64> {
    let written = retry_on_intr(|| rustix::io::pwritev(&file, slices, offset))?;
    // Almost always all is written. Else what is left is written slice by slice.
    let mut position = offset;
    let mut skip = written;
    for slice in slices {
        if skip < slice.len() {
            write_all(&file, &slice[skip..], position + skip as u64)?;
        }
        skip = skip.saturating_sub(slice.len());
        position += slice.len() as u64;
    }
    Ok(position - offset)
}

fn write_all(file: impl AsFd, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match retry_on_intr(|| rustix::io::pwrite(&file, &bytes[done..], offset + done as u64))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => done += count,
        }
    }
    Ok(())
}

/// Reserves room the slow way, for file systems without `fallocate` (NFS, some FUSE).
fn write_zeros(file: impl AsFd, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut offset = from;
    while offset < to {
        let count = usize::try_from(to - offset).map_or(ZEROS_BYTES, |left| left.min(ZEROS_BYTES));
        write_all(&file, &zeros[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_slices_than_one_call_takes_are_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = OsDisk.open(&dir.path().join("f"), OpenMode::Create).expect("created");
        let bytes: Vec<u8> = (0..3000u32).map(|i| i.to_le_bytes()[0]).collect();
        let slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
        file.write_all_at(&slices, 5).expect("written");
        let mut read = vec![0; 4000];
        assert_eq!(file.read_at(&mut read, 5).expect("read"), 3000);
        assert_eq!(read[..3000], bytes);
    }

    #[test]
    fn zeros_reserve_room_to_the_byte() {
        let file = tempfile::tempfile().expect("a temporary file");
        write_zeros(&file, 3, ZEROS_BYTES as u64 + 10).expect("written");
        assert_eq!(file.metadata().expect("stat").len(), ZEROS_BYTES as u64 + 10);
    }

    #[test]
    fn a_relative_path_has_a_parent() {
        assert_eq!(parent(Path::new("data")), Path::new("."));
        assert_eq!(parent(Path::new("a/data")), Path::new("a"));
        assert_eq!(parent(Path::new("/data")), Path::new("/"));
    }
}
