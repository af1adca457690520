//! The end of a run: no more faults, and the group heals. Everything is delivered, and all brokers have one log and one state.

use std::path::Path;
use std::time::Duration;

use broker::{LocalBroker, Role, Status};
use tokio::task::JoinSet;
use types::admin::Admin;

use super::event::{Agenda, Event};
use super::machine::Machine;
use super::{Run, TICK, not_started};
use crate::death::Death;
use crate::faults;
use crate::invariants::state_is_the_logs;
use crate::messaging::plan::DIR;
use crate::messaging::survey;
use crate::messaging::{DRAIN_MAX, Found, QUIET};
use crate::report::Violation;

const PROMISE: &str = "after faults the group heals";
/// When slaves are started, and those anew whose logs have parted: see `term`.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// How long slaves have for what the last clients have left.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

impl Run {
    /// A last term without deaths, then one slave alone.
    pub(super) async fn heal(&mut self) -> Result<(), Violation> {
        for slave in self.slaves() {
            // What is to fail for the process that runs does not for the next.
            self.kill_slave(slave, Death::Kill).await?;
            if self.plan.is_compared {
                self.slave_lost();
                self.renew(slave).await;
            }
        }
        self.set_clocks_right();
        let disk = self.machines[self.master].world.disk();
        let master = self.start_master(&disk)?.expect("no death is planned");
        self.survey_and_serve(&master, &disk).await?;
        let master = master.0;
        self.drain(&master).await?;
        let mut found = Vec::new();
        for slave in self.slaves() {
            found.push((slave, self.compare(slave, &master).await?));
        }
        let status = master.status();
        if !is_confirmed(&status) {
            let Status { appended_to, confirmed_to, .. } = status;
            let detail = format!("slaves have all to {appended_to}, and their master counts on {confirmed_to}");
            return Err(Violation::new(PROMISE, detail));
        }
        for machine in self.slaves().chain([self.master]) {
            self.machines[machine].stop().await;
            self.check_derived(machine)?;
        }
        if self.plan.is_compared {
            for (slave, _) in &found {
                self.compare_state(*slave).await?;
            }
        }
        // One alone: what clients do at it the others do not know.
        let (slave, found) = self.rng.choice(&found).expect("there are slaves");
        self.serve_alone(*slave, found).await?;
        self.report.acknowledged = self.history.lock().acknowledged();
        self.report.lost = self.history.lock().lost();
        Ok(())
    }

    /// Lets consumers finish everything, and slaves come, and then catch up.
    async fn drain(&mut self, master: &LocalBroker) -> Result<(), Violation> {
        let mut clients = JoinSet::new();
        self.start_clients(master, &mut clients, true);
        let mut agenda = Agenda::default();
        self.slaves().for_each(|slave| agenda.add(Duration::ZERO, Event::Start(slave)));
        let is_done = |run: &Self, now| {
            now >= SETTLED_AFTER && run.history.lock().first_undelivered().is_none() || now >= DRAIN_MAX
        };
        self.act(master, agenda, true, is_done).await?;
        self.history.lock().take_violation()?;
        if let Some(missing) = self.history.lock().first_undelivered() {
            let detail = format!("{missing:?} was not delivered within {DRAIN_MAX:?}");
            return Err(Violation::new("what was acknowledged is delivered", detail));
        }
        self.act(master, Agenda::default(), true, |_, now| now >= QUIET).await?;
        clients.shutdown().await;
        self.history.lock().take_violation()?;
        let is_equal = |run: &Self, now| {
            let have_all = run.slaves().all(|slave| run.has_all(slave, master));
            have_all && is_confirmed(&master.status()) || now >= CATCH_UP_MAX
        };
        self.act(master, Agenda::default(), true, is_equal).await
    }

    fn has_all(&self, slave: usize, master: &LocalBroker) -> bool {
        let broker = self.machines[slave].broker.as_ref();
        broker.is_some_and(|slave| slave.status().durable_to == master.status().appended_to)
    }

    /// A slave has its master's log and tells the same; returns what is in its queues.
    async fn compare(&mut self, slave: usize, master: &LocalBroker) -> Result<Vec<Found>, Violation> {
        let topics = self.plan.common.topics();
        self.check_slave(slave)?;
        let Machine { broker, log, .. } = &self.machines[slave];
        let Some(broker) = broker.clone().filter(|_| self.has_all(slave, master)) else {
            let ends = broker.as_ref().map(|broker| broker.status().durable_to);
            let master = master.status().appended_to;
            let detail = format!("slave {slave} ends at {ends:?}, the master at {master}, {log:?}");
            return Err(Violation::new(PROMISE, detail));
        };
        let told = (broker.topics().await, broker.groups().await);
        let masters = (master.topics().await, master.groups().await);
        if told != masters {
            return Err(Violation::new(PROMISE, format!("a slave tells {told:?}, its master {masters:?}")));
        }
        let found = survey::pull_all(&broker, topics).await?.found;
        check_all_there(&found, &survey::pull_all(master, topics).await?.found)?;
        Ok(found)
    }

    /// The state of a slave that was stopped is what a replay of all of its log gives.
    async fn compare_state(&mut self, slave: usize) -> Result<(), Violation> {
        let followed = self.machines[slave].checkpoint();
        faults::lose_all(&self.machines[slave].world, Path::new(DIR));
        let started = self.machines[slave].start_slave(self.plan.options(Role::Slave));
        started.map_err(|error| not_started(&error))?;
        self.machines[slave].stop().await;
        state_is_the_logs::check(&followed, &self.machines[slave].checkpoint())
    }

    /// A slave that is made the master has what its master had, and nothing that was finished comes again.
    async fn serve_alone(&mut self, slave: usize, found: &[Found]) -> Result<(), Violation> {
        self.master = slave;
        let started = self.machines[slave].start_master(self.plan.options(Role::Master));
        let (broker, _) = started.map_err(|error| not_started(&error))?;
        let survey = survey::pull_all(&broker, self.plan.common.topics()).await?;
        self.history.lock().surveyed(&survey, self.now())?;
        check_all_there(found, &survey.found)?;
        let mut clients = JoinSet::new();
        self.start_clients(&broker, &mut clients, true);
        let (begin, clock) = (self.now(), self.world.env().clock);
        while self.now().since(begin) < QUIET && !self.history.lock().is_violated() {
            clock.sleep(TICK).await;
        }
        clients.shutdown().await;
        self.machines[slave].stop().await;
        self.history.lock().take_violation()
    }
}

/// Whether slaves that are waited for have said that they have all.
fn is_confirmed(master: &Status) -> bool {
    master.confirmed_to == master.appended_to
}

/// What was in the queues is there; delayed messages may have come since.
fn check_all_there(before: &[Found], now: &[Found]) -> Result<(), Violation> {
    match before.iter().find(|found| !now.contains(found)) {
        None => Ok(()),
        Some(missing) => Err(Violation::new(PROMISE, format!("{missing:?} was there and is not"))),
    }
}
