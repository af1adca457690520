//! Queues whose records have all expired: only Apache's own index still says where they go on.
//!
//! A unit is 20 bytes: position in the log (8), length (4), tag hash (8). Unused ones are zeros; a file begins at the unit that
//! its name divided by 20 says. Source: Apache `ConsumeQueue`.

use std::path::Path;

use env::Disk;
use env::disk::OpenMode;
use store::{FileError, Store};
use types::{QueueId, QueueOffset, TopicConfig};

use super::failed;

/// Bytes of a unit.
pub(super) const UNIT_BYTES: u64 = 20;
/// Where the length stands in a unit.
const LENGTH_AT: usize = 8;
/// Units that are read at once.
const READ_UNITS: u64 = 4096;
/// Digits of a file's name.
const NAME_DIGITS: usize = 20;

/// Lets the queues of `topics` that have no record begin where Apache's went on.
///
/// # Errors
/// [`FileError`] when the system refuses to show a file.
pub(super) fn begin_queues(
    disk: &dyn Disk,
    dir: &Path,
    topics: &[TopicConfig],
    store: &mut Store,
) -> Result<(), FileError> {
    for topic in topics {
        let queues = topic.read_queues.max(topic.write_queues);
        for queue in (0..queues).map(QueueId) {
            if store.queue_range(topic.name.as_str(), queue).is_some() {
                continue;
            }
            let queue_dir = dir.join("consumequeue").join(topic.name.as_str()).join(queue.to_string());
            if let Some(next) = next_offset(disk, &queue_dir)?.filter(|next| next.0 > 0) {
                store.begin_queue(topic.name.as_str(), queue, next);
            }
        }
    }
    Ok(())
}

/// Behind the last unit that is used; `None` without a file.
fn next_offset(disk: &dyn Disk, queue_dir: &Path) -> Result<Option<QueueOffset>, FileError> {
    let names = disk.list(queue_dir).map_err(failed("list", queue_dir))?;
    let is_file = |name: &&String| name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    let Some(first) = names.iter().filter(is_file).filter_map(|name| name.parse::<u64>().ok()).max() else {
        return Ok(None);
    };
    let path = queue_dir.join(format!("{first:020}"));
    let file = disk.open(&path, OpenMode::Read).map_err(failed("open", &path))?;
    let mut units = file.len().map_err(failed("measure", &path))? / UNIT_BYTES;
    let mut buffer = Vec::new();
    while units > 0 {
        let from = units.saturating_sub(READ_UNITS);
        buffer.resize(usize::try_from((units - from) * UNIT_BYTES).unwrap_or(0), 0);
        let read = file.read_at(&mut buffer, from * UNIT_BYTES).map_err(failed("read", &path))?;
        let used = buffer[..read].chunks_exact(UNIT_BYTES as usize).rposition(is_used);
        if let Some(used) = used {
            return Ok(Some(QueueOffset(first / UNIT_BYTES + from + used as u64 + 1)));
        }
        units = from;
    }
    Ok(Some(QueueOffset(first / UNIT_BYTES)))
}

fn is_used(unit: &[u8]) -> bool {
    unit.get(LENGTH_AT..).and_then(<[u8]>::first_chunk::<4>).is_some_and(|bytes| i32::from_be_bytes(*bytes) > 0)
}
