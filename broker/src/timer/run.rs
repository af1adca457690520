//! A timer run: waiting messages in the order in which they are due, as an immutable file of the folder `timers`.
//!
//! | bytes  | content                                                                   |
//! |--------|---------------------------------------------------------------------------|
//! | 0..4   | `GTMR`                                                                    |
//! | 4..8   | version, 1                                                                |
//! | 8..32  | its name: from (8), to (8), seen to (8), see [`Name`]                     |
//! | 32..36 | number of entries                                                         |
//! | 36..40 | CRC-32 of the bytes before and of the directory                           |
//! | 40..   | directory, 16 bytes a chunk: due time (8) and position (8) of its first entry; |
//! |        | chunks: 256 entries, the last one fewer, then the CRC-32 of those         |
//!
//! An entry is 28 bytes: due time (8), position of its record (8), identity (8), record bytes. All numbers are big-endian and of 4
//! bytes unless said otherwise; entries rise by due time, then by position. Derived from the log: what is damaged or missing is
//! made again (`timer/spill.rs`).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use env::disk::OpenMode;
use env::{Disk, File};
use types::{PhysicalOffset, Timestamp};

use super::{Key, Waits};

const MAGIC: &[u8; 4] = b"GTMR";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;
const FENCE_BYTES: usize = 16;
const ENTRY_BYTES: usize = 28;
const CHUNK_ENTRIES: usize = 256;
const CHUNK_BYTES: usize = CHUNK_ENTRIES * ENTRY_BYTES + 4;

/// What a run holds, as a function of the log: the messages whose records lie from `from` to `to` and that still wait at `seen_to`.
/// It may lack those that the timer machine keeps itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) from: PhysicalOffset,
    pub(crate) to: PhysicalOffset,
    pub(crate) seen_to: PhysicalOffset,
}

impl fmt::Display for Name {
    /// The file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, seen_to } = self;
        write!(f, "{:020}-{:020}-{:020}", from.0, to.0, seen_to.0)
    }
}

/// A run's bytes.
pub(crate) fn encode(name: Name, entries: &[Waits]) -> Vec<u8> {
    let chunks = entries.chunks(CHUNK_ENTRIES);
    let bytes = HEADER_BYTES + chunks.len() * (FENCE_BYTES + 4) + entries.len() * ENTRY_BYTES;
    let mut out = Vec::with_capacity(bytes);
    out.put_slice(MAGIC);
    out.put_u32(VERSION);
    [name.from, name.to, name.seen_to].iter().for_each(|position| out.put_u64(position.0));
    out.put_u32(u32::try_from(entries.len()).expect("a run holds what was in memory once"));
    out.put_u32(0);
    for first in chunks.clone().filter_map(|chunk| chunk.first()) {
        out.put_i64(first.due.0);
        out.put_u64(first.offset.0);
    }
    let crc = crc_of(&out[..HEADER_BYTES - 4], &out[HEADER_BYTES..]);
    out[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    for chunk in chunks {
        let start = out.len();
        for Waits { due, offset, record_bytes, identity } in chunk {
            out.put_i64(due.0);
            out.put_u64(offset.0);
            out.put_u64(*identity);
            out.put_u32(*record_bytes);
        }
        let crc = crc32fast::hash(&out[start..]);
        out.put_u32(crc);
    }
    out
}

/// A run that is open for reading.
pub(crate) struct Run {
    file: Arc<dyn File>,
    entries: usize,
    fences: Vec<Key>,
}

impl Run {
    /// Opens the run of this name and reads its directory. The text says what is wrong with it.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, name: Name) -> Result<Self, String> {
        let io = |error: std::io::Error| error.to_string();
        let file = disk.open(&dir.join(name.to_string()), OpenMode::Read).map_err(io)?;
        let mut head = [0; HEADER_BYTES];
        let read = file.read_at(&mut head, 0).map_err(io)?;
        let mut fields = &head[..];
        let (magic, version) = (fields.copy_to_bytes(4), fields.get_u32());
        let mut position = || PhysicalOffset(fields.get_u64());
        let found = Name { from: position(), to: position(), seen_to: position() };
        let (entries, crc) = (fields.get_u32() as usize, fields.get_u32());
        if read < HEADER_BYTES || magic != MAGIC[..] || version != VERSION || found != name {
            return Err(format!("not the timer run {name} of version {VERSION}"));
        }
        let chunks = entries.div_ceil(CHUNK_ENTRIES);
        let bytes = HEADER_BYTES + chunks * (FENCE_BYTES + 4) + entries * ENTRY_BYTES;
        if file.len().map_err(io)? != bytes as u64 {
            return Err(format!("not of the length that {entries} entries have"));
        }
        let mut directory = vec![0; chunks * FENCE_BYTES];
        let read = file.read_at(&mut directory, HEADER_BYTES as u64).map_err(io)?;
        if read < directory.len() || crc_of(&head[..HEADER_BYTES - 4], &directory) != crc {
            return Err("damaged directory".to_owned());
        }
        let fence = |mut fence: &[u8]| (Timestamp(fence.get_i64()), PhysicalOffset(fence.get_u64()));
        let fences = directory.chunks_exact(FENCE_BYTES).map(fence).collect();
        Ok(Self { file, entries, fences })
    }

    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> usize {
        self.fences.len()
    }

    /// The chunk that holds the first entry from a key on, if any does.
    pub(crate) fn chunk_of(&self, key: Key) -> usize {
        self.fences.partition_point(|fence| *fence <= key).saturating_sub(1)
    }

    /// The entries of a chunk. The text says what is wrong with it.
    pub(crate) fn chunk(&self, index: usize) -> Result<Vec<Waits>, String> {
        let entries = CHUNK_ENTRIES.min(self.entries - index * CHUNK_ENTRIES);
        let mut bytes = vec![0; entries * ENTRY_BYTES + 4];
        let position = HEADER_BYTES + self.fences.len() * FENCE_BYTES + index * CHUNK_BYTES;
        let read = self.file.read_at(&mut bytes, position as u64).map_err(|error| error.to_string())?;
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or("chunk without crc")?;
        if read < bytes.len() || crc32fast::hash(content) != u32::from_be_bytes(*crc) {
            return Err(format!("damaged chunk {index}"));
        }
        Ok(content.chunks_exact(ENTRY_BYTES).map(entry).collect())
    }
}

/// Puts the checksum that fits header and directory into a run's bytes and names it, whatever they are; `None` for those that are
/// too short.
#[cfg(feature = "fuzz")]
pub(crate) fn seal(file: &mut [u8]) -> Option<Name> {
    let (head, rest) = file.split_first_chunk_mut::<HEADER_BYTES>()?;
    let mut fields = &head[8..HEADER_BYTES - 4];
    let mut position = || PhysicalOffset(fields.get_u64());
    let name = Name { from: position(), to: position(), seen_to: position() };
    let chunks = (fields.get_u32() as usize).div_ceil(CHUNK_ENTRIES);
    let crc = crc_of(&head[..HEADER_BYTES - 4], rest.get(..chunks * FENCE_BYTES).unwrap_or_default());
    head[HEADER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
    Some(name)
}

fn entry(mut bytes: &[u8]) -> Waits {
    let (due, offset) = (Timestamp(bytes.get_i64()), PhysicalOffset(bytes.get_u64()));
    Waits { due, offset, identity: bytes.get_u64(), record_bytes: bytes.get_u32() }
}

fn crc_of(header: &[u8], directory: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(directory);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use env::sim;

    use super::*;

    const DIR: &str = "/timers";
    const NAME: Name = Name { from: PhysicalOffset(0), to: PhysicalOffset(1 << 40), seen_to: PhysicalOffset(1 << 41) };

    fn entries(count: u64) -> Vec<Waits> {
        let wait =
            |n| Waits { due: Timestamp((n / 3) as i64), offset: PhysicalOffset(n), record_bytes: 200, identity: !n };
        (0..count).map(wait).collect()
    }

    fn with_file<T>(bytes: &[u8], look: impl FnOnce(Result<Run, String>) -> T) -> T {
        sim::run(0, async |world: sim::World| {
            let disk = world.env().disk;
            disk.create_dir_all(Path::new(DIR)).expect("made");
            let file = disk.open(&Path::new(DIR).join(NAME.to_string()), OpenMode::Create).expect("made");
            file.write_all_at(&[IoSlice::new(bytes)], 0).expect("written");
            look(Run::open(&*disk, Path::new(DIR), NAME))
        })
    }

    fn read(run: &Run) -> Result<Vec<Waits>, String> {
        (0..run.chunks()).map(|chunk| run.chunk(chunk)).collect::<Result<Vec<_>, _>>().map(|chunks| chunks.concat())
    }

    #[test]
    fn what_was_written_is_read() {
        for count in [0, 1, 256, 257, 1000] {
            let expected = entries(count);
            with_file(&encode(NAME, &expected), |run| assert_eq!(read(&run.expect("whole")), Ok(expected)));
        }
    }

    #[test]
    fn a_key_is_looked_for_in_one_chunk() {
        let all = entries(1000);
        with_file(&encode(NAME, &all), |run| {
            let run = run.expect("whole");
            for entry in &all {
                let chunk = run.chunk(run.chunk_of(entry.key())).expect("whole");
                assert!(chunk.contains(entry), "{entry:?}");
            }
            assert_eq!((run.chunk_of((Timestamp(-5), PhysicalOffset(0))), run.chunks()), (0, 4));
        });
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let (whole, all) = (encode(NAME, &entries(300)), entries(300));
        let is_noticed = |bytes: &[u8]| with_file(bytes, |run| run.and_then(|run| read(&run)) != Ok(all.clone()));
        assert!(!is_noticed(&whole));
        for length in (0..whole.len()).step_by(7) {
            assert!(is_noticed(&whole[..length]), "cut at {length}");
        }
        for bit in (0..whole.len() * 8).step_by(5) {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(with_file(&damaged, |run| run.and_then(|run| read(&run)).is_err()), "bit {bit}");
        }
    }
}
