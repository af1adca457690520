//! One term: a master from its start to its death, and what happens meanwhile to its slaves and on the network.

use std::time::Duration;

use broker::{Flush, LocalBroker, Role};
use env::sim::SimDisk;
use tokio::task::JoinSet;
use types::PhysicalOffset;

use super::event::{Agenda, Event};
use super::machine::Log;
use super::network::Listening;
use super::{Run, TICK, not_started};
use crate::death::{self, Death};
use crate::faults::Fault;
use crate::invariants::one_log;
use crate::messaging::survey;
use crate::report::Violation;

/// One term in so many is long, so that brokers notice who is silent.
const LONG_ONE_IN: u8 = 10;
/// How much longer.
const LONG: u32 = 10;
/// Longest time until a slave is started, or started again.
const START_MS_MAX: u64 = 1_500;
/// Longest time until the operator sees that a slave does not follow.
const RENEW_MS_MAX: u64 = 3_000;
/// Most cuts of a slave's connection in one term.
const CUTS_MAX: u32 = 4;
/// One start of a slave in so many ends in the middle of a change of its disk.
const DEATH_IN_CHANGE_ONE_IN: u8 = 6;
/// Within so many changes.
const CHANGES_MAX: u32 = 100;
/// One term in so many loses a slave's machine, where machines are lost.
const LOST_ONE_IN: u8 = 3;

impl Run {
    /// One master from its start to its death, and what comes of that.
    pub(super) async fn term(&mut self) -> Result<(), Violation> {
        let mut death = death::Plan::draw(&mut self.rng);
        if self.rng.u8(..LONG_ONE_IN) == 0 {
            death.after *= LONG;
        }
        let mut clients = JoinSet::new();
        self.live(&death, &mut clients).await?;
        self.end_term(&death, clients).await
    }

    async fn live(&mut self, death: &death::Plan, clients: &mut JoinSet<()>) -> Result<(), Violation> {
        let disk = self.machines[self.master].world.disk();
        // Where a slave's log ends is known once it has started as the master.
        let is_successor = self.died_at.is_some();
        if !is_successor {
            death.prepare(&disk);
        }
        let Some(master) = self.start_master(&disk)? else { return Ok(()) };
        if is_successor {
            death.prepare(&disk);
        }
        if !self.survey_and_serve(&master, &disk).await? {
            return Ok(());
        }
        self.start_clients(&master.0, clients, false);
        let agenda = self.draw_agenda(death.after);
        let is_over = |_: &Self, now| now >= death.after || disk.is_dead();
        self.act(&master.0, agenda, false, is_over).await
    }

    /// Acts until something is the case. `is_calm`: no fault is added.
    pub(super) async fn act(
        &mut self,
        master: &LocalBroker,
        mut agenda: Agenda,
        is_calm: bool,
        is_over: impl Fn(&Self, Duration) -> bool,
    ) -> Result<(), Violation> {
        let begin = self.now();
        loop {
            let now = self.now().since(begin);
            while let Some(event) = agenda.take_due(now) {
                // What a slave has had is known when it is gone.
                self.note(master)?;
                self.happen(event, now, is_calm, &mut agenda).await?;
            }
            self.note(master)?;
            if self.history.lock().is_violated() || is_over(self, now) {
                return Ok(());
            }
            self.supervise(now, &mut agenda);
            self.world.env().clock.sleep(TICK).await;
        }
    }

    /// What happens in a term of this length.
    fn draw_agenda(&mut self, length: Duration) -> Agenda {
        let mut agenda = Agenda::default();
        let moment = |rng: &mut fastrand::Rng| length.mul_f64(rng.f64());
        for slave in self.slaves() {
            let rng = &mut self.rng;
            if self.machines[slave].broker.is_none() {
                agenda.add(Duration::from_millis(rng.u64(..START_MS_MAX)).min(length / 2), Event::Start(slave));
            }
            if self.faults.has(Fault::Cut) {
                (0..rng.u32(1..CUTS_MAX)).for_each(|_| agenda.add(moment(rng), Event::Cut(slave)));
            }
            if self.faults.has(Fault::Partition) {
                let from = moment(rng);
                let (there, back) = *rng.choice(&[(true, true), (true, false), (false, true)]).expect("not empty");
                agenda.add(from, Event::Part { slave, there, back });
                agenda.add(from + moment(rng), Event::Part { slave, there: false, back: false });
            }
            if self.faults.has(Fault::Pause) {
                agenda.add(moment(rng), Event::Pause(slave, moment(rng)));
            }
            if self.faults.has(Fault::SlaveDeath) {
                let death = *rng.choice(&[Death::Kill, Death::PowerLoss]).expect("not empty");
                agenda.add(moment(rng), Event::Die(slave, death));
            }
            if self.faults.has(Fault::LostMachine) && rng.u8(..LOST_ONE_IN) == 0 {
                agenda.add(moment(rng), Event::Lose(slave));
            }
        }
        if self.faults.has(Fault::Pause) {
            let (from, pause) = (moment(&mut self.rng), moment(&mut self.rng) / 2);
            // A send that is repeated within half of its key's window must not be looked at behind its end.
            let longest = self.plan.common.key_window.map_or(pause, |window| window / 4);
            agenda.add(from, Event::Pause(self.master, pause.min(longest)));
        }
        agenda
    }

    async fn happen(
        &mut self,
        event: Event,
        now: Duration,
        is_calm: bool,
        agenda: &mut Agenda,
    ) -> Result<(), Violation> {
        match event {
            Event::Start(slave) if self.machines[slave].broker.is_none() => {
                self.start_slave(slave, now, is_calm, agenda).await?;
            }
            Event::Die(slave, death) if self.machines[slave].broker.is_some() => {
                self.check_slave(slave)?;
                self.report.struck(Fault::SlaveDeath, 1);
                self.kill_slave(slave, death).await?;
                agenda.add(self.soon(now), Event::Start(slave));
            }
            // It is started again by what is on the agenda already.
            Event::Start(_) | Event::Die(..) => {}
            Event::Lose(slave) => {
                self.check_slave(slave)?;
                self.report.struck(Fault::LostMachine, 1);
                self.slave_lost();
                self.renew(slave).await;
                agenda.add(self.soon(now), Event::Start(slave));
            }
            Event::Renew(slave) => {
                if let Some(Log::Parted { .. }) = self.machines[slave].log {
                    self.check_slave(slave)?;
                    self.report.parted += 1;
                    self.renew(slave).await;
                    agenda.add(self.soon(now), Event::Start(slave));
                }
            }
            Event::Cut(slave) => {
                self.report.struck(Fault::Cut, 1);
                self.machines[slave].wire.cut();
            }
            Event::Part { slave, there, back } => {
                self.report.struck(Fault::Partition, u64::from(there || back));
                self.machines[slave].wire.part(there, back);
            }
            Event::Pause(machine, duration) => {
                self.report.struck(Fault::Pause, 1);
                let now = self.now();
                self.machines[machine].pause(now, duration);
            }
        }
        Ok(())
    }

    fn soon(&mut self, now: Duration) -> Duration {
        now + Duration::from_millis(self.rng.u64(..START_MS_MAX))
    }

    /// A slave loses some or all of its log.
    pub(super) fn slave_lost(&mut self) {
        let master = self.machines[self.master].broker.as_ref();
        let to = master.map_or(0, |master| master.status().appended_to);
        self.history.lock().replica_lost(PhysicalOffset(to));
    }

    pub(super) async fn renew(&mut self, slave: usize) {
        self.machines[slave].lose(&mut self.rng).await;
    }

    /// Ends a slave's process.
    pub(super) async fn kill_slave(&mut self, slave: usize, death: Death) -> Result<(), Violation> {
        if death == Death::PowerLoss {
            self.report.power_losses += 1;
            if self.plan.common.flush == Flush::Async {
                self.slave_lost();
            }
        }
        self.machines[slave].die(death).await;
        self.check_derived(slave)
    }

    /// Starts a slave, and the operator looks whether its log can be its master's.
    async fn start_slave(
        &mut self,
        slave: usize,
        now: Duration,
        is_calm: bool,
        agenda: &mut Agenda,
    ) -> Result<(), Violation> {
        let disk = self.machines[slave].world.disk();
        if !is_calm {
            self.faults.prepare(&disk, &mut self.rng);
            if self.rng.u8(..DEATH_IN_CHANGE_ONE_IN) == 0 {
                disk.die_at(self.rng.u32(..CHANGES_MAX));
            }
        }
        let broker = match self.machines[slave].start_slave(self.plan.options(Role::Slave)) {
            Ok(broker) => broker,
            Err(_) if disk.is_dead() || !disk.failures().is_empty() => {
                self.machines[slave].die(Death::Kill).await;
                agenda.add(self.soon(now), Event::Start(slave));
                return Ok(());
            }
            Err(error) => return Err(not_started(&error)),
        };
        self.report.lives += 1;
        let log = self.judge(slave, broker.status().appended_to)?;
        if log != Log::Beginning {
            let renew = Duration::from_millis(self.rng.u64(..RENEW_MS_MAX));
            agenda.add(now + renew, Event::Renew(slave));
        }
        self.machines[slave].log = Some(log);
        self.machines[slave].follow(&broker);
        Ok(())
    }

    /// What a log that ends there is to the master's.
    fn judge(&mut self, slave: usize, end: u64) -> Result<Log, Violation> {
        let master = self.machines[self.master].broker.as_ref().map_or(0, |master| master.status().appended_to);
        match one_log::check(&self.bytes(self.master, master), &self.bytes(slave, end)) {
            Ok(()) => self.machines[slave].may_have_parted = false,
            Err(_) if self.machines[slave].may_have_parted => return Ok(Log::Parted { end }),
            Err(violation) => return Err(violation),
        }
        Ok(Log::Beginning)
    }

    /// A slave whose store has failed is started anew.
    fn supervise(&mut self, now: Duration, agenda: &mut Agenda) {
        for slave in self.slaves() {
            let machine = &self.machines[slave];
            let Some(broker) = &machine.broker else { continue };
            if machine.world.disk().is_dead() || broker.status().failure.is_some() {
                let death = *self.rng.choice(&[Death::Kill, Death::PowerLoss]).expect("not empty");
                agenda.add(now, Event::Die(slave, death));
            }
        }
    }

    /// Reads all queues before anybody else does anything, then lets slaves in; `false` when this life will not get to it.
    pub(super) async fn survey_and_serve(
        &mut self,
        master: &(LocalBroker, Listening),
        disk: &SimDisk,
    ) -> Result<bool, Violation> {
        match survey::pull_all(&master.0, self.plan.common.topics()).await {
            Ok(survey) => self.history.lock().surveyed(&survey, self.now())?,
            Err(_) if disk.is_dead() => return Ok(false),
            Err(violation) => return Err(violation),
        }
        *self.port.lock() = Some(master.1.clone());
        // A machine that has come back knows of no connection.
        self.machines.iter().for_each(|machine| machine.wire.cut());
        Ok(true)
    }
}
