//! What reader threads do: read records and keys from the disk, and on behind them for those who go on there.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use record::{Peek, RECORD_BYTES_MAX, RECORD_BYTES_MIN};
use types::PhysicalOffset;

use super::ahead::{ReadAhead, Wanted};
use super::waiting::Waiting;
use super::{GAP_BYTES_MAX, Place, Positions, RUN_BYTES_MAX, ReadError, Request, check};
use crate::marks::Marks;
use crate::queue_index::keys::KeySearch;
use crate::recovery::MISSING;
use crate::segments::Segments;
use crate::signal::Signal;

/// Threads that read from the disk.
pub(crate) const THREADS: usize = 2;
/// First read of a record whose length is not known, in bytes: most records end within it.
const GUESS_BYTES: usize = 4096;

/// What the reader threads share.
pub(crate) struct Pool {
    segments: Arc<Segments>,
    marks: Marks,
    ahead: Arc<ReadAhead>,
    waiting: Arc<Waiting>,
}

impl Pool {
    pub(super) fn new(segments: Arc<Segments>, marks: Marks, ahead: Arc<ReadAhead>, waiting: Arc<Waiting>) -> Self {
        Self { segments, marks, ahead, waiting }
    }

    /// Serves reads until the store ends.
    pub(crate) async fn run(self: Arc<Self>, signal: Arc<Signal>) {
        let mut draining = pin!(signal.draining());
        loop {
            let request = tokio::select! {
                biased;
                () = &mut draining => return,
                request = self.waiting.next() => request,
            };
            // A caller that went away does not need the answer.
            match request {
                Request::Records { places, answer } if !answer.is_closed() => drop(answer.send(self.read_all(&places))),
                Request::Keys { search, before, max, answer } if !answer.is_closed() => {
                    drop(answer.send(self.find_keys(&search, before, max)));
                }
                Request::Raw { from, to, answer } if !answer.is_closed() => drop(answer.send(self.read_raw(from, to))),
                Request::Ahead(wanted) => self.read_ahead(&wanted),
                Request::Records { .. } | Request::Keys { .. } | Request::Raw { .. } => {}
            }
        }
    }

    fn find_keys(&self, search: &KeySearch, before: PhysicalOffset, max: usize) -> Positions {
        let before = before.min(self.marks.visible_to());
        let unreadable = |detail| ReadError::Unreadable { offset: before, detail };
        search.newest(&self.segments, before.0, max).map_err(unreadable)
    }

    fn read_all(&self, places: &[Place]) -> Vec<Result<Bytes, ReadError>> {
        let is_one_run = |run: &[Place], next: &Place| {
            let (first, last) = (run[0], run[run.len() - 1]);
            next.bytes.is_some()
                && (last.end()..=last.end() + GAP_BYTES_MAX).contains(&next.offset.0)
                && next.end() - first.offset.0 <= RUN_BYTES_MAX
                && self.segments.base_of(next.offset.0) == self.segments.base_of(first.offset.0)
        };
        let mut records = Vec::with_capacity(places.len());
        let mut rest = places;
        while let [place, later @ ..] = rest {
            // Somebody else may have had it read since it was asked for.
            if let Some(record) = self.ahead.kept().record(*place) {
                records.push(Ok(record));
                rest = later;
                continue;
            }
            let more = (1..rest.len()).take_while(|&count| is_one_run(&rest[..count], &rest[count])).count();
            let (run, later) = rest.split_at(1 + more);
            records.extend(self.read_run(run));
            rest = later;
        }
        let appended_to = self.marks.appended_to().0;
        if let Some(last) = places.last().filter(|last| last.bytes.is_some() && last.end() <= appended_to) {
            self.ahead.ended_at(last.end());
        }
        records
    }

    /// Reads records that lie close together at once, and those for which that does not succeed one by one.
    fn read_run(&self, run: &[Place]) -> Vec<Result<Bytes, ReadError>> {
        let (from, end, appended_to) = (run[0].offset, run[run.len() - 1].end(), self.marks.appended_to().0);
        let is_possible = from.0 >= self.segments.first() && end <= appended_to && end - from.0 <= RUN_BYTES_MAX;
        let read = || self.read_bytes(from, (end - from.0) as usize).map(Bytes::from).ok();
        let buffer = if run.len() > 1 && is_possible { read() } else { None };
        let whole = |place: &Place| {
            let (start, end) = ((place.offset.0 - from.0) as usize, (place.end() - from.0) as usize);
            let buffer = buffer.as_ref().filter(|buffer| end <= buffer.len())?;
            let record = buffer.slice(start..end);
            check(place.offset, &record).is_ok().then_some(record)
        };
        run.iter().map(|place| whole(place).map_or_else(|| self.read(*place), Ok)).collect()
    }

    /// Reads a block for those who will come to it. What cannot be read is told to who comes to it.
    fn read_ahead(&self, wanted: &Wanted) {
        let (from, end) = wanted.range();
        let mut buffer = self.ahead.memory();
        buffer.resize((end - from) as usize, 0);
        if let Ok(read) = self.read_into(PhysicalOffset(from), &mut buffer) {
            buffer.truncate(read);
            self.ahead.keep(from, buffer.freeze());
        }
    }

    /// The log's bytes from `from` on, up to `to` or the end of their segment, whatever they are.
    fn read_raw(&self, from: PhysicalOffset, to: PhysicalOffset) -> Result<Bytes, ReadError> {
        let end = self.end_behind(from)?;
        let to = to.min(end).0.min(self.segments.end_of(from.0));
        let wanted = to.saturating_sub(from.0) as usize;
        let mut buffer = self.read_bytes(from, wanted).map_err(|error| self.unreadable(from, &error))?;
        // A blank is written without its rest, and after a power loss a file may end there though room was made for all of it.
        buffer.resize(wanted, 0);
        Ok(Bytes::from(buffer))
    }

    /// Where the log ends, if `offset` is in it.
    fn end_behind(&self, offset: PhysicalOffset) -> Result<PhysicalOffset, ReadError> {
        let (first, end) = (PhysicalOffset(self.segments.first()), self.marks.appended_to());
        if offset < first {
            return Err(ReadError::Expired { offset, first });
        }
        if offset >= end {
            return Err(ReadError::OutOfLog { offset, first, end });
        }
        Ok(end)
    }

    /// Why the system did not give what is at `offset`, which was in the log when it was looked.
    fn unreadable(&self, offset: PhysicalOffset, error: &io::Error) -> ReadError {
        match PhysicalOffset(self.segments.first()) {
            // Since then.
            first if offset < first => ReadError::Expired { offset, first },
            // It was there once, and does not come back while we run.
            _ if error.kind() == io::ErrorKind::NotFound => ReadError::Damaged { offset, problem: MISSING.to_owned() },
            _ => ReadError::Unreadable { offset, detail: error.to_string() },
        }
    }

    fn read(&self, Place { offset, bytes }: Place) -> Result<Bytes, ReadError> {
        let end = self.end_behind(offset)?;
        let left = end.0.min(self.segments.end_of(offset.0)) - offset.0;
        let damaged = |problem: String| ReadError::Damaged { offset, problem };
        let unreadable = |error: io::Error| self.unreadable(offset, &error);
        let wanted = bytes.map_or(GUESS_BYTES, |bytes| bytes as usize);
        if bytes.is_some() && !(RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&wanted)
            || wanted as u64 > left && bytes.is_some()
        {
            return Err(damaged(format!("{wanted} bytes are not possible there")));
        }
        let mut buffer = self.read_bytes(offset, wanted.min(left as usize)).map_err(unreadable)?;
        let Peek::Record { bytes: stored } = record::peek(&buffer).map_err(|error| damaged(error.to_string()))? else {
            return Err(damaged("no record begins there".to_owned()));
        };
        if bytes.is_some_and(|bytes| bytes != stored) {
            return Err(damaged(format!("it has {stored} bytes and not {wanted}")));
        }
        if stored as usize > buffer.len() && u64::from(stored) <= left {
            buffer = self.read_bytes(offset, stored as usize).map_err(unreadable)?;
        }
        buffer.truncate(stored as usize);
        check(offset, &buffer).map_err(damaged)?;
        Ok(Bytes::from(buffer))
    }

    fn read_bytes(&self, offset: PhysicalOffset, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        let read = self.read_into(offset, &mut buffer)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    fn read_into(&self, offset: PhysicalOffset, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.segments.reading(offset.0)?;
        file.read_at(buffer, offset.0 - self.segments.base_of(offset.0))
    }
}

impl Drop for Pool {
    /// The last thread has ended: who waits is told, and nobody waits from now on.
    fn drop(&mut self) {
        self.waiting.close();
    }
}
