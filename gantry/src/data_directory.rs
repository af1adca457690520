//! The data directory of a role that has no store, which keeps others out itself.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use env::Env;

/// What is locked there.
const LOCK_FILE: &str = "lock";

/// Makes the directory that this flag names if it is missing, and keeps others out of it until the value is dropped or the process ends.
pub(crate) fn lock(data: &Path, flag: &str) -> anyhow::Result<Box<dyn Send + Sync>> {
    let disk = Env::real().disk;
    disk.create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    match disk.lock(&data.join(LOCK_FILE)) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => bail!(
            "{} is in use by another gantry; stop that one, or choose another directory with {flag} DIR",
            data.display(),
        ),
        locked => locked.with_context(|| format!("cannot lock {}", data.display())),
    }
}
