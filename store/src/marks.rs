//! How far the log is written, durable and replicated, shared with everyone who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use types::PhysicalOffset;

use crate::options::Flush;

/// The log's marks. Invariant: `durable_to <= appended_to`, and `replicated_to` is at most the one of these that counts by the flush; all
/// only rise.
///
/// Clones are handles to the same marks. Waiters are woken in the order in which they came.
#[derive(Clone)]
pub struct Marks {
    shared: Arc<Shared>,
    flush: Flush,
}

/// The disk failed: nothing that is not durable yet may be trusted, and nothing more is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {detail}")]
pub struct Failed {
    /// What failed first, and how.
    pub detail: Arc<str>,
}

struct Shared {
    appended_to: AtomicU64,
    durable_to: AtomicU64,
    replicated_to: AtomicU64,
    /// Whether what counts as stored here is not enough, see [`Marks::await_replicas`].
    awaits_replicas: AtomicBool,
    has_failed: AtomicBool,
    /// Set once, before `has_failed`; held for a copy.
    failure: Mutex<Option<Failed>>,
    /// One for each mark: a write, of which there are very many, wakes nobody who waits for the disk.
    appended: Notify,
    durable: Notify,
    replicated: Notify,
}

impl Marks {
    pub(crate) fn new(at: PhysicalOffset, flush: Flush) -> Self {
        let shared = Shared {
            appended_to: AtomicU64::new(at.0),
            durable_to: AtomicU64::new(at.0),
            replicated_to: AtomicU64::new(at.0),
            awaits_replicas: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            appended: Notify::new(),
            durable: Notify::new(),
            replicated: Notify::new(),
        };
        Self { shared: Arc::new(shared), flush }
    }

    /// End of what the operating system has: it survives the process.
    #[must_use]
    pub fn appended_to(&self) -> PhysicalOffset {
        PhysicalOffset(self.shared.appended_to.load(Ordering::Acquire))
    }

    /// End of what the disk has: it survives the machine.
    #[must_use]
    pub fn durable_to(&self) -> PhysicalOffset {
        PhysicalOffset(self.shared.durable_to.load(Ordering::Acquire))
    }

    /// End of what counts as stored on this machine: `durable_to` with sync flush, else `appended_to`.
    #[must_use]
    pub fn stored_to(&self) -> PhysicalOffset {
        match self.flush {
            Flush::Sync => self.durable_to(),
            Flush::Async => self.appended_to(),
        }
    }

    /// End of what the replicas have that are waited for; where none are, of what [`Marks::set_replicated`] said last.
    #[must_use]
    pub fn replicated_to(&self) -> PhysicalOffset {
        PhysicalOffset(self.shared.replicated_to.load(Ordering::Acquire))
    }

    /// End of what may be handed out and acknowledged: `replicated_to` where replicas are waited for, else [`Marks::stored_to`].
    #[must_use]
    pub fn visible_to(&self) -> PhysicalOffset {
        match self.awaits_replicas() {
            true => self.replicated_to(),
            false => self.stored_to(),
        }
    }

    /// Whether [`Marks::await_replicas`] was called.
    #[must_use]
    pub fn awaits_replicas(&self) -> bool {
        self.shared.awaits_replicas.load(Ordering::Acquire)
    }

    /// From now on nothing may be handed out or acknowledged before [`Marks::set_replicated`] says so. What is stored now may be.
    pub fn await_replicas(&self) {
        self.shared.replicated_to.fetch_max(self.stored_to().0, Ordering::AcqRel);
        self.shared.awaits_replicas.store(true, Ordering::Release);
    }

    /// Says that the replicas have the log up to `to`; less than was said before changes nothing.
    ///
    /// # Panics
    /// When that is more than is stored here: no replica can have it.
    pub fn set_replicated(&self, to: PhysicalOffset) {
        assert!(to <= self.stored_to(), "{to} is replicated but not stored");
        if self.shared.replicated_to.fetch_max(to.0, Ordering::AcqRel) < to.0 {
            self.shared.replicated.notify_waiters();
        }
    }

    /// Why the store failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<Failed> {
        if !self.shared.has_failed.load(Ordering::Acquire) {
            return None;
        }
        self.shared.failure.lock().clone()
    }

    /// Completes when the log is durable up to `offset`.
    ///
    /// # Errors
    /// [`Failed`] when it will never be.
    pub async fn durable(&self, offset: PhysicalOffset) -> Result<(), Failed> {
        self.wait(&self.shared.durable, |marks| marks.durable_to() >= offset).await
    }

    /// Completes when the log counts as stored up to `offset`, see [`Marks::stored_to`].
    ///
    /// # Errors
    /// [`Failed`] when it never will.
    pub async fn stored(&self, offset: PhysicalOffset) -> Result<(), Failed> {
        let moved = match self.flush {
            Flush::Sync => &self.shared.durable,
            Flush::Async => &self.shared.appended,
        };
        self.wait(moved, |marks| marks.stored_to() >= offset).await
    }

    /// Completes when the log may be handed out up to `offset`, see [`Marks::visible_to`].
    ///
    /// # Errors
    /// [`Failed`] when it never may be.
    pub async fn visible(&self, offset: PhysicalOffset) -> Result<(), Failed> {
        match self.awaits_replicas() {
            true => self.wait(&self.shared.replicated, |marks| marks.replicated_to() >= offset).await,
            false => self.stored(offset).await,
        }
    }

    /// Completes when the log is appended beyond `offset`.
    pub(crate) async fn appended_beyond(&self, offset: PhysicalOffset) -> Result<(), Failed> {
        self.wait(&self.shared.appended, |marks| marks.appended_to() > offset).await
    }

    pub(crate) fn set_appended(&self, to: PhysicalOffset) {
        let before = self.shared.appended_to.swap(to.0, Ordering::AcqRel);
        assert!(before <= to.0, "appended_to goes back from {before} to {to}");
        self.shared.appended.notify_waiters();
    }

    pub(crate) fn set_durable(&self, to: PhysicalOffset) {
        assert!(to <= self.appended_to(), "{to} is durable but not appended");
        let before = self.shared.durable_to.swap(to.0, Ordering::AcqRel);
        assert!(before <= to.0, "durable_to goes back from {before} to {to}");
        self.shared.durable.notify_waiters();
    }

    /// Poisons the store; the first failure is the one that is told.
    pub(crate) fn fail(&self, what: &str, error: &std::io::Error) -> Failed {
        let mut failure = self.shared.failure.lock();
        let failed = failure.get_or_insert_with(|| Failed { detail: format!("{what}: {error}").into() }).clone();
        drop(failure);
        self.shared.has_failed.store(true, Ordering::Release);
        self.shared.appended.notify_waiters();
        self.shared.durable.notify_waiters();
        self.shared.replicated.notify_waiters();
        failed
    }

    /// Waits for a mark, whose moves `moves` tells.
    async fn wait(&self, moves: &Notify, is_reached: impl Fn(&Self) -> bool) -> Result<(), Failed> {
        loop {
            let mut moved = std::pin::pin!(moves.notified());
            // Registered before the look, so that a move between the look and the wait is not missed.
            moved.as_mut().enable();
            if is_reached(self) {
                return Ok(());
            }
            if let Some(failed) = self.failure() {
                return Err(failed);
            }
            moved.await;
        }
    }
}
