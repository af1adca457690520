//! The log's front goes: what the engine asks of the store for it, in this order.
//!
//! 1. [`Store::survey`]: what there is to go.
//! 2. [`Store::begin_expiry`]: from now on the engine hands out nothing new of it, and appends again what still counts.
//! 3. [`Store::state`]: the state of machines and queues, to be appended too, because what led to it is about to go.
//! 4. [`Store::expire`], once all of that is durable.
//!
//! Killed at any moment the directory opens: before the first file is removed nothing has happened, later the state in
//! the log stands in for what is gone, and a checkpoint for both.

use bytes::Bytes;
use tokio::sync::oneshot;
use types::PhysicalOffset;

use super::Store;
use crate::log_state;
use crate::machine::Machine;
use crate::queue_index::EntriesError;
use crate::queue_index::expiry::Begins;
use crate::sweeper::{Request, Survey};

/// An expiry that has begun.
pub(super) struct Expiry {
    before: PhysicalOffset,
    begins: Begins,
}

impl Store {
    /// Has the oldest segments looked at. `None` when it is asked again too early or the store is closing; the answer fails
    /// when they cannot be looked at.
    #[must_use]
    pub fn survey(&self) -> Option<oneshot::Receiver<Survey>> {
        let (answer, answered) = oneshot::channel();
        self.sweeps.as_ref()?.try_send(Request::Survey { answer }).ok()?;
        Some(answered)
    }

    /// Says what will expire: [`crate::QueueRange::stays_from`] is then behind it. May read one index run.
    ///
    /// # Errors
    /// [`EntriesError`]; then nothing was changed.
    ///
    /// # Panics
    /// When `before` is not where a complete segment ends.
    pub fn begin_expiry(&mut self, before: PhysicalOffset) -> Result<(), EntriesError> {
        assert_eq!(self.segments.base_of(before.0), before.0, "only whole segments expire");
        assert!(before <= self.marks.durable_to(), "what is not durable does not expire");
        let begins = loop {
            match self.index.begins(before.0) {
                Ok(begins) => break begins,
                Err(miss) => self.repair(miss)?,
            }
        };
        self.index.announce(&begins);
        self.expiry = Some(Expiry { before, begins });
        Ok(())
    }

    /// Whether [`Store::begin_expiry`] has begun something that is not done yet.
    #[must_use]
    pub fn is_expiring(&self) -> bool {
        self.expiry.is_some()
    }

    /// Takes [`Store::begin_expiry`] back.
    pub fn cancel_expiry(&mut self) {
        if self.expiry.take().is_some() {
            self.index.announce(&Begins::new());
        }
    }

    /// The state of `machines` and queues at the log's end, as bodies of records for queue 0 of [`crate::STATE_TOPIC`], which are
    /// to be appended in this order, with anything between them.
    ///
    /// # Panics
    /// When something is appended and not written, as [`Store::begin_checkpoint`].
    #[must_use]
    pub fn state(&self, machines: &dyn Machine) -> Vec<Bytes> {
        assert!(self.log.is_written(), "a state is taken between two rounds");
        let segment_bytes = self.segments.segment_bytes;
        log_state::bodies(self.log.end(), self.begins(), self.index.saved(), segment_bytes, |out| machines.state(out))
    }

    /// Where the log begins, or will once the expiry that has begun is done: what goes before that is no loss.
    pub(super) fn begins(&self) -> u64 {
        self.segments.first().max(self.expiry.as_ref().map_or(0, |expiry| expiry.before.0))
    }

    /// What [`Store::begin_expiry`] named is gone: nobody reads it from now on, and a thread of ours removes its files. The
    /// receiver gets whether it could; what could not be removed is at the log's front again after the next start.
    ///
    /// `None`, and nothing was changed, when no expiry has begun or the store is closing.
    ///
    /// # Panics
    /// As [`Store::begin_checkpoint`].
    pub fn expire(&mut self) -> Option<oneshot::Receiver<bool>> {
        let room = self.sweeps.as_ref()?.try_reserve().ok()?;
        let Expiry { before, begins } = self.expiry.take()?;
        let runs = self.index.expire(before.0, &begins);
        self.segments.expire_before(before.0);
        let (answer, answered) = oneshot::channel();
        room.send(Request::Remove { before: before.0, runs, answer });
        Some(answered)
    }
}
