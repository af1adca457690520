//! Records' bytes for everyone but the engine: from the hot tail and from what was read ahead at once, else from the disk
//! by reader threads.

mod ahead;
mod pool;
mod raw;
mod waiting;

use std::sync::Arc;

use bytes::Bytes;
use record::Peek;
use tokio::sync::oneshot;
use types::PhysicalOffset;

use crate::hot_tail::HotTail;
use crate::marks::{Failed, Marks};
use crate::queue_index::keys::KeySearch;
use crate::segments::Segments;

use ahead::{ReadAhead, Wanted};
pub(crate) use pool::{Pool, THREADS};
use waiting::Waiting;

/// Most bytes of the log that are read at once for several records: one of them, held by a slow client, holds all.
const RUN_BYTES_MAX: u64 = 256 * 1024;
/// Most bytes between two records that are read to save a call of the system.
const GAP_BYTES_MAX: u64 = 16 * 1024;

/// Most looks for a record in what is read ahead: what cannot be read there, or is gone again at once, is read for itself.
const LOOKS_MAX: usize = 3;

/// Reads records by position. Cheap to clone; used from any thread.
#[derive(Clone)]
pub struct Reader {
    hot: Arc<HotTail>,
    marks: Marks,
    ahead: Arc<ReadAhead>,
    waiting: Arc<Waiting>,
    segments: Arc<Segments>,
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
    /// The log's bytes as they are.
    Raw { from: PhysicalOffset, to: PhysicalOffset, answer: oneshot::Sender<Result<Bytes, ReadError>> },
    /// A block that a reader will come to.
    Ahead(Wanted),
}

type Positions = Result<Vec<PhysicalOffset>, ReadError>;

impl Reader {
    /// The reader, and the work of its threads.
    pub(crate) fn new(hot: Arc<HotTail>, marks: Marks, segments: Arc<Segments>) -> (Self, Arc<Pool>) {
        let waiting = Arc::new(Waiting::default());
        let ahead = Arc::new(ReadAhead::new(Arc::clone(&segments), marks.clone(), Arc::clone(&waiting)));
        let pool = Pool::new(Arc::clone(&segments), marks.clone(), Arc::clone(&ahead), Arc::clone(&waiting));
        (Self { hot, marks, ahead, waiting, segments }, Arc::new(pool))
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
        match self.hot(offset) {
            Some(record) => Ok(record),
            None => only(self.read_all(std::iter::once((offset, bytes))).await),
        }
    }

    /// As [`Reader::read`] for a record whose length is not known; costs a second read when it is long.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn find(&self, offset: PhysicalOffset) -> Result<Bytes, ReadError> {
        match self.hot(offset) {
            Some(record) => Ok(record),
            None => only(self.cold(vec![Place { offset, bytes: None }]).await),
        }
    }

    /// As [`Reader::read`] for several records, each with a result of its own, in order. Those that are not in memory
    /// are one read of a reader thread, and one of the disk where they lie close together. Who goes on where the last
    /// read ended finds the next records in memory.
    pub async fn read_all(&self, places: impl Iterator<Item = (PhysicalOffset, u32)>) -> Vec<Result<Bytes, ReadError>> {
        let places: Vec<_> = places.map(|(offset, bytes)| Place { offset, bytes: Some(bytes) }).collect();
        let records = self.in_memory(&places).await;
        let missing = records.iter().zip(&places).filter(|(record, _)| record.is_none());
        let mut cold = self.cold(missing.map(|(_, place)| *place).collect()).await.into_iter();
        let next = |record: Option<_>| record.map_or_else(|| cold.next().unwrap_or(Err(ReadError::Closed)), Ok);
        records.into_iter().map(next).collect()
    }

    /// Those that are hot or read ahead, once what is on its way is there.
    async fn in_memory(&self, places: &[Place]) -> Vec<Option<Bytes>> {
        let (mut records, mut looks_at) = (vec![None; places.len()], (0, 0));
        loop {
            let mut kept = self.ahead.kept();
            for (record, place) in records.iter_mut().zip(places).filter(|(record, _)| record.is_none()) {
                *record = self.hot(place.offset).or_else(|| kept.record(*place));
            }
            let Some(missing) = records.iter().position(Option::is_none) else { return records };
            looks_at = if looks_at.0 == missing { (missing, looks_at.1 + 1) } else { (missing, 1) };
            self.ahead.go_on(places[missing]);
            if looks_at.1 == LOOKS_MAX || !self.ahead.awaited(places[missing]).await {
                return records;
            }
        }
    }

    async fn cold(&self, places: Vec<Place>) -> Vec<Result<Bytes, ReadError>> {
        let count = places.len();
        if count == 0 {
            return Vec::new();
        }
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
        self.waiting.push(request(answer))?;
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

/// The result of a read of one record.
fn only(mut records: Vec<Result<Bytes, ReadError>>) -> Result<Bytes, ReadError> {
    records.pop().unwrap_or(Err(ReadError::Closed))
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

#[cfg(test)]
mod tests;
