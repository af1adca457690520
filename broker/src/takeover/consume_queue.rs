//! Apache's own queue index, for what the log does not say: where queues go on whose records have all expired, and when messages
//! are due that wait by level.
//!
//! A unit is 20 bytes, big-endian: position in the log (8), length (4), tag hash (8), which in the topic of the delay levels is
//! the time at which the message is due. Unused units are zeros; a file begins at the unit that its name divided by 20 says.
//! Source: Apache `ConsumeQueue`, `ConsumeQueue.putMessagePositionInfoWrapper`.

use std::io::IoSlice;
use std::path::Path;

use env::Disk;
use env::disk::OpenMode;
use store::{FileError, Store};
use types::{PhysicalOffset, QueueId, QueueOffset, TopicConfig, TopicName};

use super::failed;

/// Where the index is.
pub(crate) const FOLDER: &str = "consumequeue";
/// Bytes of a unit.
const UNIT_BYTES: u64 = 20;
/// Where the length stands in a unit.
const LENGTH_AT: usize = 8;
/// A unit of one byte at the log's first position: used, and long gone.
const USED_UNIT: [u8; UNIT_BYTES as usize] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
/// Units that are read at once.
const READ_UNITS: u64 = 4096;
/// Length of a file unless there is one to look at. Source: Apache `mappedFileSizeConsumeQueue`.
const FILE_BYTES_DEFAULT: u64 = 6_000_000;
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
            let queue_dir = dir.join(FOLDER).join(topic.name.as_str()).join(queue.to_string());
            if let Some(next) = next_offset(disk, &queue_dir)?.filter(|next| next.0 > 0) {
                store.begin_queue(topic.name.as_str(), queue, next);
            }
        }
    }
    Ok(())
}

/// Notes where a queue ends, for a takeover of a directory without Apache's own index: a file of the last unit alone.
///
/// # Errors
/// [`FileError`].
pub(crate) fn note_end(
    disk: &dyn Disk,
    dir: &Path,
    topic: &TopicName,
    queue: QueueId,
    next: QueueOffset,
) -> Result<(), FileError> {
    let Some(last) = next.0.checked_sub(1) else { return Ok(()) };
    let queue_dir = dir.join(FOLDER).join(topic.as_str()).join(queue.to_string());
    disk.create_dir_all(&queue_dir).map_err(failed("create directory", &queue_dir))?;
    let before = files(disk, &queue_dir)?;
    let first = last * UNIT_BYTES;
    store::put_file(disk, &queue_dir, &format!("{first:020}"), &USED_UNIT)?;
    for path in before.iter().filter(|before| **before != first).map(|before| queue_dir.join(format!("{before:020}"))) {
        disk.remove(&path).map_err(failed("remove", &path))?;
    }
    Ok(())
}

/// The tag hash of a queue's unit, if it is for the record at `position`; for a message that waits by level, when it is due.
///
/// # Errors
/// [`FileError`] when the system refuses to show a file.
pub(super) fn tag(
    disk: &dyn Disk,
    queue_dir: &Path,
    offset: QueueOffset,
    position: PhysicalOffset,
) -> Result<Option<i64>, FileError> {
    let byte = offset.0 * UNIT_BYTES;
    let Some(first) = files(disk, queue_dir)?.into_iter().rev().find(|first| *first <= byte) else { return Ok(None) };
    let path = queue_dir.join(format!("{first:020}"));
    let file = disk.open(&path, OpenMode::Read).map_err(failed("open", &path))?;
    let mut unit = [0; UNIT_BYTES as usize];
    let read = file.read_at(&mut unit, byte - first).map_err(failed("read", &path))?;
    let (at, tag) = (unit.first_chunk::<8>(), unit.last_chunk::<8>());
    let is_its = read == unit.len() && is_used(&unit) && at.is_some_and(|at| u64::from_be_bytes(*at) == position.0);
    Ok(tag.filter(|_| is_its).map(|tag| i64::from_be_bytes(*tag)))
}

/// Length of Apache's index files in a directory: all have the same, and it opens no others.
///
/// # Errors
/// [`FileError`] when the system refuses to show a file.
pub(super) fn file_bytes(disk: &dyn Disk, dir: &Path) -> Result<u64, FileError> {
    let topics_dir = dir.join(FOLDER);
    for topic in disk.list_dirs(&topics_dir).map_err(failed("list", &topics_dir))? {
        let queues_dir = topics_dir.join(topic);
        for queue in disk.list_dirs(&queues_dir).map_err(failed("list", &queues_dir))? {
            let queue_dir = queues_dir.join(queue);
            if let Some(path) = files(disk, &queue_dir)?.last().map(|first| queue_dir.join(format!("{first:020}"))) {
                let file = disk.open(&path, OpenMode::Read).map_err(failed("open", &path))?;
                return file.len().map_err(failed("measure", &path));
            }
        }
    }
    Ok(FILE_BYTES_DEFAULT)
}

/// Writes the file of each queue that goes on behind 0 and has no record: one whose units up to there are used, by nothing that
/// the log still has. The others Apache makes from the log.
///
/// # Errors
/// [`FileError`].
pub(super) fn write_queues(disk: &dyn Disk, dir: &Path, store: &Store, file_bytes: u64) -> Result<(), FileError> {
    let units_per_file = file_bytes / UNIT_BYTES;
    for (topic, queue, range) in store.queues().filter(|(.., range)| range.min == range.next && range.next.0 > 0) {
        let first = (range.next.0 - 1) / units_per_file * units_per_file;
        let queue_dir = dir.join(FOLDER).join(topic).join(queue.to_string());
        disk.create_dir_all(&queue_dir).map_err(failed("create directory", &queue_dir))?;
        let path = queue_dir.join(format!("{:020}", first * UNIT_BYTES));
        let file = disk.open(&path, OpenMode::Create).map_err(failed("create", &path))?;
        file.set_len(file_bytes).map_err(failed("extend", &path))?;
        let units = vec![USED_UNIT; usize::try_from(range.next.0 - first).unwrap_or(0)].concat();
        file.write_all_at(&[IoSlice::new(&units)], 0).map_err(failed("write", &path))?;
        file.sync_data().map_err(failed("sync", &path))?;
        disk.sync_dir(&queue_dir).map_err(failed("sync", &queue_dir))?;
    }
    Ok(())
}

/// Behind the last unit that is used; `None` without a file.
fn next_offset(disk: &dyn Disk, queue_dir: &Path) -> Result<Option<QueueOffset>, FileError> {
    let Some(first) = files(disk, queue_dir)?.pop() else { return Ok(None) };
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

/// The numbers that the files of a queue are named by, ascending.
fn files(disk: &dyn Disk, queue_dir: &Path) -> Result<Vec<u64>, FileError> {
    let names = disk.list(queue_dir).map_err(failed("list", queue_dir))?;
    let is_file = |name: &&String| name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    Ok(names.iter().filter(is_file).filter_map(|name| name.parse().ok()).collect())
}

fn is_used(unit: &[u8]) -> bool {
    unit.get(LENGTH_AT..).and_then(<[u8]>::first_chunk::<4>).is_some_and(|bytes| i32::from_be_bytes(*bytes) > 0)
}
