//! What goes wrong, and when.

use std::time::Duration;

use controller::state::{BrokerId, Command};
use env::sim::SimDisk;

use super::Run;
use super::service::NAME;
use crate::agenda;
use crate::death::Death;
use crate::faults::Fault;
use crate::report::Violation;

/// Longest time until a process is started again, often and now and then.
const START_MS_MAX: u64 = 1_500;
const START_LATE_MS_MAX: u64 = 20_000;
/// Longest time that a machine is parted from others, or that nobody leads the controllers.
const PARTED_MS_MAX: u64 = 25_000;
/// Longest pause, and longest one of a slow disk.
const PAUSE_MS_MAX: u64 = 30_000;
const SLOW_MS_MAX: u64 = 900;
/// Longest time until the operator sees that a broker's disk has failed.
const SEEN_MS_MAX: u64 = 20_000;
/// One look in so many finds that a broker's disk has failed.
const SEEN_ONE_IN: u32 = 1_000;
/// One process in so many ends in the middle of a change of its disk.
const DEATH_IN_CHANGE_ONE_IN: u8 = 6;
/// Within so many changes.
const CHANGES_MAX: u32 = 400;

pub(super) type Agenda = agenda::Agenda<Event>;

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A machine's process is started.
    Start(usize),
    /// The process of some machine dies, and is started again later.
    Die,
    /// That of this one.
    DieThere(usize),
    /// A machine is lost with its disk.
    Lose,
    /// This one's process is dead; its disk is lost if nobody counts on it any more.
    LoseThere(usize),
    /// Nothing comes from a machine to some others, or the other way.
    Part,
    /// It does again.
    Unpart(usize),
    Cut,
    Pause(u64),
    /// Nobody leads the controllers.
    Away,
    /// The operator makes another broker the master.
    HandOver,
}

impl Run {
    /// The time in which there are faults.
    pub(super) async fn suffer(&mut self) -> Result<(), Violation> {
        self.draw_agenda();
        let (begin, clock) = (self.now(), self.world.env().clock);
        loop {
            let now = self.now().since(begin);
            while let Some(event) = self.agenda.take_due(now) {
                self.happen(event, now).await?;
            }
            if now >= self.plan.faulty {
                return Ok(());
            }
            self.look().await?;
            self.supervise(now).await?;
            clock.sleep(super::TICK).await;
        }
    }

    fn draw_agenda(&mut self) {
        let (length, machines) = (self.plan.faulty, self.machines.len());
        let mut agenda = Agenda::default();
        let rng = &mut self.rng;
        for machine in 0..machines {
            agenda.add(Duration::from_millis(rng.u64(..START_MS_MAX)), Event::Start(machine));
        }
        let mut add = |is_wanted: bool, most: u32, event: Event| {
            let times = if is_wanted { rng.u32(1..=most) } else { 0 };
            (0..times).for_each(|_| agenda.add(length.mul_f64(rng.f64()), event));
        };
        let has = |fault| self.faults.has(fault);
        add(true, 3, Event::Die);
        add(has(Fault::SlaveDeath), 5, Event::Die);
        add(has(Fault::LostMachine), 3, Event::Lose);
        add(has(Fault::Partition), 5, Event::Part);
        add(has(Fault::Cut), 6, Event::Cut);
        add(has(Fault::Pause), 3, Event::Pause(PAUSE_MS_MAX));
        add(has(Fault::Pause), 12, Event::Pause(SLOW_MS_MAX));
        add(has(Fault::Leaderless), 3, Event::Away);
        add(true, 2, Event::HandOver);
        self.agenda = agenda;
    }

    async fn happen(&mut self, event: Event, now: Duration) -> Result<(), Violation> {
        let some = self.draw_machine();
        match event {
            Event::Start(machine) => self.start(machine),
            Event::Die => return self.die(some, now).await,
            Event::DieThere(machine) => return self.die(machine, now).await,
            Event::Lose => return self.lose(some, now).await,
            Event::LoseThere(machine) => self.lose_disk(machine),
            Event::Part => {
                self.part(some);
                let over = Duration::from_millis(self.rng.u64(..PARTED_MS_MAX));
                self.agenda.add(now + over, Event::Unpart(some));
            }
            Event::Unpart(machine) => self.unpart(machine),
            Event::Cut => {
                self.report.struck(Fault::Cut, 1);
                self.machines[some].wires.iter().for_each(|wire| wire.cut());
            }
            Event::Pause(most) => {
                self.report.struck(Fault::Pause, 1);
                self.machines[some].world.stall(Duration::from_millis(self.rng.u64(..most)));
            }
            Event::Away => {
                self.report.struck(Fault::Leaderless, 1);
                let away = Duration::from_millis(self.rng.u64(..PARTED_MS_MAX));
                self.service.go_away(away, self.rng.bool());
            }
            Event::HandOver => {
                if let Some(id) = self.machines[some].id() {
                    let by = Some(BrokerId(id.0));
                    // Refused unless it is in sync.
                    drop(self.service.propose(Command::Elect { name: NAME.to_owned(), by, is_designated: true }));
                }
            }
        }
        Ok(())
    }

    /// The master's half of the time.
    fn draw_machine(&mut self) -> usize {
        let machine = self.rng.usize(self.numbers());
        self.serving.as_ref().map(|serving| serving.machine).filter(|_| self.rng.bool()).unwrap_or(machine)
    }

    fn draw_death(&mut self) -> Death {
        if self.plan.loses_power() && self.rng.bool() { Death::PowerLoss } else { Death::Kill }
    }

    pub(super) fn draw_death_in_change(&mut self, disk: &SimDisk) {
        if self.rng.u8(..DEATH_IN_CHANGE_ONE_IN) == 0 {
            disk.die_at(self.rng.u32(..CHANGES_MAX));
        }
    }

    async fn die(&mut self, machine: usize, now: Duration) -> Result<(), Violation> {
        if self.machines[machine].is_running() {
            self.report.struck(Fault::SlaveDeath, 1);
            let death = self.draw_death();
            self.kill(machine, death).await?;
            self.start_soon(machine, now);
        }
        Ok(())
    }

    fn start_soon(&mut self, machine: usize, now: Duration) {
        let most = if self.rng.bool() { START_MS_MAX } else { START_LATE_MS_MAX };
        self.agenda.add(now + Duration::from_millis(self.rng.u64(..most)), Event::Start(machine));
    }

    /// A master is lost at once, and another broker first seen to be gone: with one that counts as in sync and never comes back another
    /// loss would be one too many.
    async fn lose(&mut self, machine: usize, now: Duration) -> Result<(), Violation> {
        let is_master = self.machines[machine].leading().is_some();
        // Its disk may be one too many to lose, and then must have what a plan without power losses counts on.
        let death = if is_master && self.plan.loses_power() { Death::PowerLoss } else { Death::Kill };
        self.kill(machine, death).await?;
        let seen = if is_master { Duration::ZERO } else { Duration::from_millis(self.rng.u64(..SEEN_MS_MAX)) };
        self.agenda.add(now + seen, Event::LoseThere(machine));
        self.start_soon(machine, now + seen);
        Ok(())
    }

    fn lose_disk(&mut self, machine: usize) {
        let (in_sync, own) = (self.service.in_sync(), self.machines[machine].id());
        let others = self.numbers().filter(|other| *other != machine).filter_map(|other| self.machines[other].id());
        let is_counted_on = own.is_some_and(|own| in_sync.contains(&own)) && self.service.master() != own;
        let is_last = !in_sync.is_empty() && !others.into_iter().any(|other| in_sync.contains(&other));
        if !self.machines[machine].is_running() && !is_counted_on && !is_last {
            self.report.struck(Fault::LostMachine, 1);
            self.machines[machine].lose(&mut self.rng);
        }
    }

    /// From the controllers, one other or all, one way or both.
    fn part(&mut self, machine: usize) {
        self.report.struck(Fault::Partition, 1);
        let (there, back) = *self.rng.choice(&[(true, true), (true, false), (false, true)]).expect("not empty");
        let other = self.rng.usize(self.numbers());
        let Self { machines, rng, .. } = self;
        let (kind, machine) = (rng.u8(..3), &machines[machine]);
        if kind != 0 {
            machine.link.part(there, back);
        }
        for (number, (out, into)) in machine.wires.iter().zip(&machine.inbound).enumerate() {
            if kind == 2 || kind == 0 && number == other {
                out.part(there, back);
                into.part(back, there);
            }
        }
    }

    pub(super) fn unpart(&self, machine: usize) {
        self.machines[machine].ways().for_each(|way| way.part(false, false));
    }

    /// Processes that have ended are started anew, and those whose disk has failed once that is seen.
    async fn supervise(&mut self, now: Duration) -> Result<(), Violation> {
        for machine in self.numbers() {
            let disk = self.machines[machine].world.disk();
            let ended = self.machines[machine].look(|seat| seat.ended.clone()).flatten();
            if let Some(Err(problem)) = &ended
                && !disk.is_dead()
                && disk.failures().is_empty()
            {
                return Err(Violation::new("a broker of a group starts after any death", problem.clone()));
            }
            if ended.is_some() || disk.is_dead() && self.machines[machine].is_running() {
                self.die(machine, now).await?;
            }
            let has_failed = |broker: broker::LocalBroker| broker.status().failure.is_some();
            if self.machines[machine].broker().is_some_and(has_failed) && self.rng.u32(..SEEN_ONE_IN) == 0 {
                self.agenda.add(now, Event::DieThere(machine));
            }
        }
        Ok(())
    }
}
