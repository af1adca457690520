//! What a directory says of its log's segments that are damaged, until they have come from the master again: the file `damaged`.
//!
//! | content                | lines                                             |
//! |------------------------|---------------------------------------------------|
//! | `gantry damaged 1\n`   | the first                                         |
//! | a number and `\n`      | each further one: where a damaged segment begins  |

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use env::Disk;
use store::{FileError, OpenError};

use crate::handle::StartError;
use crate::takeover::{self, failed};

const NAME: &str = "damaged";
const HEAD: &str = "gantry damaged 1";

/// Where the damaged segments begin; none without the file.
///
/// # Errors
/// The system's, and where a newer version wrote the file.
pub(crate) fn noted(disk: &dyn Disk, dir: &Path) -> Result<BTreeSet<u64>, FileError> {
    let path = dir.join(NAME);
    let Some(content) = takeover::file(disk, &path)? else { return Ok(BTreeSet::new()) };
    parse(&content).ok_or_else(|| failed("understand", &path)(ErrorKind::InvalidData.into()))
}

fn parse(content: &[u8]) -> Option<BTreeSet<u64>> {
    let mut lines = str::from_utf8(content).ok()?.lines();
    lines.next().filter(|head| *head == HEAD)?;
    lines.map(|line| line.parse().ok()).collect()
}

/// Whether anything is.
///
/// # Errors
/// The system's, and where a newer version wrote the file.
pub fn is_noted(disk: &dyn Disk, dir: &Path) -> Result<bool, FileError> {
    noted(disk, dir).map(|bases| !bases.is_empty())
}

/// Notes one more; durable on return.
///
/// # Errors
/// As [`noted`].
pub(crate) fn note(disk: &dyn Disk, dir: &Path, base: u64) -> Result<(), FileError> {
    let mut bases = noted(disk, dir)?;
    bases.insert(base);
    put(disk, dir, &bases)
}

/// One of them is whole again; durable on return.
///
/// # Errors
/// As [`noted`].
pub(crate) fn forget(disk: &dyn Disk, dir: &Path, base: u64) -> Result<(), FileError> {
    let mut bases = noted(disk, dir)?;
    bases.remove(&base);
    if !bases.is_empty() {
        return put(disk, dir, &bases);
    }
    let path = dir.join(NAME);
    disk.remove(&path).map_err(failed("remove", &path))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))
}

fn put(disk: &dyn Disk, dir: &Path, bases: &BTreeSet<u64>) -> Result<(), FileError> {
    let lines: String = bases.iter().map(|base| format!("{base}\n")).collect();
    store::put_file(disk, dir, NAME, format!("{HEAD}\n{lines}").as_bytes())
}

/// Notes the segment because of which a slave's directory does not start, and answers where it begins; `None`: that is for another reason.
///
/// # Errors
/// As [`noted`].
pub fn note_refused(disk: &dyn Disk, dir: &Path, error: &StartError) -> Result<Option<u64>, FileError> {
    let StartError::Open(OpenError::Damaged { path, .. }) = error else { return Ok(None) };
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(base) = name.and_then(|name| name.parse().ok()) else { return Ok(None) };
    tracing::error!(%error, "the log is damaged: the segment is got again from the master");
    note(disk, dir, base)?;
    Ok(Some(base))
}

#[cfg(test)]
mod tests {
    use env::sim::SimDisk;

    use super::*;

    #[test]
    fn what_is_damaged_is_known_until_it_is_whole() {
        let (disk, dir) = (SimDisk::new(0), Path::new("/data"));
        disk.create_dir_all(dir).expect("made");
        let known = || noted(&disk, dir).expect("looked at");
        assert!(known().is_empty());
        for base in [200, 100, 200] {
            note(&disk, dir, base).expect("noted");
        }
        assert_eq!(known(), BTreeSet::from([100, 200]));
        forget(&disk, dir, 100).expect("forgotten");
        forget(&disk, dir, 200).expect("forgotten");
        assert!(known().is_empty() && disk.names(dir).is_empty());
        store::put_file(&disk, dir, NAME, b"gantry damaged 2\n100\n").expect("put");
        let newer = noted(&disk, dir).expect_err("it is not known");
        assert!(newer.to_string().contains("/data/damaged"), "{newer}");
    }
}
