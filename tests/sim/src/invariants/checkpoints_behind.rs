//! No checkpoint is ahead of the durable log: what it says of the log would be there when the log is not.

use std::path::Path;

use env::sim::SimDisk;
use types::PhysicalOffset;

use crate::report::Violation;

/// Checks the checkpoints in a directory, which are named by their position.
///
/// # Errors
/// When one is beyond what is durable.
pub fn check(disk: &SimDisk, dir: &Path, durable_to: PhysicalOffset) -> Result<(), Violation> {
    let positions = disk.names(&dir.join("checkpoints")).into_iter().filter_map(|name| name.parse::<u64>().ok());
    match positions.max() {
        Some(newest) if newest > durable_to.0 => {
            let detail = format!("one is at {newest}, the log is durable up to {durable_to}");
            Err(Violation::new("no checkpoint is ahead of the log", detail))
        }
        _ => Ok(()),
    }
}
