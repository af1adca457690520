//! Reading the log from its files in order: what a start replays and where it finds the log's end.
//!
//! A record counts when its lengths fit each other and the segment, its body has the stored CRC, no piece of it is
//! missing, it says that it is where it is, it is not stored much earlier than the one before, and continues its queue.
//! The log ends before the first that does not.

pub(crate) mod proof;
pub(crate) mod rebuild;
pub(crate) mod search;

use std::time::Duration;

use record::{BLANK_BYTES, Peek, Record};
use types::{PhysicalOffset, QueueOffset, Timestamp};

use crate::commit_log::End;
use crate::files::Error;
use crate::log_state;
use crate::machine::Machine;
use crate::queue_index::{Entry, QueueIndex, SavedQueue};
use crate::segments::Segments;

/// Bytes read at once; a longer record is read whole.
const WINDOW_BYTES: usize = 1024 * 1024;
/// How far a record's store time may lie before that of the record before it. Ours never does; Apache's may by
/// what its clock was set back.
const STORED_BACK_MAX: Duration = Duration::from_secs(600);

/// What is wrong with a place that holds zeros.
pub(crate) const NOTHING: &str = "nothing is written here";

/// What is wrong with a place whose segment is not there.
pub(crate) const MISSING: &str = "the file is missing";

/// What is wrong with a log that begins behind such a place.
pub(crate) const NOT_EXPIRED: &str = "neither a checkpoint nor a state in the log says that it has expired";

/// Why a scan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Zeros, or no file.
    Nothing { at: u64 },
    /// The position that was asked for.
    Reached,
    /// Something that is not a valid record.
    Invalid { at: u64, problem: String },
}

impl Stop {
    /// Where it ended and what is wrong there; `None` where it was asked to end.
    pub(crate) fn place(self, segments: &Segments) -> Result<Option<(u64, String)>, Error> {
        Ok(match self {
            Self::Reached => None,
            Self::Invalid { at, problem } => Some((at, problem)),
            Self::Nothing { at } if segments.bases()?.contains(&segments.base_of(at)) => Some((at, NOTHING.to_owned())),
            Self::Nothing { at } => Some((at, MISSING.to_owned())),
        })
    }
}

/// What a scan does with what it finds.
pub(crate) trait Visitor {
    /// Takes a record; an error says why it does not count and ends the scan before it.
    fn record(&mut self, record: &Record<'_>) -> Result<(), String>;

    /// Whether a record with a damaged body counts, too: where a checkpoint says that it was whole.
    fn takes_damaged_bodies(&self) -> bool {
        false
    }

    /// The first record of the next segment was found valid; the one before ends at `end`.
    fn segment_done(&mut self, _base: u64, _end: End) -> Result<(), Error> {
        Ok(())
    }
}

/// Visits the records from `from` on, up to `to` if given. Returns the end of the last one that counts.
pub(crate) fn scan(
    segments: &Segments,
    from: End,
    to: Option<u64>,
    visitor: &mut impl Visitor,
) -> Result<(End, Stop), Error> {
    let mut window = Window::new(segments)?;
    window.takes_damaged_bodies = visitor.takes_damaged_bodies();
    let mut end = from;
    let mut position = from.at.0;
    loop {
        if to.is_some_and(|to| position >= to) {
            return Ok((end, Stop::Reached));
        }
        match window.step(position, end.last_stored_at)? {
            Step::Blank { bytes } => position += bytes,
            Step::Stop(stop) => return Ok((end, stop)),
            Step::Record(record) => {
                let (before, base) = (segments.base_of(end.at.0), segments.base_of(position));
                if before != base {
                    visitor.segment_done(before, end)?;
                }
                if let Err(problem) = visitor.record(&record) {
                    return Ok((end, Stop::Invalid { at: position, problem }));
                }
                let last = Some(PhysicalOffset(position));
                position += u64::from(record.header.record_bytes);
                let last_stored_at = record.header.stored_at.max(end.last_stored_at);
                end = End { at: PhysicalOffset(position), last, last_stored_at };
            }
        }
    }
}

enum Step<'a> {
    Record(Record<'a>),
    Blank { bytes: u64 },
    Stop(Stop),
}

/// The part of a segment that was read last.
struct Window<'s> {
    segments: &'s Segments,
    bases: Vec<u64>,
    at: u64,
    bytes: Vec<u8>,
    takes_damaged_bodies: bool,
}

impl<'s> Window<'s> {
    fn new(segments: &'s Segments) -> Result<Self, Error> {
        Ok(Self { segments, bases: segments.bases()?, at: 0, bytes: Vec::new(), takes_damaged_bodies: false })
    }

    fn step(&mut self, position: u64, not_before: Timestamp) -> Result<Step<'_>, Error> {
        if self.bases.binary_search(&self.segments.base_of(position)).is_err() {
            return Ok(Step::Stop(Stop::Nothing { at: position }));
        }
        let left = self.segments.segment_bytes - position % self.segments.segment_bytes;
        let invalid = |problem: String| Ok(Step::Stop(Stop::Invalid { at: position, problem }));
        let bytes = match record::peek(self.get(position, BLANK_BYTES)?) {
            Ok(Peek::Nothing) => return Ok(Step::Stop(Stop::Nothing { at: position })),
            Ok(Peek::Blank { bytes }) if u64::from(bytes) == left => return Ok(Step::Blank { bytes: left }),
            Ok(Peek::Blank { bytes }) => return invalid(format!("blank of {bytes} bytes, {left} are left")),
            Ok(Peek::Record { bytes }) if u64::from(bytes) + BLANK_BYTES as u64 > left => {
                return invalid(format!("record of {bytes} bytes, {left} are left"));
            }
            Ok(Peek::Record { bytes }) => bytes as usize,
            Err(error) => return invalid(error.to_string()),
        };
        let takes_damaged_bodies = self.takes_damaged_bodies;
        match check(self.get(position, bytes)?, position, not_before, takes_damaged_bodies) {
            Ok(record) => Ok(Step::Record(record)),
            Err(problem) => invalid(problem),
        }
    }

    /// At least `needed` bytes from a position on, fewer when the file ends before.
    fn get(&mut self, position: u64, needed: usize) -> Result<&[u8], Error> {
        let end = self.at + self.bytes.len() as u64;
        if position < self.at || position + needed as u64 > end {
            self.fill(position, needed)?;
        }
        Ok(&self.bytes[(position - self.at) as usize..])
    }

    fn fill(&mut self, position: u64, needed: usize) -> Result<(), Error> {
        let base = self.segments.base_of(position);
        let path = self.segments.path(base);
        let left = self.segments.segment_bytes - (position - base);
        let file = self.segments.reading(position).map_err(Error::at("open", &path))?;
        self.bytes.resize(needed.max(WINDOW_BYTES).min(left as usize), 0);
        self.at = position;
        let read = file.read_at(&mut self.bytes, position - base).map_err(Error::at("read", &path))?;
        self.bytes.truncate(read);
        Ok(())
    }
}

/// The record at `position`, if these bytes are one that may be there; the text says why not.
pub(crate) fn check(
    bytes: &[u8],
    position: u64,
    not_before: Timestamp,
    takes_damaged_bodies: bool,
) -> Result<Record<'_>, String> {
    let record = record::decode(bytes).map_err(|error| error.to_string())?;
    match record.check() {
        Err(record::Error::Crc { .. }) if takes_damaged_bodies => {}
        checked => checked.map_err(|error| error.to_string())?,
    }
    if record.header.physical_offset.0 != position {
        return Err(format!("it says that it is at {}", record.header.physical_offset));
    }
    if record.header.stored_at.plus(STORED_BACK_MAX) < not_before {
        return Err(format!("stored at {} after a record of {not_before}", record.header.stored_at));
    }
    Ok(record)
}

/// Whether the log holds what a checkpoint was taken over: the last record before it, ending where it was taken. Its body
/// may be damaged, as that of any record before: the one who reads it is told so.
pub(crate) fn is_covered(segments: &Segments, end: End) -> Result<bool, Error> {
    let Some(last) = end.last else { return Ok(end.at.0 == segments.first()) };
    let segment_end = segments.end_of(last.0);
    if last < PhysicalOffset(segments.first()) || last >= end.at || end.at.0 > segment_end {
        return Ok(false);
    }
    let mut window = Window::new(segments)?;
    if window.bases.binary_search(&segments.base_of(last.0)).is_err() {
        return Ok(false);
    }
    let record_bytes = end.at.0 - last.0;
    let bytes = window.get(last.0, record_bytes as usize)?;
    let is_it = |record: Record<'_>| {
        record.header.physical_offset == last && u64::from(record.header.record_bytes) == record_bytes
    };
    Ok(record::decode(bytes).is_ok_and(is_it))
}

/// Feeds index and machines at start-up.
pub(crate) struct Replay<'a, F: FnMut(u64, End, &mut QueueIndex, &mut dyn Machine) -> Result<(), Error>> {
    pub(crate) index: &'a mut QueueIndex,
    pub(crate) machines: &'a mut dyn Machine,
    /// Whether a queue's first record may have any offset: those before it have expired.
    pub(crate) may_begin_late: bool,
    /// The state in the log that the machines go on from; the records before it are for the index, and for what
    /// such a state leaves to them.
    pub(crate) base: Option<Base<'a>>,
    /// What the states in the log say of its begin.
    pub(crate) states: log_state::Begins,
    /// Called at each segment's end with its base and the log's end there.
    pub(crate) on_segment: F,
}

/// What is known of the queues at a position.
pub(crate) struct Base<'a> {
    pub(crate) at: PhysicalOffset,
    pub(crate) queues: Vec<SavedQueue<'a>>,
}

impl<F: FnMut(u64, End, &mut QueueIndex, &mut dyn Machine) -> Result<(), Error>> Visitor for Replay<'_, F> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        self.states.take(record);
        if let Some(base) = self.base.take_if(|base| base.at <= record.header.physical_offset) {
            base.queues.into_iter().for_each(|saved| self.index.adopt(saved));
            self.may_begin_late = false;
        }
        enter(self.index, record, self.may_begin_late)?;
        match self.base {
            None => self.machines.apply(record),
            Some(_) => self.machines.apply_early(record),
        }
        Ok(())
    }

    fn segment_done(&mut self, base: u64, end: End) -> Result<(), Error> {
        (self.on_segment)(base, end, self.index, self.machines)
    }
}

/// Enters a stored record in the index; the text says why it does not continue its queue, and then nothing was changed.
pub(crate) fn enter(index: &mut QueueIndex, record: &Record<'_>, may_begin_late: bool) -> Result<(), String> {
    if !record.is_queued() {
        return Ok(());
    }
    let (queue, offset) = (record.header.queue, record.header.queue_offset);
    let known = index.find(record.topic, queue).map(|number| index.range(number).next);
    check_offset(known, offset, may_begin_late)?;
    let number = index.intern(record.topic, queue);
    if known.is_none() {
        index.begin_at(number, offset);
    }
    let hashes = record.hashes();
    index.push(number, Entry::of(record, &hashes), &hashes.keys);
    Ok(())
}

/// Whether a record may have `offset` when its queue goes on at `known`.
pub(crate) fn check_offset(
    known: Option<QueueOffset>,
    offset: QueueOffset,
    may_begin_late: bool,
) -> Result<(), String> {
    let expected = known.unwrap_or_default();
    let may_begin = known.is_none() && may_begin_late;
    if expected == offset || may_begin {
        Ok(())
    } else {
        Err(format!("its queue goes on at {expected} and not {offset}"))
    }
}

/// Positions of the records in a stretch of the log that have a key of this hash, rising: what its index run should say.
pub(crate) fn positions_of_key(segments: &Segments, from: u64, to: u64, hash: u64) -> Result<Vec<u64>, String> {
    struct Collect {
        hash: u64,
        found: Vec<u64>,
    }
    impl Visitor for Collect {
        fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
            if record.is_queued() && record.hashes().keys.contains(&self.hash) {
                self.found.push(record.header.physical_offset.0);
            }
            Ok(())
        }

        fn takes_damaged_bodies(&self) -> bool {
            true
        }
    }
    let mut collect = Collect { hash, found: Vec::new() };
    scan_stretch(segments, from, to, &mut collect)?;
    Ok(collect.found)
}

/// Gives `visit` the records of a stretch that have not expired until it says `false`; whether it never did.
pub(crate) fn visit_stretch(
    segments: &Segments,
    from: u64,
    to: u64,
    visit: impl FnMut(&Record<'_>) -> bool,
) -> Result<bool, String> {
    struct Visit<F> {
        visit: F,
        is_ended: bool,
    }
    impl<F: FnMut(&Record<'_>) -> bool> Visitor for Visit<F> {
        fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
            self.is_ended = !(self.visit)(record);
            if self.is_ended { Err("nobody wants more".to_owned()) } else { Ok(()) }
        }

        fn takes_damaged_bodies(&self) -> bool {
            true
        }
    }
    let mut visit = Visit { visit, is_ended: false };
    match scan_stretch(segments, from, to, &mut visit) {
        Err(_) if visit.is_ended => Ok(false),
        scanned => scanned.map(|()| true),
    }
}

/// Visits all records of a stretch of the log that have not expired. The text says why it cannot be read to its end.
fn scan_stretch(segments: &Segments, from: u64, to: u64, visitor: &mut impl Visitor) -> Result<(), String> {
    let from = from.max(segments.first());
    let start = End { at: PhysicalOffset(from), last: None, last_stored_at: Timestamp(i64::MIN) };
    match scan(segments, start, Some(to), visitor) {
        Ok((_, Stop::Reached)) => Ok(()),
        Ok((_, Stop::Nothing { at })) => Err(format!("the log ends at {at}")),
        Ok((_, Stop::Invalid { at, problem })) => Err(format!("record at {at}: {problem}")),
        Err(error) => Err(error.to_string()),
    }
}
