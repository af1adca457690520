//! An index run: a sealed block of the queue index as an immutable file.
//!
//! | bytes            | content                                                                           |
//! |------------------|-----------------------------------------------------------------------------------|
//! | 0..4             | `GQIX`                                                                            |
//! | 4..8             | version, 2                                                                        |
//! | 8..16            | first position of the log that is covered; the file is named by it                |
//! | 16..24           | position behind the last                                                          |
//! | 24..28           | number of queues                                                                  |
//! | 28..32           | number of keys                                                                    |
//! | 32..36           | CRC-32 of the bytes before and of the directory                                   |
//! | 36..             | directory, 24 bytes a queue: number, entries, first offset (8), file position (8); |
//! |                  | then 8 bytes a key chunk: hash of its first key                                   |
//! |                  | chunks: up to 128 entries of one queue, then the CRC-32 of those                  |
//! |                  | key chunks: 256 keys, the last one fewer, then the CRC-32 of those                |
//!
//! An entry is 20 bytes: physical offset (8), record bytes, tag hash, group hash (0 = none). A key is 16 bytes: hash (8),
//! physical offset (8); keys rise by hash, then by offset. All numbers
//! are big-endian and of 4 bytes unless said otherwise. Queues are named by their numbers in the checkpoint that
//! lists the run. The directory is small and read at start-up; a chunk is checked when it is read.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};
use env::disk::OpenMode;
use env::{Disk, File};

use super::keys::{Batches, Key};
use super::names::QueueNumber;
use super::{Block, Entry};
use crate::files::{self, name_of};

const MAGIC: &[u8; 4] = b"GQIX";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 36;
const ROW_BYTES: usize = 24;
const ENTRY_BYTES: usize = 20;
/// Most entries of a chunk.
pub(super) const CHUNK_ENTRIES: usize = 128;
const CHUNK_BYTES: usize = CHUNK_ENTRIES * ENTRY_BYTES + 4;
const KEY_BYTES: usize = 16;
const KEY_CHUNK_KEYS: usize = 256;
const KEY_CHUNK_BYTES: usize = KEY_CHUNK_KEYS * KEY_BYTES + 4;
const FENCE_BYTES: usize = 8;

/// A run's directory; its entries stay on the disk.
pub(crate) struct Run {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Of header and directory: names this very file in a checkpoint.
    pub(crate) crc: u32,
    rows: Vec<Row>,
    keys: u32,
    /// Hash of the first key of each key chunk.
    fences: Vec<u64>,
    /// Where the key chunks begin: behind the last queue's chunks.
    keys_at: u64,
}

/// Where a queue's entries are.
#[derive(Clone, Copy)]
struct Row {
    queue: QueueNumber,
    entries: u32,
    first: u64,
    position: u64,
}

/// How a checkpoint names a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunName {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) crc: u32,
}

impl Run {
    /// Writes a block as a run, durable on return.
    pub(crate) fn write(disk: &Arc<dyn Disk>, dir: &Path, block: &Block) -> Result<Self, files::Error> {
        let keys = merged(&block.keys);
        let fences: Vec<u64> = keys.chunks(KEY_CHUNK_KEYS).map(|chunk| chunk[0].hash).collect();
        let rows = rows_of(block, fences.len());
        let mut head = Vec::with_capacity(HEADER_BYTES);
        head.put_slice(MAGIC);
        head.put_u32(VERSION);
        head.put_u64(block.from);
        head.put_u64(block.to);
        head.put_u32(rows.len() as u32);
        head.put_u32(keys.len() as u32);
        let mut directory = Vec::with_capacity(directory_bytes(rows.len(), fences.len()));
        for row in &rows {
            directory.put_u32(row.queue.0);
            directory.put_u32(row.entries);
            directory.put_u64(row.first);
            directory.put_u64(row.position);
        }
        fences.iter().for_each(|fence| directory.put_u64(*fence));
        let crc = crc_of(&head, &directory);
        head.put_u32(crc);
        let parts = [&head, &directory, &chunks_of(block), &key_chunks_of(&keys)];
        files::replace(&**disk, dir, &name_of(block.from), &parts.map(Vec::as_slice))?;
        let path = dir.join(name_of(block.from));
        let (disk, from, to, keys) = (Arc::clone(disk), block.from, block.to, keys.len() as u32);
        let keys_at = keys_position(&rows, directory.len());
        Ok(Self { disk, path, from, to, crc, rows, keys, fences, keys_at })
    }

    /// Reads the directory of the run that a checkpoint names.
    pub(crate) fn load(disk: &Arc<dyn Disk>, dir: &Path, name: RunName) -> Result<Self, String> {
        let path = dir.join(name_of(name.from));
        let io = |error: std::io::Error| error.to_string();
        let file = disk.open(&path, OpenMode::Read).map_err(io)?;
        let mut head = [0; HEADER_BYTES];
        let read = file.read_at(&mut head, 0).map_err(io)?;
        let mut fields = &head[..];
        let (magic, version) = (fields.copy_to_bytes(4), fields.get_u32());
        let (from, to, queues, keys) = (fields.get_u64(), fields.get_u64(), fields.get_u32(), fields.get_u32());
        let crc = fields.get_u32();
        if read < HEADER_BYTES || magic != MAGIC[..] || version != VERSION {
            return Err(format!("not an index run of version {VERSION}"));
        }
        if (RunName { from, to, crc }) != name {
            return Err("not the run that the checkpoint names".to_owned());
        }
        let (rows, fences) = (queues as usize, (keys as usize).div_ceil(KEY_CHUNK_KEYS));
        let directory_bytes = directory_bytes(rows, fences);
        let file_bytes = file.len().map_err(io)?;
        if file_bytes < (HEADER_BYTES + directory_bytes) as u64 {
            return Err(format!("too short for {queues} queues and {keys} keys"));
        }
        let mut directory = vec![0; directory_bytes];
        let read = file.read_at(&mut directory, HEADER_BYTES as u64).map_err(io)?;
        if read < directory_bytes || crc_of(&head[..HEADER_BYTES - 4], &directory) != crc {
            return Err("damaged directory".to_owned());
        }
        let (rows, fences) = directory.split_at(rows * ROW_BYTES);
        let rows: Vec<Row> = rows.chunks_exact(ROW_BYTES).map(Row::read).collect();
        let fences = fences.chunks_exact(FENCE_BYTES).map(|mut fence| fence.get_u64()).collect();
        let keys_at = keys_position(&rows, directory_bytes);
        let run = Self { disk: Arc::clone(disk), path, from, to, crc, rows, keys, fences, keys_at };
        let fits = run.file_bytes() <= file_bytes && run.rows.iter().all(|row| row.is_within(file_bytes));
        if !fits || !run.rows.is_sorted_by(|a, b| a.queue < b.queue) {
            return Err("directory that does not fit the file".to_owned());
        }
        Ok(run)
    }

    /// Reads the directory of the run that begins at `from`, whoever names it.
    pub(crate) fn find(disk: &Arc<dyn Disk>, dir: &Path, from: u64) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        let file = disk.open(&dir.join(name_of(from)), OpenMode::Read).map_err(io)?;
        let mut head = [0; HEADER_BYTES];
        file.read_at(&mut head, 0).map_err(io)?;
        let (to, crc) = ((&head[16..]).get_u64(), (&head[HEADER_BYTES - 4..]).get_u32());
        Self::load(disk, dir, RunName { from, to, crc })
    }

    pub(crate) fn name(&self) -> RunName {
        RunName { from: self.from, to: self.to, crc: self.crc }
    }

    /// The queues that have entries here, each with their offsets.
    ///
    /// # Errors
    /// Text that names a row which no run has: what [`Run::read`] relies on.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Result<(QueueNumber, Range<u64>), String>> {
        let mut position = self.chunks_position();
        let mut before = None;
        self.rows.iter().map(move |row| {
            let end = row.first.checked_add(row.entries.into());
            let (Some(end), true) = (end, row.position == position && before < Some(row.queue)) else {
                return Err(format!("the directory's row of queue number {} does not fit", row.queue.0));
            };
            position += chunk_bytes(row.entries.into());
            before = Some(row.queue);
            Ok((row.queue, row.first..end))
        })
    }

    /// How long the file is when nothing is missing.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.keys_at + key_chunk_bytes(self.keys as usize) as u64
    }

    /// First offset and number of the queue's entries.
    pub(crate) fn range(&self, queue: QueueNumber) -> Option<(u64, u64)> {
        self.row(queue).map(|row| (row.first, u64::from(row.entries)))
    }

    /// Reads entries of a queue whose offsets are known to be here.
    pub(crate) fn read(&self, queue: QueueNumber, offsets: Range<u64>) -> Result<Vec<Entry>, String> {
        let wanted = (offsets.end - offsets.start) as usize;
        let (first, mut entries) = self.read_chunks(&*self.open()?, queue, offsets.clone())?;
        entries.drain(..(offsets.start - first) as usize);
        entries.truncate(wanted);
        Ok(entries)
    }

    /// The file, for [`Run::read_chunks`].
    pub(super) fn open(&self) -> Result<Arc<dyn File>, String> {
        self.disk.open(&self.path, OpenMode::Read).map_err(|error| error.to_string())
    }

    /// Reads the chunks that have these entries of a queue, whose offsets are known to be here: all their entries, and the
    /// offset of the first.
    pub(super) fn read_chunks(
        &self,
        file: &dyn File,
        queue: QueueNumber,
        offsets: Range<u64>,
    ) -> Result<(u64, Vec<Entry>), String> {
        let row = self.row(queue).ok_or("queue is not in the run")?;
        let chunk_entries = CHUNK_ENTRIES as u64;
        let start = (offsets.start - row.first) / chunk_entries * chunk_entries;
        let end = (offsets.end - row.first).next_multiple_of(chunk_entries).min(u64::from(row.entries));
        let mut buffer = vec![0; (chunk_bytes(end) - chunk_bytes(start)) as usize];
        let read = file.read_at(&mut buffer, row.position + chunk_bytes(start)).map_err(|error| error.to_string())?;
        if read < buffer.len() {
            return Err("too short".to_owned());
        }
        let mut entries = Vec::with_capacity((end - start) as usize);
        for chunk in buffer.chunks(CHUNK_BYTES) {
            entries.extend(checked(chunk)?.chunks_exact(ENTRY_BYTES).map(Entry::read));
        }
        Ok((row.first + start, entries))
    }

    /// The queues that have entries here, each with the offset of the first.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (QueueNumber, u64)> {
        self.rows.iter().map(|row| (row.queue, row.first))
    }

    /// Where its queues begin when the log begins at `before`: behind this run, unless `before` lies in its stretch.
    pub(crate) fn begins(&self, before: u64) -> Result<Vec<(QueueNumber, u64)>, String> {
        let behind = |row: &Row| (row.queue, row.first + u64::from(row.entries));
        if self.to <= before {
            return Ok(self.rows.iter().map(behind).collect());
        }
        let io = |error: std::io::Error| error.to_string();
        let file = self.disk.open(&self.path, OpenMode::Read).map_err(io)?;
        let start = self.chunks_position();
        let mut chunks = vec![0; (self.keys_at - start) as usize];
        if file.read_at(&mut chunks, start).map_err(io)? < chunks.len() {
            return Err("too short".to_owned());
        }
        let mut rest = &chunks[..];
        let mut begins = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let (of_queue, later) = rest.split_at(chunk_bytes(row.entries.into()) as usize);
            rest = later;
            let mut expired = 0;
            for chunk in of_queue.chunks(CHUNK_BYTES) {
                let entries = checked(chunk)?.chunks_exact(ENTRY_BYTES).map(Entry::read);
                expired += entries.take_while(|entry| entry.physical_offset < before).count() as u64;
            }
            begins.push((row.queue, row.first + expired));
        }
        Ok(begins)
    }

    /// Positions before `before` of records that have a key of this hash, the newest `max`, falling.
    pub(crate) fn newest_keys(&self, hash: u64, before: u64, max: usize) -> Result<Vec<u64>, String> {
        // A chunk that begins above the hash has none of it; the one before the first that begins with it may.
        let chunks = self.fences.partition_point(|fence| *fence < hash).saturating_sub(1)
            ..self.fences.partition_point(|fence| *fence <= hash);
        let mut found = Vec::new();
        if chunks.is_empty() {
            return Ok(found);
        }
        let file = self.disk.open(&self.path, OpenMode::Read).map_err(|error| error.to_string())?;
        for chunk in chunks.rev() {
            let keys = self.key_chunk(&*file, chunk)?;
            let of_hash = keys.iter().rev().filter(|key| key.hash == hash && key.at < before);
            found.extend(of_hash.take(max - found.len()).map(|key| key.at));
            if found.len() == max || keys.first().is_none_or(|first| first.hash < hash) {
                break;
            }
        }
        Ok(found)
    }

    fn key_chunk(&self, file: &dyn File, chunk: usize) -> Result<Vec<Key>, String> {
        let keys = KEY_CHUNK_KEYS.min(self.keys as usize - chunk * KEY_CHUNK_KEYS);
        let mut buffer = vec![0; key_chunk_bytes(keys)];
        let position = self.keys_at + (chunk * KEY_CHUNK_BYTES) as u64;
        let read = file.read_at(&mut buffer, position).map_err(|error| error.to_string())?;
        if read < buffer.len() {
            return Err("too short".to_owned());
        }
        let content = checked(&buffer)?;
        Ok(content.chunks_exact(KEY_BYTES).map(|mut key| Key { hash: key.get_u64(), at: key.get_u64() }).collect())
    }

    /// All keys in their order, a chunk at a time.
    pub(crate) fn key_chunks(&self) -> impl Iterator<Item = Result<Vec<Key>, String>> {
        let file = self.disk.open(&self.path, OpenMode::Read).map_err(|error| error.to_string());
        (0..self.fences.len()).map(move |chunk| {
            let keys = self.key_chunk(&**file.as_ref().map_err(Clone::clone)?, chunk)?;
            match keys.first() {
                Some(first) if first.hash == self.fences[chunk] => Ok(keys),
                _ => Err(format!("the directory's hash of key chunk {chunk} does not fit")),
            }
        })
    }

    /// Where the first queue's chunks begin.
    fn chunks_position(&self) -> u64 {
        (HEADER_BYTES + directory_bytes(self.rows.len(), self.fences.len())) as u64
    }

    /// Puts the checksum that fits header and directory into a run's bytes and names it, whatever they are; `None` for
    /// those that are too short.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn seal(file: &mut [u8]) -> Option<RunName> {
        let (head, rest) = file.split_first_chunk_mut::<HEADER_BYTES>()?;
        let mut fields = &head[8..HEADER_BYTES - 4];
        let (from, to) = (fields.get_u64(), fields.get_u64());
        let (queues, keys) = (fields.get_u32() as usize, fields.get_u32() as usize);
        let directory_bytes = directory_bytes(queues, keys.div_ceil(KEY_CHUNK_KEYS));
        let crc = crc_of(&head[..HEADER_BYTES - 4], rest.get(..directory_bytes).unwrap_or_default());
        head[HEADER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        Some(RunName { from, to, crc })
    }

    /// Reads all entries of all queues and all keys; whether all could be read.
    #[cfg(feature = "fuzz")]
    pub(crate) fn read_everything(&self) -> bool {
        let read = |row: &Row| self.read(row.queue, row.first..row.first + u64::from(row.entries)).is_ok();
        self.rows.iter().all(read) && self.key_chunks().all(|chunk| chunk.is_ok())
    }

    fn row(&self, queue: QueueNumber) -> Option<&Row> {
        let index = self.rows.binary_search_by_key(&queue, |row| row.queue).ok()?;
        self.rows.get(index)
    }
}

impl Row {
    fn read(mut bytes: &[u8]) -> Self {
        let (queue, entries) = (QueueNumber(bytes.get_u32()), bytes.get_u32());
        Self { queue, entries, first: bytes.get_u64(), position: bytes.get_u64() }
    }

    /// Whether its entries can be in a file of this length: what is read of it is then not longer than the file.
    fn is_within(self, file_bytes: u64) -> bool {
        let entries = u64::from(self.entries);
        let end = self.position.checked_add(chunk_bytes(entries));
        end.is_some_and(|end| end <= file_bytes) && self.first.checked_add(entries).is_some()
    }
}

impl Entry {
    fn write(self, out: &mut Vec<u8>) {
        out.put_u64(self.physical_offset);
        out.put_u32(self.record_bytes);
        out.put_i32(self.tag_hash);
        out.put_u32(self.group_hash.map_or(0, NonZeroU32::get));
    }

    fn read(mut bytes: &[u8]) -> Self {
        Self {
            physical_offset: bytes.get_u64(),
            record_bytes: bytes.get_u32(),
            tag_hash: bytes.get_i32(),
            group_hash: NonZeroU32::new(bytes.get_u32()),
        }
    }
}

/// A chunk's content, once its CRC was found right.
fn checked(chunk: &[u8]) -> Result<&[u8], String> {
    let (content, crc) = chunk.split_last_chunk::<4>().ok_or("chunk without crc")?;
    if crc32fast::hash(content) != u32::from_be_bytes(*crc) {
        return Err("damaged chunk".to_owned());
    }
    Ok(content)
}

/// Length of the directory of so many queues and key chunks.
fn directory_bytes(rows: usize, fences: usize) -> usize {
    rows * ROW_BYTES + fences * FENCE_BYTES
}

/// Length of the chunks that hold so many entries of a queue.
fn chunk_bytes(entries: u64) -> u64 {
    entries * ENTRY_BYTES as u64 + entries.div_ceil(CHUNK_ENTRIES as u64) * 4
}

/// Where the key chunks begin: behind the last queue's chunks.
fn keys_position(rows: &[Row], directory_bytes: usize) -> u64 {
    (HEADER_BYTES + directory_bytes) as u64 + rows.iter().map(|row| chunk_bytes(row.entries.into())).sum::<u64>()
}

/// Length of the chunks that hold so many keys.
fn key_chunk_bytes(keys: usize) -> usize {
    keys * KEY_BYTES + keys.div_ceil(KEY_CHUNK_KEYS) * 4
}

fn rows_of(block: &Block, fences: usize) -> Vec<Row> {
    let mut position = (HEADER_BYTES + directory_bytes(block.stretches.len(), fences)) as u64;
    let mut rows = Vec::with_capacity(block.stretches.len());
    for stretch in &block.stretches {
        let entries = stretch.entries.len() as u64;
        let entries_stored = u32::try_from(entries).expect("a block covers less of the log than 2^32 records");
        rows.push(Row { queue: stretch.queue, entries: entries_stored, first: stretch.first, position });
        position += chunk_bytes(entries);
    }
    rows
}

fn chunks_of(block: &Block) -> Vec<u8> {
    let bytes: u64 = block.stretches.iter().map(|stretch| chunk_bytes(stretch.entries.len() as u64)).sum();
    let mut out = Vec::with_capacity(bytes as usize);
    for chunk in block.stretches.iter().flat_map(|stretch| stretch.entries.chunks(CHUNK_ENTRIES)) {
        let start = out.len();
        chunk.iter().for_each(|entry| entry.write(&mut out));
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32(crc);
    }
    out
}

/// All keys of a block, sorted.
fn merged(batches: &Batches) -> Vec<Key> {
    let mut keys: Vec<Key> = batches.iter().flat_map(|batch| batch.iter().copied()).collect();
    // The stable sort merges what is sorted already.
    keys.sort();
    keys
}

fn key_chunks_of(keys: &[Key]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key_chunk_bytes(keys.len()));
    for chunk in keys.chunks(KEY_CHUNK_KEYS) {
        let start = out.len();
        for key in chunk {
            out.put_u64(key.hash);
            out.put_u64(key.at);
        }
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32(crc);
    }
    out
}

fn crc_of(header: &[u8], directory: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(directory);
    hasher.finalize()
}
