//! A group of brokers in one run: a master and its slaves, each the whole broker on a machine of its own, and between them a network
//! that is slow, parted and cut.
//!
//! A *term* is a master's life, which ends badly. Then the same broker goes on, or a slave is made the master by hand and what was the
//! master becomes a slave, as `docs/replication.md` says. Clients talk to the master in its process: what they were told and have seen is
//! what the promises are checked against, and the logs are compared byte by byte.

mod event;
mod failover;
mod heal;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod progress;
mod term;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::{Flush, LocalBroker, StartError, Status};
use env::sim::World;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use types::Timestamp;

use crate::faults::Faults;
use crate::invariants::{derived_agrees, no_copy_is_ahead, one_log};
use crate::messaging::History;
use crate::messaging::clients::Clients;
use crate::messaging::plan::DIR;
use crate::report::{Report, Violation};
use machine::{Log, Machine};
use network::{Port, Wire};
use plan::Plan;
use progress::Progress;
pub use progress::Sample;

/// How often it is looked how things are.
const TICK: Duration = Duration::from_millis(5);

/// Runs the scenario under a seed.
///
/// # Errors
/// The first promise that was not kept.
///
/// # Panics
/// When a broker panics.
pub fn run(seed: u64) -> Result<Report, Violation> {
    env::sim::run(seed, |world| async move {
        let mut rng = world.random().fork();
        let plan = Plan::draw(seed, &mut rng);
        let (port, clock) = (Port::default(), world.env().clock);
        let machines = (0..plan.machines).map(|number| {
            let wire = Wire::new(Arc::clone(&port), Arc::clone(&clock), rng.fork(), plan.late_ms_max);
            Machine::new(world.another(), number, wire, &mut rng)
        });
        let machines = machines.collect();
        let mut run = Run {
            world,
            history: Arc::new(Mutex::new(History::new(plan.common.flush, None))),
            rng,
            plan,
            faults: Faults::of(seed),
            report: Report::default(),
            port,
            machines,
            master: 0,
            progress: Progress::default(),
            slaves_had_to: BTreeMap::new(),
            died_at: None,
        };
        for _ in 0..run.plan.terms {
            run.term().await?;
        }
        run.heal().await?;
        run.report.fingerprint = run.fingerprint();
        Ok(run.report)
    })
}

struct Run {
    /// Whose time is right. No broker is on it.
    world: World,
    rng: fastrand::Rng,
    plan: Plan,
    faults: Faults,
    /// What clients know; never held over an await.
    history: Arc<Mutex<History>>,
    report: Report,
    port: Port,
    machines: Vec<Machine>,
    /// Which of them is the master, or was it last and will be again.
    master: usize,
    progress: Progress,
    /// How far each slave had the log at most, since this process of the master has started.
    slaves_had_to: BTreeMap<usize, u64>,
    /// When the broker died in whose place another one goes on, until that has begun.
    died_at: Option<Timestamp>,
}

impl Run {
    fn now(&self) -> Timestamp {
        self.world.clock().true_now()
    }

    fn slaves(&self) -> impl Iterator<Item = usize> + use<> {
        let master = self.master;
        (0..self.machines.len()).filter(move |machine| *machine != master)
    }

    /// Notes how far the master's log is now, and its slaves'.
    fn note(&mut self, master: &LocalBroker) -> Result<(), Violation> {
        let (flush, master) = (self.plan.common.flush, master.status());
        for slave in self.slaves().filter(|slave| self.machines[*slave].log == Some(Log::Beginning)) {
            let Some(broker) = &self.machines[slave].broker else { continue };
            let status = broker.status();
            no_copy_is_ahead::check(stored_to(flush, &master), status.appended_to)?;
            let had_to = self.slaves_had_to.entry(slave).or_default();
            *had_to = stored_to(flush, &status).max(*had_to);
        }
        if self.plan.is_sync() {
            no_copy_is_ahead::check_confirmed(self.as_many_slaves_had_to(), master.confirmed_to)?;
        }
        self.progress.note(self.report.lives, self.now(), &master)
    }

    /// How far as many slaves had the log as are waited for.
    fn as_many_slaves_had_to(&self) -> u64 {
        let mut had_to: Vec<_> = self.slaves_had_to.values().copied().collect();
        had_to.sort_unstable();
        had_to.into_iter().nth_back(self.plan.copies_kept() - 2).unwrap_or_default()
    }

    fn start_clients(&mut self, master: &LocalBroker, clients: &mut JoinSet<()>, is_last: bool) {
        let world = &self.machines[self.master].world;
        let all = Clients { broker: master, world, history: &self.history, plan: &self.plan.common };
        match self.plan.is_uniform && !is_last {
            true => all.start_uniform(&mut self.rng, clients),
            false => all.start(&mut self.rng, clients, is_last),
        }
    }

    fn bytes(&self, machine: usize, end: u64) -> Vec<u8> {
        self.machines[machine].bytes(end, self.plan.common.segment_bytes())
    }

    /// Compares a slave that runs with its master, which runs too.
    fn check_slave(&self, slave: usize) -> Result<(), Violation> {
        let end_of = |machine: usize| self.machines[machine].broker.as_ref().map(|broker| broker.status().appended_to);
        let (Some(ours), Some(theirs)) = (end_of(slave), end_of(self.master)) else { return Ok(()) };
        match self.machines[slave].log {
            Some(Log::Beginning) => one_log::check(&self.bytes(self.master, theirs), &self.bytes(slave, ours)),
            Some(Log::Parted { end }) => one_log::check_refused(end, ours),
            None => Ok(()),
        }
    }

    fn check_derived(&self, machine: usize) -> Result<(), Violation> {
        derived_agrees::check(&self.machines[machine].world.env(), Path::new(DIR))
    }

    /// Sets no wall clock before the latest time that one has shown: what waits for a time that a wrong clock has named is due soon.
    fn set_clocks_right(&self) {
        for Machine { world, .. } in &self.machines {
            self.history.lock().saw_clock(world.env().clock.now());
        }
        let ahead_ms = (self.history.lock().latest_wall().0 - self.now().0).max(0);
        self.machines.iter().for_each(|machine| machine.world.clock().set_skew_ms(ahead_ms));
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.machines.iter().for_each(|machine| machine.world.disk().fingerprint().hash(&mut hasher));
        hasher.finish()
    }
}

/// Where what a broker may tell others of its log ends.
fn stored_to(flush: Flush, status: &Status) -> u64 {
    match flush {
        Flush::Sync => status.durable_to,
        Flush::Async => status.appended_to,
    }
}

fn not_started(error: &StartError) -> Violation {
    Violation::new("the broker starts after any death", error.to_string())
}
