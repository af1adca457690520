//! Records' bytes for everyone but the engine: from the hot tail at once, from the disk by reader threads.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use record::{Peek, RECORD_BYTES_MAX, RECORD_BYTES_MIN};
use tokio::sync::{Mutex, mpsc, oneshot};
use types::PhysicalOffset;

use crate::hot_tail::HotTail;
use crate::marks::{Failed, Marks};
use crate::queue_index::keys::KeySearch;
use crate::recovery::MISSING;
use crate::segments::Segments;
use crate::signal::Signal;

/// Threads that read from the disk.
pub(crate) const THREADS: usize = 2;
/// Reads that wait for a thread; each is of the cold records of one receive.
const WAITING_MAX: usize = 1024;
/// Most bytes of the log that are read at once for several records: one of them, held by a slow client, holds all.
const RUN_BYTES_MAX: u64 = 256 * 1024;
/// Most bytes between two records that are read to save a call of the system.
const GAP_BYTES_MAX: u64 = 16 * 1024;
/// First read of a record whose length is not known, in bytes: most records end within it.
const GUESS_BYTES: usize = 4096;

/// Reads records by position. Cheap to clone; used from any thread.
#[derive(Clone)]
pub struct Reader {
    hot: Arc<HotTail>,
    marks: Marks,
    requests: mpsc::Sender<Request>,
}

/// Why a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// More reads wait than the bound allows.
    #[error("{waiting_max} reads are waiting for the disk")]
    Busy {
        /// The bound.
        waiting_max: usize,
    },
    /// The position is outside the log.
    #[error("no record at {offset}: the log goes from {first} to {end}")]
    OutOfLog {
        /// What was asked for.
        offset: PhysicalOffset,
        /// Where the log begins.
        first: PhysicalOffset,
        /// Where the log ends.
        end: PhysicalOffset,
    },
    /// It was there, and retention has removed it.
    #[error("record at {offset} has expired: the log begins at {first}")]
    Expired {
        /// What was asked for.
        offset: PhysicalOffset,
        /// Where the log begins.
        first: PhysicalOffset,
    },
    /// What is there is not the record.
    #[error("record at {offset} is damaged: {problem}")]
    Damaged {
        /// Where.
        offset: PhysicalOffset,
        /// What is wrong.
        problem: String,
    },
    /// The disk did not give it.
    #[error("record at {offset} cannot be read: {detail}")]
    Unreadable {
        /// Where.
        offset: PhysicalOffset,
        /// What the system said.
        detail: String,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: PhysicalOffset,
    /// The record's length, if the caller knows it.
    bytes: Option<u32>,
}

impl Place {
    fn end(self) -> u64 {
        self.offset.0 + u64::from(self.bytes.unwrap_or(0))
    }
}

/// What a reader thread is asked.
enum Request {
    /// Records; the answer has a result for each place, in order.
    Records { places: Vec<Place>, answer: oneshot::Sender<Vec<Result<Bytes, ReadError>>> },
    /// The newest positions of a search before a position, at most so many.
    Keys { search: KeySearch, before: PhysicalOffset, max: usize, answer: oneshot::Sender<Positions> },
}

type Positions = Result<Vec<PhysicalOffset>, ReadError>;

impl Reader {
    /// The reader, and the work of its threads.
    pub(crate) fn new(hot: Arc<HotTail>, marks: Marks, segments: Arc<Segments>) -> (Self, Arc<Pool>) {
        let (requests, waiting) = mpsc::channel(WAITING_MAX);
        let pool = Pool { segments, marks: marks.clone(), waiting: Mutex::new(waiting) };
        (Self { hot, marks, requests }, Arc::new(pool))
    }

    /// The record from the log's hot tail, which is in memory: a shared buffer, not a copy. `None` when it
    /// has left the tail or `offset` is not where a record begins.
    #[must_use]
    pub fn hot(&self, offset: PhysicalOffset) -> Option<Bytes> {
        self.hot.get(offset)
    }

    /// The record of this length from memory or, by a reader thread, from the disk; then checked as recovery does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, offset: PhysicalOffset, bytes: u32) -> Result<Bytes, ReadError> {
        self.one(Place { offset, bytes: Some(bytes) }).await
    }

    /// As [`Reader::read`] for a record whose length is not known; costs a second read when it is long.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find(&self, offset: PhysicalOffset) -> Result<Bytes, ReadError> {
        self.one(Place { offset, bytes: None }).await
    }

    /// As [`Reader::read`] for several records, each with a result of its own, in order. Those that are not in memory
    /// are one read of a reader thread, and one of the disk where they lie close together.
    pub async fn read_all(&self, places: impl Iterator<Item = (PhysicalOffset, u32)>) -> Vec<Result<Bytes, ReadError>> {
        let (mut cold, mut indexes, mut records) = (Vec::new(), Vec::new(), Vec::with_capacity(places.size_hint().0));
        for (index, (offset, bytes)) in places.enumerate() {
            let hot = self.hot(offset);
            if hot.is_none() {
                cold.push(Place { offset, bytes: Some(bytes) });
                indexes.push(index);
            }
            records.push(hot.ok_or(ReadError::Closed));
        }
        if !cold.is_empty() {
            for (index, record) in indexes.into_iter().zip(self.cold(cold).await) {
                records[index] = record;
            }
        }
        records
    }

    async fn one(&self, place: Place) -> Result<Bytes, ReadError> {
        match self.hot(place.offset) {
            Some(record) => Ok(record),
            None => self.cold(vec![place]).await.pop().unwrap_or(Err(ReadError::Closed)),
        }
    }

    async fn cold(&self, places: Vec<Place>) -> Vec<Result<Bytes, ReadError>> {
        let count = places.len();
        self.ask(|answer| Request::Records { places, answer }).await.unwrap_or_else(|refusal| vec![Err(refusal); count])
    }

    /// Positions before `before` of records that may have the key searched for, the newest `max`, falling. The
    /// record there may have another key of the same hash. What was not visible when the search began is not found.
    ///
    /// # Errors
    /// [`ReadError`] when neither the index nor the log below it can be read, or too much waits.
    pub async fn find_keys(&self, search: KeySearch, before: PhysicalOffset, max: usize) -> Positions {
        self.ask(|answer| Request::Keys { search, before, max, answer }).await?
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        self.requests.try_send(request(answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReadError::Busy { waiting_max: WAITING_MAX },
            mpsc::error::TrySendError::Closed(_) => ReadError::Closed,
        })?;
        answered.await.map_err(|_| ReadError::Closed)
    }

    /// The log's marks, for those who wait.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Why the store failed, if it did; what was read before stays good.
    #[must_use]
    pub fn failure(&self) -> Option<Failed> {
        self.marks.failure()
    }
}

/// What the reader threads share.
pub(crate) struct Pool {
    segments: Arc<Segments>,
    marks: Marks,
    /// Held while waiting for a request, not while reading.
    waiting: Mutex<mpsc::Receiver<Request>>,
}

impl Pool {
    /// Serves reads until the store ends.
    pub(crate) async fn run(self: Arc<Self>, signal: Arc<Signal>) {
        loop {
            let request = tokio::select! {
                biased;
                () = signal.draining() => return,
                request = async { self.waiting.lock().await.recv().await } => request,
            };
            // A caller that went away does not need the answer.
            match request {
                Some(Request::Records { places, answer }) if !answer.is_closed() => {
                    drop(answer.send(self.read_all(&places)));
                }
                Some(Request::Keys { search, before, max, answer }) if !answer.is_closed() => {
                    drop(answer.send(self.find_keys(&search, before, max)));
                }
                Some(_) => {}
                None => return,
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
        while !rest.is_empty() {
            let more = (1..rest.len()).take_while(|&count| is_one_run(&rest[..count], &rest[count])).count();
            let (run, later) = rest.split_at(1 + more);
            records.extend(self.read_run(run));
            rest = later;
        }
        records
    }

    /// Reads records that lie close together at once, and those for which that does not succeed one by one.
    fn read_run(&self, run: &[Place]) -> Vec<Result<Bytes, ReadError>> {
        let (from, end) = (run[0].offset, run[run.len() - 1].end());
        let is_in_log = from.0 >= self.segments.first() && end <= self.marks.appended_to().0;
        let buffer = match run {
            [_, _, ..] if is_in_log => self.read_bytes(from, (end - from.0) as usize).map(Bytes::from).ok(),
            _ => None,
        };
        let whole = |place: &Place| {
            let (start, end) = ((place.offset.0 - from.0) as usize, (place.end() - from.0) as usize);
            let buffer = buffer.as_ref().filter(|buffer| end <= buffer.len())?;
            let record = buffer.slice(start..end);
            check(place.offset, &record).is_ok().then_some(record)
        };
        run.iter().map(|place| whole(place).map_or_else(|| self.read(*place), Ok)).collect()
    }

    fn read(&self, Place { offset, bytes }: Place) -> Result<Bytes, ReadError> {
        let (first, end) = (PhysicalOffset(self.segments.first()), self.marks.appended_to());
        if offset < first {
            return Err(ReadError::Expired { offset, first });
        }
        if offset >= end {
            return Err(ReadError::OutOfLog { offset, first, end });
        }
        let left = end.0.min(self.segments.base_of(offset.0) + self.segments.segment_bytes) - offset.0;
        let damaged = |problem: String| ReadError::Damaged { offset, problem };
        let unreadable = |error: io::Error| match PhysicalOffset(self.segments.first()) {
            // Between the look above and the read.
            first if offset < first => ReadError::Expired { offset, first },
            // It was there once, and does not come back while we run.
            _ if error.kind() == io::ErrorKind::NotFound => ReadError::Damaged { offset, problem: MISSING.to_owned() },
            _ => ReadError::Unreadable { offset, detail: error.to_string() },
        };
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
        let file = self.segments.reading(offset.0)?;
        let mut buffer = vec![0; bytes];
        let read = file.read_at(&mut buffer, offset.0 - self.segments.base_of(offset.0))?;
        buffer.truncate(read);
        Ok(buffer)
    }
}

/// Whether these bytes, no more and no less, are the record at `offset`.
fn check(offset: PhysicalOffset, bytes: &[u8]) -> Result<(), String> {
    let record = record::decode(bytes).map_err(|error| error.to_string())?;
    record.check().map_err(|error| error.to_string())?;
    if record.header.physical_offset != offset {
        return Err(format!("it says that it is at {}", record.header.physical_offset));
    }
    match record::peek(bytes) {
        Ok(Peek::Record { bytes: stored }) if stored as usize == bytes.len() => Ok(()),
        _ => Err(format!("it does not end after {} bytes", bytes.len())),
    }
}
