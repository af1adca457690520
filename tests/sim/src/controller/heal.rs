//! The end of a run: no more faults, and the group heals. There is a master with whom all are in sync, everything is delivered, and all
//! brokers have one log.

use std::path::Path;
use std::time::Duration;

use broker::LocalBroker;
use types::admin::Admin;

use super::Run;
use super::machine::Leading;
use crate::death::Death;
use crate::invariants::{derived_agrees, one_log};
use crate::messaging::plan::DIR;
use crate::messaging::{DRAIN_MAX, QUIET, survey};
use crate::report::Violation;

const PROMISE: &str = "after faults the group heals";
/// How long that may take: controllers take nobody for gone in their first 10 s, and nobody sooner than after 10 s of silence; a slave
/// that was refused once is waited for again after 5 s.
const HEALED_WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Run {
    pub(super) async fn heal(&mut self) -> Result<(), Violation> {
        self.stubborn.shutdown().await;
        self.is_healing = true;
        for machine in self.numbers() {
            // What is to fail for the process that runs does not for the next.
            self.kill(machine, Death::Kill).await?;
            self.unpart(machine);
        }
        self.service.come_back();
        self.set_clocks_right();
        self.numbers().for_each(|machine| self.start(machine));
        let is_whole = |run: &Self| run.serving.is_some() && run.are_all_in_sync();
        self.until(is_whole, HEALED_WITHIN, || "not all are in sync with a master".to_owned()).await?;
        self.drain().await?;
        self.clients.shutdown().await;
        self.history.lock().take_violation()?;
        let is_equal = |run: &Self| run.serving.as_ref().is_some_and(|master| run.have_all(&master.broker));
        self.until(is_equal, HEALED_WITHIN, || "not all have the log of their master".to_owned()).await?;
        self.compare().await?;
        for machine in self.numbers() {
            self.machines[machine].stop().await.map_err(|problem| Violation::new(PROMISE, problem))?;
            derived_agrees::check(&self.machines[machine].world.env(), Path::new(DIR))?;
        }
        self.report.acknowledged = self.history.lock().acknowledged();
        self.report.lost = self.history.lock().lost();
        Ok(())
    }

    /// Sets no wall clock before the latest time that one has shown: what waits for a time that a wrong clock has named is due soon.
    fn set_clocks_right(&self) {
        let mut history = self.history.lock();
        self.machines.iter().for_each(|machine| history.saw_clock(machine.world.env().clock.now()));
        let ahead_ms = (history.latest_wall().0 - self.now().0).max(0);
        self.machines.iter().for_each(|machine| machine.world.clock().set_skew_ms(ahead_ms));
    }

    async fn until(
        &mut self,
        is_so: impl Fn(&Self) -> bool,
        at_most: Duration,
        missing: impl Fn() -> String,
    ) -> Result<(), Violation> {
        let (begin, clock) = (self.now(), self.world.env().clock);
        loop {
            self.look().await?;
            if is_so(self) {
                return Ok(());
            }
            if self.now().since(begin) >= at_most {
                return Err(Violation::new(PROMISE, format!("{} after {at_most:?}: {}", missing(), self.standing())));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    fn are_all_in_sync(&self) -> bool {
        let in_sync = self.service.in_sync();
        self.machines.iter().all(|machine| machine.id().is_some_and(|id| in_sync.contains(&id)))
    }

    fn have_all(&self, master: &LocalBroker) -> bool {
        let end = master.status().appended_to;
        let mut brokers = self.machines.iter().map(|machine| machine.broker());
        brokers.all(|broker| broker.is_some_and(|broker| broker.status().durable_to == end))
    }

    /// How things are, for people.
    fn standing(&self) -> String {
        let machines = self.machines.iter().map(|machine| {
            let status = machine.broker().map(|broker| broker.status());
            let ends =
                status.map(|status| (status.appended_to, status.durable_to, status.confirmed_to, status.failure));
            format!("{:?} leads {:?}, {ends:?}", machine.id(), machine.leading().map(|leading| leading.epoch))
        });
        let machines: Vec<String> = machines.collect();
        format!("{:?}; in sync are {:?}; {:?}", machines, self.service.in_sync(), self.service.epochs().last())
    }

    /// Lets consumers finish everything.
    async fn drain(&mut self) -> Result<(), Violation> {
        let is_done = |run: &Self| run.history.lock().first_undelivered().is_none();
        let history = self.history.clone();
        let missing = || format!("{:?} was not delivered", history.lock().first_undelivered());
        self.until(is_done, DRAIN_MAX, missing).await?;
        let begin = self.now();
        self.until(|run| run.now().since(begin) >= QUIET, DRAIN_MAX, String::new).await
    }

    /// All have one log, and tell the same.
    async fn compare(&mut self) -> Result<(), Violation> {
        let Some(Leading { machine: master, broker: of_master, .. }) = self.serving.clone() else {
            return Err(Violation::new(PROMISE, "the master is gone in the end".to_owned()));
        };
        let (end, topics) = (of_master.status().appended_to, self.plan.common.topics());
        let log = self.bytes(master, end);
        let masters = (of_master.topics().await, of_master.groups().await);
        let found = survey::pull_all(&of_master, topics).await?.found;
        for machine in self.numbers().filter(|machine| *machine != master) {
            one_log::check(&log, &self.bytes(machine, end))?;
            let broker = self.machines[machine].broker();
            let Some(broker) = broker else { continue };
            let told = (broker.topics().await, broker.groups().await);
            if told != masters {
                return Err(Violation::new(PROMISE, format!("a slave tells {told:?}, its master {masters:?}")));
            }
            let differs = survey::pull_all(&broker, topics).await?.found != found;
            if differs {
                return Err(Violation::new(PROMISE, format!("machine {machine} finds other messages than its master")));
            }
        }
        Ok(())
    }
}
