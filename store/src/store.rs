//! The store as its owner, the engine, sees it.

mod expiry;
mod open;
mod replica;

use std::future::Future;
use std::iter;
use std::sync::Arc;

use env::clock::BoxFuture;
use record::{Encoded, Record};
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

use crate::checkpoint::begin_body;
use crate::checkpoint::publisher::Job;
use crate::commit_log::{AppendError, Appended, CommitLog};
use crate::log_state;
use crate::machine::Machine;
use crate::marks::{Failed, Marks};
use crate::queue_index::keys::KeySearch;
use crate::queue_index::run::Run;
use crate::queue_index::{EntriesError, Entry, Miss, Part, QueueEntry, QueueIndex, QueueNumber, QueueRange};
use crate::reader::Reader;
use crate::recovery;
use crate::recovery::rebuild::rebuild;
use crate::segments::{Maker, Segments};
use crate::signal::Signal;
use crate::sweeper;

use expiry::Expiry;
pub(crate) use open::Form;
pub use open::OpenError;
pub use replica::StoredError;

/// The log, its queue index and its checkpoints; see the crate's head for who owns it.
///
/// The engine's round: [`Store::ready`], any number of appends (each followed by applying what was appended, see
/// [`Store::staged_from`]), [`Store::write`], answers; now and then [`Store::begin_checkpoint`].
pub struct Store {
    log: CommitLog,
    index: QueueIndex,
    segments: Arc<Segments>,
    maker: Arc<Maker>,
    marks: Marks,
    reader: Reader,
    signal: Arc<Signal>,
    /// `None` once the store is closing.
    jobs: Option<mpsc::Sender<Job>>,
    /// The checkpoint that is on its way, and where it was taken.
    pending: Option<(PhysicalOffset, oneshot::Receiver<Vec<Arc<Run>>>)>,
    /// Where a checkpoint was taken that was published and that nobody was told of.
    published: Option<PhysicalOffset>,
    /// Where the last checkpoint was taken, published or not.
    checkpoint_at: PhysicalOffset,
    checkpoint_bytes: u64,
    /// See [`crate::Options::accept_loss_at`].
    accept_loss_at: Option<PhysicalOffset>,
    /// For the sweeper; `None` once the store is closing.
    sweeps: Option<mpsc::Sender<sweeper::Request>>,
    /// What is about to expire.
    expiry: Option<Expiry>,
    /// What a master's states say of a replica's front.
    states: log_state::Begins,
    /// Complete when the background threads have ended.
    threads: Vec<BoxFuture<()>>,
}

impl Store {
    /// Completes when `bytes` more can be appended, or when the segment for them could not be made. Awaited before a
    /// round of appends, so that [`AppendError::NotReady`] is met only by rounds of more than that.
    pub fn ready(&self, bytes: u64) -> impl Future<Output = ()> + Send + use<> {
        let (fits, maker) = (self.log.fits(bytes), Arc::clone(&self.maker));
        async move {
            if !fits {
                maker.settled().await;
            }
        }
    }

    /// Places messages' records at the end of their queue and of the log, all or none, in memory: they are written by the next
    /// [`Store::write`].
    ///
    /// # Errors
    /// [`AppendError`]; then nothing was changed.
    pub fn append(&mut self, records: Encoded, now: Timestamp) -> Result<Appended, AppendError> {
        self.log.check(&records, true)?;
        Ok(self.place(records, now))
    }

    /// The same for what ends messages, carries them forward or says what became of them: on a full disk it may go where
    /// messages may not, see [`Store::is_short`].
    ///
    /// # Errors
    /// [`AppendError`]; then nothing was changed.
    pub fn append_reserved(&mut self, records: Encoded, now: Timestamp) -> Result<Appended, AppendError> {
        self.log.check(&records, false)?;
        Ok(self.place(records, now))
    }

    /// Whether the disk is full and the log goes on in its reserve: then it takes no messages, and nothing should be appended that
    /// can wait until there is room for another reserve. It is tried to have one each second.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.log.is_short()
    }

    fn place(&mut self, mut records: Encoded, now: Timestamp) -> Appended {
        let number = self.index.intern(records.topic(), records.queue());
        let placed = self.log.place(&mut records, self.index.range(number).next, now);
        let marks = records.marks().iter().zip(&placed.physical_offsets);
        let entries = marks.map(|(mark, at)| (Entry::new(*at, mark.record_bytes, &mark.hashes), &*mark.hashes.keys));
        self.index.extend(number, entries);
        placed
    }

    /// The records that were appended from the one at `offset` on and not written yet, for [`Machine::apply`].
    pub fn staged_from(&self, offset: PhysicalOffset) -> impl Iterator<Item = Record<'_>> {
        self.log.staged_from(offset).flat_map(|mut rest| {
            iter::from_fn(move || {
                let record = (!rest.is_empty()).then(|| record::decode(rest).expect("an encoded record decodes"))?;
                rest = &rest[record.header.record_bytes as usize..];
                Some(record)
            })
        })
    }

    /// Writes what was appended since the last call and returns the log's end. On return it is in the operating
    /// system's hands; that it is durable is told by [`Marks::durable`].
    ///
    /// # Errors
    /// [`Failed`]: from now on everything is refused, because part of it may be written.
    pub fn write(&mut self) -> Result<PhysicalOffset, Failed> {
        self.log.write()?;
        self.collect_checkpoint();
        Ok(self.log.end().at)
    }

    /// The log's marks.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Reads records' bytes.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// First and next offset of a queue; `None` when it never had a record.
    #[must_use]
    pub fn queue_range(&self, topic: &str, queue: QueueId) -> Option<QueueRange> {
        self.index.find(topic, queue).map(|number| self.index.range(number))
    }

    /// Adds to `out` the queue's entries from `from` on, at most `max`, only those that may be handed out
    /// ([`Marks::visible_to`]). Fewer when the queue ends; none when `from` is outside its range. Newer entries
    /// are in memory, older ones cost a read of a few kilobytes.
    ///
    /// # Errors
    /// [`EntriesError`].
    pub fn entries(
        &mut self,
        topic: &str,
        queue: QueueId,
        from: QueueOffset,
        max: usize,
        out: &mut Vec<QueueEntry>,
    ) -> Result<(), EntriesError> {
        let Some(number) = self.index.find(topic, queue) else { return Ok(()) };
        let (visible_to, before) = (self.marks.visible_to(), out.len());
        loop {
            let miss = self.index.read(number, from.0, max, |entry| {
                let is_visible = entry.physical_offset.plus(u64::from(entry.record_bytes)) <= visible_to;
                if is_visible {
                    out.push(entry);
                }
                is_visible
            });
            let Err(miss) = miss else { return Ok(()) };
            out.truncate(before);
            self.repair(miss)?;
        }
    }

    /// Begins a search for the records of a topic that have a key, see [`record::key_hash`].
    #[must_use]
    pub fn search_keys(&self, hash: u64) -> KeySearch {
        self.index.search_keys(hash)
    }

    /// Makes a damaged run again from the log; the next checkpoint writes it. Terminates the look-up's loop, because
    /// what is repaired is in memory and cannot be missed again.
    fn repair(&mut self, Miss::Damaged { from, to, problem }: Miss) -> Result<(), EntriesError> {
        tracing::warn!(from, to, problem, "an index run is damaged and made again from the log");
        let mut is_accepted = false;
        let accepts = |at| {
            is_accepted |= self.accept_loss_at == Some(PhysicalOffset(at));
            is_accepted
        };
        let block = rebuild(&self.segments, &self.index, from..to, &[], accepts)
            .map_err(|error| EntriesError::Unreadable { from: PhysicalOffset(from), problem: error.to_string() })?;
        self.index.replace_part(Part::Block(Arc::new(block)));
        Ok(())
    }

    /// Says that a queue without records goes on at `next`, because those before are gone from the log. Known to the next
    /// checkpoint.
    ///
    /// # Panics
    /// When the queue has records.
    pub fn begin_queue(&mut self, topic: &str, queue: QueueId, next: QueueOffset) {
        let number = self.index.intern(topic, queue);
        self.index.begin_at(number, next);
    }

    /// Removes what the directory holds for this store alone and not for its content, before it is [`crate::disown`]ed.
    ///
    /// # Errors
    /// [`crate::FileError`].
    pub fn drop_reserve(&self) -> Result<(), crate::FileError> {
        self.segments.drop_reserve()
    }

    /// Where the log begins.
    #[must_use]
    pub fn log_first(&self) -> PhysicalOffset {
        PhysicalOffset(self.segments.first())
    }

    /// Length of the log's segments in bytes.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segments.segment_bytes
    }

    /// All queues that ever had a record, in the order of their first records.
    pub fn queues(&self) -> impl Iterator<Item = (&str, QueueId, QueueRange)> {
        self.index
            .saved()
            .zip(0..)
            .map(|(saved, number)| (saved.topic, saved.queue, self.index.range(QueueNumber(number))))
    }

    /// Whether the log has grown enough since the last checkpoint and none is on its way.
    #[must_use]
    pub fn is_checkpoint_due(&self) -> bool {
        self.pending.is_none()
            && self.marks.failure().is_none()
            && self.log.end().at.0 - self.checkpoint_at.0 >= self.checkpoint_bytes
    }

    /// Whether none is on its way, so that one may begin although it is not due.
    #[must_use]
    pub fn may_begin_checkpoint(&self) -> bool {
        self.pending.is_none() && self.marks.failure().is_none()
    }

    /// Where the newest checkpoint was taken, once after it was published: for [`Machine::filed`].
    pub fn take_published(&mut self) -> Option<PhysicalOffset> {
        self.published.take()
    }

    /// Where the log begins.
    #[must_use]
    pub fn first(&self) -> PhysicalOffset {
        PhysicalOffset(self.segments.first())
    }

    /// Reads the log's records in order.
    #[must_use]
    pub fn scanner(&self) -> Scanner {
        Scanner { segments: Arc::clone(&self.segments) }
    }

    /// Takes a snapshot of `machines` and the queue index between two rounds. It is published in the background
    /// once the log is durable up to here; if that fails, the next start replays more of the log. A store that has
    /// failed takes none.
    ///
    /// # Panics
    /// When something is appended and not written: the snapshot would know records that the log may never have.
    pub fn begin_checkpoint(&mut self, machines: &dyn Machine) {
        if self.marks.failure().is_some() {
            return;
        }
        let (job, pending) = self.checkpoint(machines);
        let at = job.at;
        // Refused only when the publisher has ended with a failure or is two checkpoints behind: this one is then skipped.
        if self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok()) {
            self.pending = Some((at, pending));
        }
    }

    fn checkpoint(&mut self, machines: &dyn Machine) -> (Job, oneshot::Receiver<Vec<Arc<Run>>>) {
        assert!(self.log.is_written(), "a checkpoint is taken between two rounds");
        self.collect_checkpoint();
        let end = self.log.end();
        self.index.seal(end.at.0);
        self.checkpoint_at = end.at;
        let body = begin_body(end, self.index.saved(), |out| machines.snapshot(out));
        let (done, pending) = oneshot::channel();
        let (parts, files) = (self.index.parts().to_vec(), machines.files());
        (Job { at: end.at, body, begins: self.begins(), parts, files, done }, pending)
    }

    /// Lets go of the index entries that the checkpoint has brought to the disk.
    fn collect_checkpoint(&mut self) {
        let Some((at, pending)) = &mut self.pending else { return };
        match pending.try_recv() {
            Ok(runs) => {
                runs.into_iter().for_each(|run| self.index.replace_part(Part::Run(run)));
                self.published = Some(*at);
                self.pending = None;
            }
            Err(oneshot::error::TryRecvError::Closed) => self.pending = None,
            Err(oneshot::error::TryRecvError::Empty) => {}
        }
    }

    /// Stops: what was appended becomes durable, a checkpoint of `machines` is published, the threads end and the
    /// lock is given back.
    ///
    /// # Errors
    /// [`Failed`], also when it failed before; the next start then replays more of the log.
    pub fn close(mut self, machines: &dyn Machine) -> impl Future<Output = Result<(), Failed>> + Send + use<> {
        let written = self.write();
        let last = written.is_ok().then(|| self.checkpoint(machines).0);
        self.signal.drain();
        async move {
            if let (Some(last), Some(jobs)) = (last, &self.jobs) {
                // Waits for the checkpoints before it. Refused when the publisher has ended with a failure.
                drop(jobs.send(last).await);
            }
            let durable = match written {
                Ok(end) => self.marks.durable(end).await,
                Err(failed) => Err(failed),
            };
            if durable.is_err() {
                self.signal.abandon();
            }
            self.join().await;
            durable
        }
    }

    /// Stops where it is, as a kill would, and waits for the threads to end: for a store that has failed.
    pub async fn abandon(mut self) {
        self.signal.abandon();
        self.join().await;
    }

    async fn join(&mut self) {
        self.jobs = None;
        self.sweeps = None;
        for thread in std::mem::take(&mut self.threads) {
            thread.await;
        }
    }
}

/// Reads stretches of the log from its files, for those who make again what was derived from it. Blocks.
#[derive(Clone)]
pub struct Scanner {
    segments: Arc<Segments>,
}

impl Scanner {
    /// Gives `visit` the records of a stretch that have not expired, until it says `false`; whether it never did. A damaged body
    /// is no reason to end.
    ///
    /// # Errors
    /// Text that says why the stretch cannot be read to its end.
    pub fn scan(
        &self,
        from: PhysicalOffset,
        to: PhysicalOffset,
        visit: impl FnMut(&Record<'_>) -> bool,
    ) -> Result<bool, String> {
        recovery::visit_stretch(&self.segments, from.0, to.0, visit)
    }
}

impl Drop for Store {
    /// Background threads do not outlive the store by more than what they are doing.
    fn drop(&mut self) {
        self.signal.abandon();
    }
}
