//! A broker whose controllers say what it is to be: it takes an id, tells that it lives, asks who the master is, and tells as the master who
//! is in sync with it. `docs/controller.md` says what is promised, `docs/decisions/0014-own-brokers-under-controllers.md` why it is so.
//!
//! `duty` is what comes of their answers and `lease` how long they hold, both without I/O; `identity` is the broker's id in its file,
//! `controllers` the questions, `loops` what is said and asked again and again. What the log's way between master and slave needs of it is
//! here: the epochs, and where a log that has parted is to be cut.

mod controllers;
mod duty;
mod identity;
pub mod lease;
mod loops;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use env::clock::Moment;
use env::{Env, ROLES, kept};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use types::PhysicalOffset;

use crate::LocalBroker;
use crate::replication::History;
use crate::replication::epochs::Epoch;
use controllers::Remote;
use duty::Part;
use lease::Lease;

pub use controllers::{Controllers, Error as Unanswered, LOOKED_WITHIN};
pub use duty::{Duty, MemberId, View};
pub use identity::Error as IdentityError;

/// What a broker tells the controllers of itself, and where they are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster it belongs to.
    pub cluster: String,
    /// The name that it shares with others.
    pub name: String,
    /// Where clients reach it.
    pub advertised: SocketAddr,
    /// `HOST:PORT` of each controller.
    pub controllers: Vec<String>,
    /// Of several that may be the master the one with the lowest is. Source: `brokerElectionPriority`.
    pub priority: i64,
    /// The broker's data directory.
    pub data: PathBuf,
}

/// See the module's head.
pub struct Membership {
    env: Env,
    options: Options,
    id: MemberId,
    controllers: Arc<dyn Controllers>,
    history: History,
    lease: Lease,
    /// Held for a look or a change.
    part: Mutex<Part>,
    duty: watch::Sender<Duty>,
    view: watch::Sender<Option<View>>,
    /// Where the log is to be cut.
    cut: watch::Sender<Option<PhysicalOffset>>,
    /// All in sync had the log so far when this broker was a master: it is never cut before that.
    confirmed_to: AtomicU64,
    /// The broker that runs, and what was known of it last. Held for a look or a change.
    running: Mutex<(Option<LocalBroker>, Standing)>,
    /// Whether it was told that the lease has run out.
    is_fenced: AtomicBool,
    /// Whether its log is damaged, so that it must not be elected.
    is_damaged: AtomicBool,
    /// Asks at once.
    poke: Notify,
}

/// Why an epoch is not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The file of epochs cannot be written.
    #[error(transparent)]
    File(#[from] kept::Error),
    /// As a slave this broker has heard of a newer master meanwhile.
    #[error("{epoch:?} cannot begin in a log that has gone through {known:?}")]
    Passed {
        /// The epoch.
        epoch: Epoch,
        /// The newest that is known.
        known: Epoch,
    },
}

/// How far a broker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last epoch of its log.
    pub epoch: Epoch,
    /// Where its log ends.
    pub end: PhysicalOffset,
}

impl Membership {
    /// Of the broker with this id. Blocks while it reads which epochs its log has gone through.
    ///
    /// # Errors
    /// The file of epochs cannot be read.
    pub fn new(env: Env, options: Options, id: MemberId) -> Result<Self, kept::Error> {
        let controllers = Arc::new(Remote::new(&options.controllers, &env.clock));
        Self::under(env, options, id, controllers)
    }

    fn under(env: Env, options: Options, id: MemberId, controllers: Arc<dyn Controllers>) -> Result<Self, kept::Error> {
        let history = History::open(&env, &options.data)?;
        Ok(Self {
            controllers,
            lease: Lease::new(env.clock.clone()),
            part: Mutex::new(Part::new(id)),
            duty: watch::Sender::new(Duty::Wait),
            view: watch::Sender::new(None),
            cut: watch::Sender::new(None),
            confirmed_to: AtomicU64::new(0),
            running: Mutex::default(),
            is_fenced: AtomicBool::new(false),
            is_damaged: AtomicBool::new(false),
            poke: Notify::new(),
            env,
            options,
            id,
            history,
        })
    }

    /// The broker's id.
    #[must_use]
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// How long it may act as a master.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The epochs of its log.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What it is to be.
    #[must_use]
    pub fn duty(&self) -> watch::Receiver<Duty> {
        self.duty.subscribe()
    }

    /// What the controllers have said last.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        self.view.borrow().clone()
    }

    /// The controllers have said this when they were asked at `asked_at`.
    pub fn hear(&self, view: View, asked_at: Moment) {
        let mut part = self.part.lock();
        let before = part.duty().clone();
        self.look_at_lease(&before);
        if !part.hear(&view, self.history.epochs().last()) {
            return;
        }
        if *part.duty() != before {
            self.lease.end();
        }
        if let Duty::Lead(_) = part.duty() {
            self.lease.extend(asked_at);
            self.is_fenced.store(false, Ordering::Release);
        }
        self.view.send_replace(Some(view));
        self.duty.send_if_modified(|duty| {
            let is_new = duty != part.duty();
            if is_new {
                tracing::info!(id = self.id.0, duty = ?part.duty(), "the controllers say what this broker is to be");
                duty.clone_from(part.duty());
            }
            is_new
        });
    }

    /// Tells, once, that a master with this duty acknowledges nothing any longer.
    fn look_at_lease(&self, duty: &Duty) {
        let Duty::Lead(epoch) = duty else { return };
        if self.lease.has_run_out() && !self.is_fenced.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                target: ROLES, event = "fenced", broker = self.options.name, id = self.id.0, role = "master", epoch = epoch.0,
                reason = "the controllers were not heard for too long", "this broker acknowledges nothing as a master"
            );
        }
    }

    /// It runs in a role from now on, in this epoch.
    pub fn tell_role(&self, role: &'static str, epoch: Option<Epoch>, reason: &str) {
        let epoch = epoch.or_else(|| self.view().map(|view| view.epoch)).unwrap_or_default();
        tracing::info!(
            target: ROLES, event = "role", broker = self.options.name, id = self.id.0, role, epoch = epoch.0, reason, "this broker has a role"
        );
    }

    /// This broker runs from now on, or none does. Where all in sync have a master's log is remembered for as long as the process lives.
    pub fn runs(&self, broker: Option<LocalBroker>) {
        let mut running = self.running.lock();
        if let Some(before) = &running.0
            && !before.is_slave()
            && before.copies().are_several()
        {
            self.confirmed_to.fetch_max(before.status().confirmed_to, Ordering::AcqRel);
        }
        *running = (broker, self.standing(&running));
    }

    /// The broker that was started is the master of this epoch; on the disk on return, and until then it appends nothing.
    ///
    /// # Errors
    /// [`BeginError`]: then it must not be.
    pub async fn begin(&self, epoch: Epoch, broker: &LocalBroker) -> Result<(), BeginError> {
        let epochs = self.history.epochs();
        if let Some(known) = epochs.last().filter(|known| *known >= epoch) {
            return Err(BeginError::Passed { epoch, known });
        }
        self.history.set(epochs.with(epoch, broker.log().first(), broker.marks().appended_to())).await?;
        let part = self.part.lock();
        if *part.duty() == Duty::Lead(epoch) {
            self.lease.begin();
        }
        Ok(())
    }

    /// Where the log is to be cut, once that is known.
    #[must_use]
    pub fn cut(&self) -> watch::Receiver<Option<PhysicalOffset>> {
        self.cut.subscribe()
    }

    /// The log is to be cut here; `None` once that is known.
    pub fn set_cut(&self, at: Option<PhysicalOffset>) {
        self.cut.send_replace(at);
    }

    /// Tells that the log, which ends there, is to be cut, and has it done.
    pub(crate) fn cut_log(&self, at: PhysicalOffset, end: PhysicalOffset) {
        let epoch = self.view().map_or(0, |view| view.epoch.0);
        tracing::warn!(
            target: ROLES, event = "cut", broker = self.options.name, id = self.id.0, role = "slave", epoch, at = at.0, bytes = end.0 - at.0,
            reason = "the master never had what is behind", "the end of the log is cut off"
        );
        self.set_cut(Some(at));
    }

    /// Its log is damaged and is being got again, or is whole again. Meanwhile the controllers do not hear that the broker lives: silent, it
    /// is elected by nobody, and found gone if they take it for the master.
    pub(crate) fn set_damaged(&self, is_damaged: bool) {
        self.is_damaged.store(is_damaged, Ordering::Release);
    }

    /// All in sync are known to have had the log up to here.
    pub(crate) fn confirmed_to(&self) -> PhysicalOffset {
        PhysicalOffset(self.confirmed_to.load(Ordering::Acquire))
    }

    /// Something has changed at the controllers, they say.
    pub(crate) fn look_anew(&self) {
        self.poke.notify_one();
    }

    fn standing(&self, running: &(Option<LocalBroker>, Standing)) -> Standing {
        let (broker, known) = running;
        broker.as_ref().map_or(*known, |broker| {
            let end = broker.marks().stored_to();
            Standing { epoch: self.history.epochs().last_of(end).unwrap_or_default(), end }
        })
    }
}

/// Under these settings, once the controllers know the broker by its id, which they are asked for until they answer.
///
/// # Errors
/// A file that cannot be used.
pub async fn join(env: Env, options: Options) -> Result<Arc<Membership>, identity::Error> {
    let controllers = Arc::new(Remote::new(&options.controllers, &env.clock));
    join_under(env, options, controllers).await
}

/// As [`join`], under these controllers.
///
/// # Errors
/// As above.
pub async fn join_under(
    env: Env,
    options: Options,
    controllers: Arc<dyn Controllers>,
) -> Result<Arc<Membership>, identity::Error> {
    let identity = identity::Identity::file(&env, &options.data);
    let id = identity::take(&env, &options, &identity, &*controllers).await?;
    tracing::info!(id = id.0, name = options.name, "the controllers know this broker");
    Ok(Arc::new(Membership::under(env, options, id, controllers)?))
}
