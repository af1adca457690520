//! What the engine and the callers share, all of it without waiting for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use env::{Clock, Random};
use parking_lot::Mutex;
use store::{Marks, Reader};
use tokio::sync::mpsc;
use types::PhysicalOffset;
use types::broker::{TransactionCheck, Unavailable};

use crate::counters::{Counters, Status};
use crate::directory::Directory;
use crate::options::{CHECK_RECEIVERS_MAX, CHECKS_WAITING_MAX, Copies, QUEUED_BYTES_MAX};
use crate::prepare::Limits;

/// See the module's head.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    /// How many brokers have what is acknowledged.
    pub(crate) copies: Copies,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) directory: Directory,
    pub(crate) counters: Counters,
    pub(crate) reader: Reader,
    pub(crate) marks: Marks,
    /// Who is asked about half messages, at most [`CHECK_RECEIVERS_MAX`]. Held for a few sends without waiting.
    pub(crate) checkers: Mutex<Vec<mpsc::Sender<TransactionCheck>>>,
    /// Whether an operator has left it on that topics are made on their first use; what they have made stays while it is off.
    pub(crate) makes_topics: AtomicBool,
    /// Position up to which as many slaves as are waited for have said that they have the log. Only rises; what may be acknowledged goes
    /// beyond it while slaves are missing: see [`crate::replication`].
    confirmed_to: AtomicU64,
    /// How many brokers are in sync, this one counted, as far as is known.
    in_sync: AtomicUsize,
    /// Bytes of records that wait for the engine, at most [`QUEUED_BYTES_MAX`].
    queued_bytes: AtomicU64,
}

impl Shared {
    pub(crate) fn new(
        name: Arc<str>,
        limits: Limits,
        copies: Copies,
        env: &env::Env,
        directory: Directory,
        reader: Reader,
        marks: Marks,
    ) -> Self {
        Self {
            name,
            limits,
            copies,
            clock: Arc::clone(&env.clock),
            random: Arc::clone(&env.random),
            directory,
            counters: Counters::default(),
            reader,
            marks,
            checkers: Mutex::new(Vec::new()),
            makes_topics: AtomicBool::new(true),
            confirmed_to: AtomicU64::new(0),
            in_sync: AtomicUsize::new(1),
            queued_bytes: AtomicU64::new(0),
        }
    }

    /// Reserves room for records on their way to the engine; false when too much is on the way.
    pub(crate) fn reserve_bytes(&self, bytes: u64) -> bool {
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A single message always gets through, whatever its size.
        let has_room = before == 0 || before + bytes <= QUEUED_BYTES_MAX;
        if !has_room {
            self.release_bytes(bytes);
        }
        has_room
    }

    /// Gives that room back.
    pub(crate) fn release_bytes(&self, bytes: u64) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Position up to which as many brokers have the log as are wanted. What may be acknowledged goes beyond it while slaves are missing.
    pub(crate) fn confirmed_to(&self) -> PhysicalOffset {
        match self.copies.are_several() {
            true => PhysicalOffset(self.confirmed_to.load(Ordering::Acquire)),
            false => self.marks.visible_to(),
        }
    }

    /// Slaves have said that they have the log so far.
    pub(crate) fn confirm(&self, to: PhysicalOffset) {
        self.confirmed_to.fetch_max(to.0, Ordering::AcqRel);
    }

    /// So many brokers are in sync now, this one counted.
    pub(crate) fn set_in_sync(&self, in_sync: usize) {
        self.in_sync.store(in_sync, Ordering::Release);
    }

    /// Why messages are refused, if too few brokers are in sync.
    pub(crate) fn too_few_in_sync(&self) -> Option<Unavailable> {
        let (in_sync, in_sync_min) = (self.in_sync.load(Ordering::Acquire), self.copies.count_min);
        (in_sync < in_sync_min).then_some(Unavailable::TooFewInSync { in_sync, in_sync_min })
    }

    /// Another receiver of transaction checks. Beyond the bound it gets none: its channel is closed.
    pub(crate) fn add_checker(&self) -> mpsc::Receiver<TransactionCheck> {
        let (sender, receiver) = mpsc::channel(CHECKS_WAITING_MAX);
        let mut checkers = self.checkers.lock();
        checkers.retain(|checker| !checker.is_closed());
        if checkers.len() < CHECK_RECEIVERS_MAX {
            checkers.push(sender);
        } else {
            tracing::warn!(receivers_max = CHECK_RECEIVERS_MAX, "no more receivers of transaction checks");
        }
        receiver
    }

    /// Whether anyone can be asked about half messages.
    pub(crate) fn has_checker(&self) -> bool {
        self.checkers.lock().iter().any(|checker| !checker.is_closed())
    }

    /// The engine ends: nobody is asked any more.
    pub(crate) fn stop(&self) {
        self.checkers.lock().clear();
    }

    /// The counters, as they are now.
    pub(crate) fn status(&self, queued: usize) -> Status {
        let counters = &self.counters;
        Status {
            messages_in: counters.messages_in.get(),
            bytes_in: counters.bytes_in.get(),
            messages_out: counters.messages_out.get(),
            bytes_out: counters.bytes_out.get(),
            acked: counters.acked.get(),
            dead_lettered: counters.dead_lettered.get(),
            lost: counters.lost.get(),
            unreadable: counters.unreadable.get(),
            moved: counters.moved.get(),
            carried: counters.carried.get(),
            expired_segments: counters.expired_segments.get(),
            expired_lost: counters.expired_lost.get(),
            expired_topics: counters.expired_topics.get(),
            expired_groups: counters.expired_groups.get(),
            log_bytes: counters.log_bytes.get(),
            timers_delivered: counters.timers_delivered.get(),
            escaped: counters.escaped.get(),
            delivered_twice: counters.delivered_twice.get(),
            committed: counters.committed.get(),
            rolled_back: counters.rolled_back.get(),
            parked: counters.parked.get(),
            halves_lost: counters.halves_lost.get(),
            repeated: counters.repeated.get(),
            busy: counters.busy.get(),
            waiting: counters.waiting.get(),
            queued: queued as u64,
            timers_pending: counters.timers.get(),
            halves_pending: counters.halves.get(),
            keys_known: counters.keys.get(),
            in_flight: counters.in_flight.get(),
            topics: counters.topics.get(),
            groups: counters.groups.get(),
            appended_to: self.marks.appended_to().0,
            durable_to: self.marks.durable_to().0,
            visible_to: self.marks.visible_to().0,
            // Read last: what is visible and confirmed now was so when it was found visible.
            confirmed_to: self.confirmed_to().0,
            failure: self.marks.failure().map(|failed| failed.detail.to_string()),
        }
    }
}
