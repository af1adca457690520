//! Source records of outcomes: from memory at once, from the disk by a helper that reports back.

use bytes::Bytes;
use store::{ReadError, Reader};
use tokio::sync::mpsc;
use types::PhysicalOffset;
use types::broker::Unavailable;

use super::Engine;
use crate::command::{Fetched, Outcome};
use crate::options::FETCHES_MAX;

/// Most records that are one request to the reader threads.
const TOGETHER_MAX: usize = 64;

/// A record to read.
#[derive(Debug)]
pub(crate) struct Job {
    outcome: Outcome,
    offset: PhysicalOffset,
    record_bytes: u32,
}

/// Reads that are under way, at most [`FETCHES_MAX`], and those that came back.
#[derive(Debug)]
pub(crate) struct Fetches {
    jobs: mpsc::Sender<Job>,
    results: mpsc::Receiver<Fetched>,
    done: Vec<Fetched>,
    under_way: usize,
}

impl Fetches {
    /// The engine's end, and what [`fetch_loop`] needs.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Job>, mpsc::Sender<Fetched>) {
        let (jobs, to_read) = mpsc::channel(FETCHES_MAX);
        let (report, results) = mpsc::channel(FETCHES_MAX);
        (Self { jobs, results, done: Vec::new(), under_way: 0 }, to_read, report)
    }

    pub(super) fn is_full(&self) -> bool {
        self.under_way >= FETCHES_MAX
    }

    pub(super) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Takes what has come back.
    pub(super) fn take_done(&mut self) {
        while let Ok(fetched) = self.results.try_recv() {
            self.done.push(fetched);
        }
    }

    /// Completes when something has come back.
    pub(super) async fn wait(&mut self) {
        match self.results.recv().await {
            Some(fetched) => self.done.push(fetched),
            None => std::future::pending().await,
        }
    }

    fn start(&mut self, job: Job) -> Result<(), Outcome> {
        if self.is_full() {
            return Err(job.outcome);
        }
        self.jobs.try_send(job).map_err(|error| error.into_inner().outcome)?;
        self.under_way += 1;
        Ok(())
    }
}

/// The helper: reads what waits, in order and together, until the engine is gone.
pub(crate) async fn fetch_loop(reader: Reader, mut jobs: mpsc::Receiver<Job>, report: mpsc::Sender<Fetched>) {
    let mut together = Vec::with_capacity(TOGETHER_MAX);
    while jobs.recv_many(&mut together, TOGETHER_MAX).await > 0 {
        let records = reader.read_all(together.iter().map(|job| (job.offset, job.record_bytes))).await;
        for (Job { outcome, .. }, record) in together.drain(..).zip(records) {
            if report.send(Fetched { outcome, record }).await.is_err() {
                return;
            }
        }
    }
}

impl Engine {
    /// Goes on with an outcome once its source record is there: at once when it is in memory.
    pub(super) fn fetch(&mut self, outcome: Outcome, offset: PhysicalOffset, record_bytes: u32) {
        if let Some(record) = self.shared.reader.hot(offset) {
            return self.complete(outcome, Ok(record));
        }
        if let Err(outcome) = self.fetches.start(Job { outcome, offset, record_bytes }) {
            self.complete(outcome, Err(ReadError::Busy { waiting_max: FETCHES_MAX }));
        }
    }

    /// Goes on with outcomes whose records came from the disk.
    pub(super) fn complete_fetches(&mut self) {
        for Fetched { outcome, record } in std::mem::take(&mut self.fetches.done) {
            self.fetches.under_way -= 1;
            self.complete(outcome, record);
        }
    }

    fn complete(&mut self, outcome: Outcome, record: Result<Bytes, ReadError>) {
        let record = match &self.failure {
            Some(why) => Err(Unread::Now(why.clone())),
            None => record.map_err(unread),
        };
        match outcome {
            Outcome::Deliver(due) => self.deliver(due, record),
            Outcome::Commit { half, command } => self.commit(&half, command, record),
            Outcome::Park(half) => self.park(&half, record),
            Outcome::Check(half) => self.check(half, record),
            Outcome::DeadLetter { message, reply } => self.bury(message, reply, record),
            Outcome::Retry(entry) => self.retry(&entry, record),
            Outcome::CarryTimer(due) => self.carried_timer(due, record),
            Outcome::CarryHalf(half) => self.carried_half(&half, record),
        }
    }
}

/// Why there is no source record.
#[derive(Clone, Debug)]
pub(super) enum Unread {
    /// Not now: trying again may help.
    Now(Unavailable),
    /// Never: what is there is not the record.
    Ever(String),
}

impl Unread {
    pub(super) fn unavailable(self) -> Unavailable {
        match self {
            Self::Now(why) => why,
            Self::Ever(detail) => Unavailable::StoreFailed { detail },
        }
    }
}

fn unread(error: ReadError) -> Unread {
    match error {
        ReadError::Busy { waiting_max } => Unread::Now(Unavailable::Busy { waiting_max }),
        ReadError::Unreadable { .. } => Unread::Now(Unavailable::StoreFailed { detail: error.to_string() }),
        ReadError::Closed => Unread::Now(Unavailable::Stopping),
        ReadError::OutOfLog { .. } | ReadError::Expired { .. } | ReadError::Damaged { .. } => {
            Unread::Ever(error.to_string())
        }
    }
}
