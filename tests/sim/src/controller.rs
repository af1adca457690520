//! A group of brokers under controllers in one run: each the whole broker in a process on a machine of its own, which does what the
//! controllers say; between them a network that is slow, parted and cut.
//!
//! The controllers are one ([`service`]) that may be out of reach, away or late. Clients go to whoever was made the master last; some
//! of them stay with one that was replaced ([`takeover`]). What they were told and have seen is what the promises are checked against.

mod desk;
mod event;
mod heal;
mod machine;
mod plan;
mod process;
mod service;
mod takeover;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::replication::epochs::Epoch;
use env::clock::Moment;
use env::sim::World;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use types::Timestamp;

use crate::death::Death;
use crate::faults::Faults;
use crate::invariants::{confirmed_stays, derived_agrees, one_master};
use crate::messaging::History;
use crate::messaging::clients::Clients;
use crate::messaging::plan::DIR;
use crate::replication::network::{Port, Wire};
use crate::replication::plan::draw_skew_ms;
use crate::replication::progress::Progress;
use crate::report::{Report, Violation};
use event::Agenda;
use machine::{Leading, Machine, Ways};
use plan::Plan;
pub use process::Reign;
pub use service::Decided;
use service::Service;

/// How often it is looked how things are.
const TICK: Duration = Duration::from_millis(5);
/// How often the log of the master is read.
const READ_EVERY: Duration = Duration::from_millis(500);

/// Runs the scenario under a seed.
///
/// # Errors
/// The first promise that was not kept.
///
/// # Panics
/// When a broker panics.
pub fn run(seed: u64) -> Result<Report, Violation> {
    env::sim::run(seed, |world| async move {
        let mut run = Run::new(world, seed);
        run.suffer().await?;
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
    service: Arc<Service>,
    machines: Vec<Machine>,
    reigns: Arc<Mutex<Vec<Reign>>>,
    /// How many of them were looked at.
    judged: usize,
    /// The master that clients go to.
    serving: Option<Leading>,
    /// The newest epoch whose master they were to go to.
    begun: Epoch,
    /// How many masters they went to.
    masters: u32,
    clients: JoinSet<()>,
    /// When they rest, or come again.
    turns_at: Timestamp,
    /// Those that stay with a master that was replaced.
    stubborn: JoinSet<()>,
    progress: Progress,
    noted_at: Timestamp,
    /// The log as far as all in sync are known to have had it, and when it was looked at.
    confirmed: Vec<u8>,
    read_at: Moment,
    is_healing: bool,
    agenda: Agenda,
}

impl Run {
    fn new(world: World, seed: u64) -> Self {
        let mut rng = world.random().fork();
        let plan = Plan::draw(seed, &mut rng);
        let clock = world.env().clock;
        let service = Arc::new(Service::new(Arc::clone(&clock)));
        drop(tokio::spawn(Arc::clone(&service).elect_masters(plan.scan)));
        let ports: Vec<Port> = (0..plan.machines).map(|_| Port::default()).collect();
        let mut wire = |port: &Port| Wire::new(Arc::clone(port), Arc::clone(&clock), rng.fork(), plan.late_ms_max);
        let wires: Vec<Vec<Wire>> = ports.iter().map(|_| ports.iter().map(&mut wire).collect()).collect();
        let links: Vec<Wire> = ports.iter().map(|_| wire(&Port::default())).collect();
        let machine = |(number, (link, port)): (usize, (Wire, Port))| {
            let machine = world.another();
            machine.clock().set_skew_ms(draw_skew_ms(&mut rng));
            let inbound = wires.iter().map(|wires| wires[number].clone()).collect();
            Machine::new(machine, number, link, Ways { wires: wires[number].clone(), inbound }, port)
        };
        let machines = links.into_iter().zip(ports).enumerate().map(machine).collect();
        Self {
            history: Arc::new(Mutex::new(History::new(plan.common.flush, None))),
            world,
            rng,
            plan,
            faults: Faults::of(seed),
            report: Report::default(),
            service,
            machines,
            reigns: Arc::default(),
            judged: 0,
            serving: None,
            begun: Epoch::default(),
            masters: 0,
            clients: JoinSet::new(),
            turns_at: Timestamp::default(),
            stubborn: JoinSet::new(),
            progress: Progress::default(),
            noted_at: Timestamp::default(),
            confirmed: Vec::new(),
            read_at: Moment::default(),
            is_healing: false,
            agenda: Agenda::default(),
        }
    }

    fn now(&self) -> Timestamp {
        self.world.clock().true_now()
    }

    fn numbers(&self) -> std::ops::Range<usize> {
        0..self.machines.len()
    }

    fn start(&mut self, machine: usize) {
        if self.machines[machine].is_running() {
            return;
        }
        if !self.is_healing {
            let disk = self.machines[machine].world.disk();
            self.faults.prepare(&disk, &mut self.rng);
            self.draw_death_in_change(&disk);
        }
        self.machines[machine].start(&self.service, self.plan, &self.reigns);
    }

    /// Ends a machine's process.
    async fn kill(&mut self, machine: usize, death: Death) -> Result<(), Violation> {
        let is_master = self.serving.as_ref().is_some_and(|serving| serving.machine == machine);
        if is_master {
            self.note(true)?;
        }
        if let Some((starts, cuts)) = self.machines[machine].look(|seat| (seat.starts, seat.cuts)) {
            self.report.lives += starts;
            self.report.cut += cuts;
            self.report.power_losses += u32::from(death == Death::PowerLoss);
        }
        self.machines[machine].die(death).await;
        if is_master {
            self.leave().await?;
        }
        derived_agrees::check(&self.machines[machine].world.env(), Path::new(DIR))
    }

    /// Looks at everything, and sends clients where they are to go.
    async fn look(&mut self) -> Result<(), Violation> {
        self.history.lock().take_violation()?;
        self.judge_reigns()?;
        let leading: Vec<Leading> = self.machines.iter().filter_map(Machine::leading).collect();
        let still_leads = |of: &Leading| leading.iter().any(|it| (it.epoch, it.process) == (of.epoch, of.process));
        if self.serving.as_ref().is_some_and(|serving| !still_leads(serving)) {
            self.leave().await?;
        }
        let newest = leading.into_iter().max_by_key(|leading| leading.epoch);
        let served = self.serving.as_ref().map(|serving| serving.epoch);
        if let Some(newest) = newest.filter(|newest| newest.epoch >= self.begun && served != Some(newest.epoch)) {
            self.take_over(newest).await?;
        }
        if !self.is_healing && self.now() >= self.turns_at {
            self.turn().await;
        }
        self.note(false)
    }

    /// Looks at who was the master of what.
    fn judge_reigns(&mut self) -> Result<(), Violation> {
        let reigns = self.reigns.lock();
        if reigns.len() > self.judged {
            one_master::check(&reigns, &self.service.epochs())?;
            self.judged = reigns.len();
        }
        Ok(())
    }

    /// Notes how far the log of the master is that clients go to.
    fn note(&mut self, is_end: bool) -> Result<(), Violation> {
        let Some(Leading { machine, broker, .. }) = self.serving.clone() else { return Ok(()) };
        let (status, moment) = (broker.status(), self.world.env().clock.moment());
        self.progress.note(self.masters, self.now(), &status)?;
        self.noted_at = self.now();
        if self.plan.is_sync() && (is_end || moment.since(self.read_at) >= READ_EVERY) {
            self.read_at = moment;
            if status.confirmed_to > self.confirmed.len() as u64 {
                let log = self.bytes(machine, status.confirmed_to);
                confirmed_stays::check(&self.confirmed, &log)?;
                self.confirmed = log;
            }
        }
        Ok(())
    }

    fn bytes(&self, machine: usize, end: u64) -> Vec<u8> {
        self.machines[machine].bytes(end, self.plan.common.segment_bytes())
    }

    fn clients_of<'a>(&'a self, of: &'a Leading) -> Clients<'a> {
        let world = &self.machines[of.machine].world;
        Clients { broker: &of.broker, world, history: &self.history, plan: &self.plan.common }
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.machines.iter().for_each(|machine| machine.world.disk().fingerprint().hash(&mut hasher));
        hasher.finish()
    }
}
