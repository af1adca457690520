//! Reading Apache's small files, with the copy that it keeps of each.

use std::io;
use std::path::Path;

use env::Disk;
use env::disk::OpenMode;
use serde::de::DeserializeOwned;
use store::FileError;

use super::form::Refusal;
use super::{failed, json};

/// A configuration file beyond this is not read, in bytes: it would be that of 100,000 topics several times over.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Reads `config/<name>`, or its `.bak` when it is missing, empty or not what it should be; `None` when there is nothing
/// in either. A file that cannot be read although it has content, and has no copy either, is refused.
/// Source: Apache `ConfigManager.load`, which deletes the bad file; here it stays.
///
/// # Errors
/// [`FileError`] when the system refuses to show a file.
pub(super) fn config<T: DeserializeOwned>(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    refusals: &mut Vec<Refusal>,
) -> Result<Option<T>, FileError> {
    let mut problem = None;
    for name in [name.to_owned(), format!("{name}.bak")] {
        let Some(bytes) = file(disk, &dir.join("config").join(&name))?.filter(|bytes| !bytes.is_empty()) else {
            continue;
        };
        match json::parse(&bytes) {
            Ok(value) => return Ok(Some(value)),
            Err(error) => drop(problem.get_or_insert(error)),
        }
    }
    if let Some(problem) = problem {
        refusals.push(Refusal::Unreadable { file: format!("config/{name}"), problem });
    }
    Ok(None)
}

/// A whole file; `None` when there is none.
///
/// # Errors
/// [`FileError`] when the system refuses to show it, or when it is too long.
pub(crate) fn file(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let file = match disk.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("open", path))?,
    };
    let bytes = file.len().map_err(failed("measure", path))?;
    if bytes > FILE_BYTES_MAX {
        return Err(failed("read", path)(io::ErrorKind::FileTooLarge.into()));
    }
    let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut content, 0).map_err(failed("read", path))?;
    content.truncate(read);
    Ok(Some(content))
}
