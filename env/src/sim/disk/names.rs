//! The names of files: as processes see them, as they are durable, and the changes between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::FileId;

/// Directories and the files in them.
#[derive(Default)]
pub(super) struct Names {
    /// Directories besides the root and the process's own; durable at once, by the contract of [`crate::Disk`].
    dirs: BTreeSet<PathBuf>,
    visible: BTreeMap<PathBuf, FileId>,
    durable: BTreeMap<PathBuf, FileId>,
    /// Changes that lead from `durable` to `visible`, in order.
    unsynced: Vec<Change>,
}

/// A change of names. Each is atomic and holds for one file, so that it makes sense whatever became of those before.
enum Change {
    Link { path: PathBuf, id: FileId },
    Rename { from: PathBuf, to: PathBuf, id: FileId },
    Unlink { path: PathBuf, id: FileId },
}

impl Names {
    /// The file of this name.
    pub(super) fn find(&self, path: &Path) -> io::Result<FileId> {
        self.visible.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// All names and their files, sorted.
    pub(super) fn files(&self) -> impl Iterator<Item = (&PathBuf, &FileId)> {
        self.visible.iter()
    }

    /// Files that have a name, or will have one again after a power loss.
    pub(super) fn linked(&self) -> BTreeSet<FileId> {
        let unsynced = self.unsynced.iter().map(Change::id);
        self.visible.values().chain(self.durable.values()).copied().chain(unsynced).collect()
    }

    /// The names of the files in a directory, sorted.
    pub(super) fn list(&self, dir: &Path) -> Vec<String> {
        let inside = self.visible.keys().filter(|path| parent(path) == dir);
        inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
    }

    /// The names of the directories in a directory, sorted.
    pub(super) fn list_dirs(&self, dir: &Path) -> Vec<String> {
        let inside = self.dirs.iter().filter(|path| path.parent() == Some(dir));
        inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
    }

    pub(super) fn create_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        if dir.ancestors().any(|dir| self.visible.contains_key(dir)) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    pub(super) fn link(&mut self, path: &Path, id: FileId) -> io::Result<()> {
        self.check_dir(parent(path))?;
        self.change(Change::Link { path: path.to_owned(), id });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_dir(parent(to))?;
        let id = self.find(from)?;
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), id });
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        self.change(Change::Unlink { path: path.to_owned(), id });
        Ok(())
    }

    /// Makes the changes of a directory durable.
    pub(super) fn sync(&mut self, dir: &Path) -> io::Result<()> {
        self.check_dir(dir)?;
        for change in self.unsynced.extract_if(.., |change| change.touches(dir)) {
            change.apply(&mut self.durable);
        }
        Ok(())
    }

    /// Keeps of the changes that were not synced what chance wants, about so many in a hundred.
    pub(super) fn lose_power(&mut self, rng: &mut fastrand::Rng, kept_percent: u8) {
        for change in self.unsynced.drain(..) {
            if rng.u8(..100) < kept_percent {
                change.apply(&mut self.durable);
            }
        }
        self.visible = self.durable.clone();
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.unsynced.push(change);
    }

    pub(super) fn check_dir(&self, dir: &Path) -> io::Result<()> {
        let is_root = dir.parent().is_none();
        if is_root || self.dirs.contains(dir) { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }
}

impl Change {
    fn id(&self) -> FileId {
        match self {
            Self::Link { id, .. } | Self::Rename { id, .. } | Self::Unlink { id, .. } => *id,
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        match self {
            Self::Link { path, .. } | Self::Unlink { path, .. } => parent(path) == dir,
            Self::Rename { from, to, .. } => parent(from) == dir || parent(to) == dir,
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Self::Link { path, id } => {
                names.insert(path.clone(), *id);
            }
            Self::Rename { from, to, id } => {
                if names.get(from) == Some(id) {
                    names.remove(from);
                }
                names.insert(to.clone(), *id);
            }
            Self::Unlink { path, id } => {
                if names.get(path) == Some(id) {
                    names.remove(path);
                }
            }
        }
    }
}

/// The directory that a path's entry is in; the empty path is the process's own.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
