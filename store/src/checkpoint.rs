//! Checkpoints: the state of machines and queues at a position of the log, so that start-up costs the tail.
//!
//! | bytes  | content                                                                                      |
//! |--------|----------------------------------------------------------------------------------------------|
//! | 0..4   | `GCKP`                                                                                       |
//! | 4..8   | version, 2                                                                                   |
//! | 8..16  | length of the body                                                                           |
//! | 16..20 | CRC-32 of the body                                                                           |
//! | 20..   | body: position of the log (8), start of the last record before it (8, all ones for none), its |
//! |        | store time (8); queues (4), each topic length (2), topic, queue (4), first offset (8), next   |
//! |        | offset (8); length of the machines' snapshot (8), snapshot; runs (4), each from (8), to (8),  |
//! |        | CRC (4); where the log begins or is about to begin (8), which version 1 did not say           |
//!
//! Numbers are big-endian. Files are named by their position. Derived: what is damaged, missing or
//! beyond the log's end is not used, and the log is replayed from an older one or from its start.

pub(crate) mod publisher;

use bytes::{Buf, BufMut};
use types::{PhysicalOffset, QueueId, Timestamp};

use crate::commit_log::End;
use crate::queue_index::SavedQueue;
use crate::queue_index::run::RunName;

const MAGIC: &[u8; 4] = b"GCKP";
const VERSION: u32 = 2;
pub(crate) const HEADER_BYTES: usize = 20;
/// Checkpoints that are kept: the newest, and one for the case that it is damaged.
pub(crate) const GENERATIONS: usize = 2;
const NO_RECORD: u64 = u64::MAX;

/// The first part of a body: all that is known on the engine's thread. The runs follow once they are written.
pub(crate) fn begin_body<'a>(
    end: End,
    queues: impl ExactSizeIterator<Item = SavedQueue<'a>>,
    snapshot: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut body = Vec::new();
    body.put_u64(end.at.0);
    body.put_u64(end.last.map_or(NO_RECORD, |last| last.0));
    body.put_i64(end.last_stored_at.0);
    body.put_u32(u32::try_from(queues.len()).expect("queues are numbered by 32 bits"));
    for saved in queues {
        body.put_u16(u16::try_from(saved.topic.len()).expect("a record's topic has at most 255 bytes"));
        body.put_slice(saved.topic.as_bytes());
        body.put_u32(saved.queue.0);
        body.put_u64(saved.min);
        body.put_u64(saved.next);
    }
    let length_at = body.len();
    body.put_u64(0);
    snapshot(&mut body);
    let snapshot_bytes = (body.len() - length_at - 8) as u64;
    body[length_at..length_at + 8].copy_from_slice(&snapshot_bytes.to_be_bytes());
    body
}

/// Completes a checkpoint's body and makes its header.
fn finish(body: &mut Vec<u8>, runs: &[RunName], begins: u64) -> Vec<u8> {
    finish_body(body, runs);
    body.put_u64(begins);
    header(body)
}

/// Completes a body but for what only a checkpoint says.
pub(crate) fn finish_body(body: &mut Vec<u8>, runs: &[RunName]) {
    body.put_u32(u32::try_from(runs.len()).expect("a log has fewer than 2^32 runs"));
    for run in runs {
        body.put_u64(run.from);
        body.put_u64(run.to);
        body.put_u32(run.crc);
    }
}

/// The header of a body.
pub(crate) fn header(body: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.put_slice(MAGIC);
    header.put_u32(VERSION);
    header.put_u64(body.len() as u64);
    header.put_u32(crc32fast::hash(body));
    header
}

/// A checkpoint as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint<'a> {
    pub(crate) end: End,
    pub(crate) queues: Vec<SavedQueue<'a>>,
    pub(crate) snapshot: &'a [u8],
    pub(crate) runs: Vec<RunName>,
    /// The log begins here or earlier: more has not expired. `None` when it does not say.
    pub(crate) begins: Option<u64>,
}

/// Reads a checkpoint; the text says what is wrong with it.
pub(crate) fn parse(file: &[u8]) -> Result<Checkpoint<'_>, &'static str> {
    let (mut header, body) = file.split_at_checked(HEADER_BYTES).ok_or("too short")?;
    let (magic, version) = (header.copy_to_bytes(4), header.get_u32());
    let (body_bytes, crc) = (header.get_u64(), header.get_u32());
    if magic != MAGIC[..] || !(1..=VERSION).contains(&version) {
        return Err("not a checkpoint of this version");
    }
    if body_bytes != body.len() as u64 || crc32fast::hash(body) != crc {
        return Err("damaged");
    }
    let parsed = match version {
        1 => parse_body(body),
        _ => body.split_last_chunk().and_then(|(body, begins)| {
            let begins = Some(u64::from_be_bytes(*begins));
            Some(Checkpoint { begins, ..parse_body(body)? })
        }),
    };
    parsed.ok_or("body does not fit its lengths")
}

/// Reads a body up to where [`finish_body`] ends; `None` when its lengths do not fit.
pub(crate) fn parse_body(mut body: &[u8]) -> Option<Checkpoint<'_>> {
    let at = PhysicalOffset(body.try_get_u64().ok()?);
    let last = body.try_get_u64().ok()?;
    let last = (last != NO_RECORD).then_some(PhysicalOffset(last));
    let last_stored_at = Timestamp(body.try_get_i64().ok()?);
    let mut queues = Vec::new();
    for _ in 0..body.try_get_u32().ok()? {
        let topic_bytes = usize::from(body.try_get_u16().ok()?);
        let topic = str::from_utf8(take(&mut body, topic_bytes)?).ok()?;
        let queue = QueueId(body.try_get_u32().ok()?);
        let (min, next) = (body.try_get_u64().ok()?, body.try_get_u64().ok()?);
        queues.push(SavedQueue { topic, queue, min, next });
    }
    let snapshot_bytes = usize::try_from(body.try_get_u64().ok()?).ok()?;
    let snapshot = take(&mut body, snapshot_bytes)?;
    let mut runs = Vec::new();
    for _ in 0..body.try_get_u32().ok()? {
        let (from, to) = (body.try_get_u64().ok()?, body.try_get_u64().ok()?);
        runs.push(RunName { from, to, crc: body.try_get_u32().ok()? });
    }
    let end = End { at, last, last_stored_at };
    body.is_empty().then_some(Checkpoint { end, queues, snapshot, runs, begins: None })
}

fn take<'a>(body: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (part, rest) = body.split_at_checked(bytes)?;
    *body = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let end = End { at: PhysicalOffset(500), last: Some(PhysicalOffset(300)), last_stored_at: Timestamp(7) };
        let queues = vec![SavedQueue { topic: "%RETRY%g+t", queue: QueueId(3), min: 4, next: 9 }];
        let mut body = begin_body(end, queues.into_iter(), |out| out.put_slice(b"machines"));
        let mut file = finish(&mut body, &[RunName { from: 0, to: 500, crc: 77 }], 250);
        file.append(&mut body);
        file
    }

    #[test]
    fn what_was_written_is_read() {
        let file = sample();
        let checkpoint = parse(&file).expect("whole");
        assert_eq!(checkpoint.end.at, PhysicalOffset(500));
        assert_eq!(checkpoint.end.last, Some(PhysicalOffset(300)));
        assert_eq!(checkpoint.queues, [SavedQueue { topic: "%RETRY%g+t", queue: QueueId(3), min: 4, next: 9 }]);
        assert_eq!(checkpoint.snapshot, b"machines");
        assert_eq!(checkpoint.runs, [RunName { from: 0, to: 500, crc: 77 }]);
        assert_eq!(checkpoint.begins, Some(250));
    }

    #[test]
    fn the_first_version_is_read() {
        let mut file = sample();
        file.truncate(file.len() - 8);
        let mut header = header(&file[HEADER_BYTES..]);
        header[7] = 1;
        file.splice(..HEADER_BYTES, header);
        let checkpoint = parse(&file).expect("whole");
        assert_eq!((checkpoint.snapshot, checkpoint.begins), (&b"machines"[..], None));
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let file = sample();
        for length in 0..file.len() {
            assert!(parse(&file[..length]).is_err(), "cut at {length}");
        }
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&damaged).is_err(), "bit {bit}");
        }
    }
}
