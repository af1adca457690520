//! What a copy of the store lacks of a broker: a file that is not derived from the log.

use std::path::Path;

use env::Disk;
use store::FileError;

use crate::{request_modes, takeover};

/// Copies the file of consume modes from one data directory to another, durable on return; says whether there was one. The other broker
/// may be running: it puts the file in place whole.
///
/// # Errors
/// The system refuses something.
pub fn copy_request_modes(disk: &dyn Disk, from: &Path, to: &Path) -> Result<bool, FileError> {
    let Some(text) = takeover::file(disk, &from.join(request_modes::FILE))? else { return Ok(false) };
    let folder = to.join("config");
    disk.create_dir_all(&folder).map_err(takeover::failed("create directory", &folder))?;
    store::put_file(disk, &folder, request_modes::FILE_NAME, &text)?;
    disk.sync_dir(to).map_err(takeover::failed("sync", to))?;
    Ok(true)
}
