//! What the store's files have in common: names, durable replacement, the directory's format.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use env::Disk;
use env::disk::OpenMode;

use crate::machine::MachineFile;

/// Files of ours are small but for the log's: a checkpoint or index run beyond this is not read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// The newest form of the directory that this version knows.
const FORMAT: u32 = 1;
pub(crate) const FORMAT_NAME: &str = "format";
/// Stands in the format file of a copy that is not whole.
const INCOMPLETE: &str = "incomplete copy of a store\n";
const TEMPORARY: &str = ".tmp";
/// The folder of the log's segments, whose names are the positions that they begin at.
pub const COMMIT_LOG_NAME: &str = "commitlog";
/// The folder of the machines' files.
pub const TIMERS_NAME: &str = "timers";

/// The system refused something.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {error}", path = path.display())]
pub struct Error {
    /// What was tried.
    pub what: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub error: io::Error,
}

impl Error {
    /// For `map_err`: names what was tried on which path.
    pub(crate) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { what, path, error }
    }
}

/// Why the directory's format does not allow opening it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("format {found} is newer than {FORMAT}")]
    Newer { found: u32 },
    #[error("it is not a format file of ours")]
    Unknown,
    #[error("it says that a backup or restore was not finished: do it again into an empty directory")]
    Incomplete,
    #[error(transparent)]
    Io(#[from] Error),
}

impl FormatError {
    pub(crate) const KNOWN: u32 = FORMAT;
}

/// The directories of a store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) commit_log: PathBuf,
    pub(crate) queue_index: PathBuf,
    pub(crate) checkpoints: PathBuf,
    /// Machines' files; only the timers have any.
    pub(crate) timers: PathBuf,
}

impl Layout {
    /// The layout of a root directory, whether it is there or not.
    pub(crate) fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            commit_log: root.join(COMMIT_LOG_NAME),
            queue_index: root.join("queueindex"),
            checkpoints: root.join("checkpoints"),
            timers: root.join(TIMERS_NAME),
        }
    }

    /// The layout of a root directory; makes what is missing.
    pub(crate) fn create(disk: &dyn Disk, root: &Path) -> Result<Self, Error> {
        let layout = Self::of(root);
        for dir in [&layout.commit_log, &layout.queue_index, &layout.checkpoints, &layout.timers] {
            disk.create_dir_all(dir).map_err(Error::at("create directory", dir))?;
        }
        Ok(layout)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.root.join(FORMAT_NAME)
    }
}

/// Reads the length of the log's segments from the format file, two lines of text (`gantry-store 1`,
/// `segment_bytes 67108864`); `None` in a directory that has none, as a new one or Apache's.
pub(crate) fn read_format(disk: &dyn Disk, layout: &Layout) -> Result<Option<u64>, FormatError> {
    let names = disk.list(&layout.root).map_err(Error::at("list", &layout.root))?;
    if !names.iter().any(|name| name == FORMAT_NAME) {
        return Ok(None);
    }
    let bytes = read(disk, &layout.format())?;
    let text = str::from_utf8(&bytes).map_err(|_| FormatError::Unknown)?;
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    if text == INCOMPLETE {
        return Err(FormatError::Incomplete);
    }
    let format = number("gantry-store ").ok_or(FormatError::Unknown)?;
    if format > u64::from(FORMAT) {
        return Err(FormatError::Newer { found: u32::try_from(format).unwrap_or(u32::MAX) });
    }
    number("segment_bytes ").map(Some).ok_or(FormatError::Unknown)
}

/// Writes the format file; durable on return.
pub(crate) fn write_format(disk: &dyn Disk, layout: &Layout, segment_bytes: u64) -> Result<(), Error> {
    replace(disk, &layout.root, FORMAT_NAME, &[format_text(segment_bytes).as_bytes()])
}

/// Writes a format file that a start refuses, for as long as a directory is being filled; durable on return.
pub(crate) fn write_incomplete(disk: &dyn Disk, layout: &Layout) -> Result<(), Error> {
    replace(disk, &layout.root, FORMAT_NAME, &[INCOMPLETE.as_bytes()])
}

/// What the format file of this version says.
pub(crate) fn format_text(segment_bytes: u64) -> String {
    format!("gantry-store {FORMAT}\nsegment_bytes {segment_bytes}\n")
}

/// A file's name by the position at which its content begins: 20 digits, as Apache names segments.
pub(crate) fn name_of(position: u64) -> String {
    format!("{position:020}")
}

/// The position that a file's name says; `None` for a name of another form.
pub(crate) fn position_of(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit())).then(|| name.parse().ok())?
}

/// The positions of the files in a directory, ascending, with names of another form left out.
pub(crate) fn positions(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, Error> {
    let names = disk.list(dir).map_err(Error::at("list", dir))?;
    let mut positions: Vec<u64> = names.iter().filter_map(|name| position_of(name)).collect();
    positions.sort_unstable();
    Ok(positions)
}

/// Reads a whole file.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, Error> {
    let file = disk.open(path, OpenMode::Read).map_err(Error::at("open", path))?;
    let bytes = file.len().map_err(Error::at("measure", path))?;
    if bytes > FILE_BYTES_MAX {
        return Err(Error::at("read", path)(io::ErrorKind::FileTooLarge.into()));
    }
    let mut content = vec![0; bytes as usize];
    let read = file.read_at(&mut content, 0).map_err(Error::at("read", path))?;
    content.truncate(read);
    Ok(content)
}

/// Puts a file in place, whole or not at all: written beside, synced, renamed, and durable on return. When that fails, what was
/// written beside goes at once: the disk may be full.
pub(crate) fn replace(disk: &dyn Disk, dir: &Path, name: &str, parts: &[&[u8]]) -> Result<(), Error> {
    let (path, temporary) = (dir.join(name), dir.join(format!("{name}{TEMPORARY}")));
    write_whole(disk, &temporary, parts)
        .and_then(|()| disk.rename(&temporary, &path).map_err(Error::at("rename", &temporary)))
        // The first error is the one to tell; there may be no file to remove.
        .inspect_err(|_| drop(disk.remove(&temporary)))?;
    disk.sync_dir(dir).map_err(Error::at("sync", dir))
}

/// Writes a file from its first byte on and syncs it.
fn write_whole(disk: &dyn Disk, path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let file = disk.open(path, OpenMode::Create).map_err(Error::at("create", path))?;
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    file.write_all_at(&slices, 0).map_err(Error::at("write", path))?;
    file.sync_data().map_err(Error::at("sync", path))
}

/// Removes the files of `dir` whose position `is_wanted` denies, and what was never renamed into place; durable at the
/// directory's next sync.
pub(crate) fn remove_unless(disk: &dyn Disk, dir: &Path, is_wanted: impl Fn(u64) -> bool) -> Result<(), Error> {
    for name in disk.list(dir).map_err(Error::at("list", dir))? {
        let is_temporary = name.strip_suffix(TEMPORARY).is_some_and(|stem| position_of(stem).is_some());
        if is_temporary || position_of(&name).is_some_and(|position| !is_wanted(position)) {
            let path = dir.join(name);
            disk.remove(&path).map_err(Error::at("remove", &path))?;
        }
    }
    Ok(())
}

/// Makes a machine's file, if it is to be made, and puts it in place; durable on return. One that cannot be made, because what it
/// is made of is damaged, is left to its machine to notice.
pub(crate) fn put_machine_file(disk: &dyn Disk, dir: &Path, file: &MachineFile) -> Result<(), Error> {
    let MachineFile { name, content: Some(content) } = file else { return Ok(()) };
    match content(disk, dir) {
        Ok(bytes) => replace(disk, dir, name, &[&bytes]),
        Err(problem) => {
            tracing::warn!(name, problem, "a file of a machine cannot be made from the one before");
            Ok(())
        }
    }
}

/// Removes the machines' files that are not `wanted`; durable at the directory's next sync.
pub(crate) fn remove_machine_files(disk: &dyn Disk, dir: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
    for name in disk.list(dir).map_err(Error::at("list", dir))?.iter().filter(|name| !is_wanted(name)) {
        let path = dir.join(name);
        disk.remove(&path).map_err(Error::at("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_twenty_digits() {
        assert_eq!(name_of(1_073_741_824), "00000000001073741824");
        assert_eq!(position_of("00000000001073741824"), Some(1_073_741_824));
        assert_eq!(position_of("00000000001073741824.tmp"), None);
        assert_eq!(position_of("1073741824"), None);
        assert_eq!(position_of("99999999999999999999"), None);
    }
}
