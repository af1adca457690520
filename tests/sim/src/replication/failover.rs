//! What comes after a master's death: the same broker goes on, or a slave in its place.

use std::time::Duration;

use broker::{Flush, LocalBroker, Role};
use env::sim::SimDisk;
use tokio::task::JoinSet;
use types::PhysicalOffset;

use super::machine::Log;
use super::network::Listening;
use super::{Run, not_started};
use crate::death::{self, Death};
use crate::faults::Fault;
use crate::invariants::{ASYNC_WINDOW, confirmed_survives, one_log};
use crate::messaging::Failover;
use crate::report::Violation;

/// Of so many masters that lose power with another one going on, one takes its slaves' power with it.
const RACK_ONE_IN: u8 = 4;
/// Longest time that slaves have for what is on its way to them.
const ARRIVE_MS_MAX: u64 = 1_000;

/// What a master has left.
struct Left {
    /// All that a slave may have of its log.
    log: Vec<u8>,
    death: Death,
}

impl Run {
    /// The master dies, and somebody is to go on.
    pub(super) async fn end_term(&mut self, death: &death::Plan, mut clients: JoinSet<()>) -> Result<(), Violation> {
        let at = self.now();
        // What was due by this clock may be in its queue already, and come where another clock is behind.
        self.history.lock().saw_clock(self.machines[self.master].world.env().clock.now());
        let left = self.look_at_the_end(death.death)?;
        *self.port.lock() = None;
        for slave in self.slaves() {
            self.machines[slave].wire.part(false, false);
            if death.is_power_loss() {
                self.machines[slave].wire.darken();
            }
        }
        if let Some(since) = self.machines[self.master].paused_since(at, ASYNC_WINDOW) {
            self.history.lock().stalled(since);
        }
        self.machines[self.master].die(death.death).await;
        clients.shutdown().await;
        self.report.power_losses += u32::from(death.is_power_loss());
        self.history.lock().take_violation()?;
        self.check_derived(self.master)?;
        let successor = match left {
            Some(left) if self.rng.bool() => self.successor(&left).await?,
            _ => None,
        };
        match successor {
            Some(successor) => {
                self.died_at = Some(at);
                self.hand_over(successor).await;
            }
            None => {
                self.history.lock().died(death.death, at);
                if death.is_power_loss() && self.plan.common.flush == Flush::Async {
                    self.end_slaves_of_another_log().await?;
                }
            }
        }
        Ok(())
    }

    /// `None` when the master has not come so far as to have slaves.
    fn look_at_the_end(&mut self, death: Death) -> Result<Option<Left>, Violation> {
        let Some(master) = self.machines[self.master].broker.clone() else { return Ok(None) };
        self.note(&master)?;
        for slave in self.slaves() {
            self.check_slave(slave)?;
        }
        let status = master.status();
        // With sync flush slaves get only what the disk has.
        let end = match (death, self.plan.common.flush) {
            (Death::PowerLoss, Flush::Sync) => status.durable_to,
            _ => status.appended_to,
        };
        Ok(Some(Left { log: self.bytes(self.master, end), death }))
    }

    /// The master has lost what its slaves may have.
    async fn end_slaves_of_another_log(&mut self) -> Result<(), Violation> {
        for slave in self.slaves() {
            self.kill_slave(slave, Death::Kill).await?;
            self.machines[slave].log = None;
            self.machines[slave].may_have_parted = true;
        }
        Ok(())
    }

    /// The slave that is made the master: the one whose log goes farthest, unless that lacks most of what there was.
    async fn successor(&mut self, left: &Left) -> Result<Option<usize>, Violation> {
        self.end_slaves(left.death).await?;
        let mut farthest = None;
        for slave in self.slaves().filter(|slave| self.machines[*slave].log == Some(Log::Beginning)).collect::<Vec<_>>()
        {
            let broker = self.machines[slave].start_slave(self.plan.options(Role::Slave));
            let end = broker.map_err(|error| not_started(&error))?.status().appended_to;
            one_log::check(&left.log, &self.bytes(slave, end))?;
            self.machines[slave].die(Death::Kill).await;
            farthest = farthest.max(Some((end, slave)));
        }
        if self.plan.is_sync() {
            let end = PhysicalOffset(farthest.map_or(0, |(end, _)| end));
            confirmed_survives::check(&self.history.lock(), end)?;
        }
        let is_worth_it = |(end, _): &(u64, usize)| end * 2 > left.log.len() as u64;
        Ok(farthest.filter(is_worth_it).map(|(_, slave)| slave))
    }

    /// Slaves end, in an orderly way or not, when what is on its way has come or not.
    async fn end_slaves(&mut self, masters: Death) -> Result<(), Violation> {
        let is_rack = masters == Death::PowerLoss && self.rng.u8(..RACK_ONE_IN) == 0;
        if !is_rack && self.rng.bool() {
            let arrive = Duration::from_millis(self.rng.u64(..ARRIVE_MS_MAX));
            self.world.env().clock.sleep(arrive).await;
        }
        for slave in self.slaves() {
            match is_rack {
                true => self.kill_slave(slave, Death::PowerLoss).await?,
                false if self.rng.bool() => {
                    self.machines[slave].stop().await;
                    self.check_derived(slave)?;
                }
                false => self.kill_slave(slave, Death::Kill).await?,
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self, successor: usize) {
        self.report.promotions += 1;
        if self.faults.has(Fault::LostMachine) && self.rng.bool() {
            self.report.struck(Fault::LostMachine, 1);
            self.machines[self.master].lose(&mut self.rng).await;
        }
        self.master = successor;
        for machine in &mut self.machines {
            // A slave that was looked at goes less far than the successor; of others it is not known.
            machine.may_have_parted |= machine.log != Some(Log::Beginning);
            machine.log = None;
        }
    }

    /// Starts the master; `None` when it dies before it has.
    pub(super) fn start_master(&mut self, disk: &SimDisk) -> Result<Option<(LocalBroker, Listening)>, Violation> {
        let started = match self.machines[self.master].start_master(self.plan.options(Role::Master)) {
            Ok(started) => started,
            Err(_) if disk.is_dead() => return Ok(None),
            Err(error) => return Err(not_started(&error)),
        };
        self.report.lives += 1;
        self.history.lock().started();
        self.take_over(&started.0)?;
        self.slaves_had_to.clear();
        self.progress.cut(started.0.status().appended_to);
        self.note(&started.0)?;
        Ok(Some(started))
    }

    /// If this broker was a slave until now, what is behind its log's end is gone.
    fn take_over(&mut self, master: &LocalBroker) -> Result<(), Violation> {
        let Some(at) = self.died_at.take() else { return Ok(()) };
        let end = master.status().appended_to;
        let progress = &self.progress;
        let mut history = self.history.lock();
        if self.plan.is_sync() {
            confirmed_survives::check(&history, PhysicalOffset(end))?;
        }
        history.failed_over(&Failover {
            end: PhysicalOffset(end),
            told_since: progress.since(|sample| sample.visible_to, end),
            appended_since: progress.since(|sample| sample.appended_to, end).unwrap_or(at),
            at,
        });
        Ok(())
    }
}
