//! Another master: its log is compared with what was promised, and clients go to it. A producer of each master stays with it until its
//! process is another, to see that a master that was replaced acknowledges nothing.

use std::sync::Arc;
use std::time::Duration;

use types::{PhysicalOffset, Timestamp};

use super::Run;
use super::machine::Leading;
use super::service::Service;
use crate::invariants::{confirmed_stays, confirmed_survives, fenced};
use crate::messaging::clients::Client;
use crate::messaging::{Failover, producer, survey};
use crate::report::Violation;

impl Run {
    /// Clients leave the master.
    pub(super) async fn leave(&mut self) -> Result<(), Violation> {
        self.serving = None;
        self.clients.shutdown().await;
        self.history.lock().take_violation()
    }

    /// Clients go to another one.
    pub(super) async fn take_over(&mut self, leading: Leading) -> Result<(), Violation> {
        self.note(true)?;
        self.leave().await?;
        let end = leading.end;
        if self.plan.is_sync() {
            confirmed_stays::check(&self.confirmed, &self.bytes(leading.machine, end))?;
            confirmed_survives::check_all(&self.history.lock(), PhysicalOffset(end))?;
        }
        self.fail_over(end);
        self.begun = leading.epoch;
        self.masters += 1;
        if !self.survey(&leading).await? {
            return Ok(());
        }
        self.report.promotions += 1;
        if !self.is_healing {
            let mut rng = self.rng.fork();
            let client = self.clients_of(&leading).client(&mut rng);
            self.stubborn.spawn(stay(client, leading.clone(), Arc::clone(&self.service)));
        }
        self.serving = Some(leading);
        self.turn().await;
        Ok(())
    }

    /// Clients come, or rest: the checker, which looks at all messages with each delivery, bears only so many.
    pub(super) async fn turn(&mut self) {
        let is_busy = !self.clients.is_empty();
        self.clients.shutdown().await;
        if let Some(leading) = self.serving.clone().filter(|_| !is_busy) {
            self.start_clients(&leading);
        }
        let longest_ms = if is_busy { REST_MS_MAX } else { BUSY_MS_MAX };
        self.turns_at = self.now().plus(Duration::from_millis(self.rng.u64(..longest_ms)));
    }

    /// What is behind the end of the new master's log is gone. No lease is sure to be in it.
    fn fail_over(&mut self, end: u64) {
        let (now, progress) = (self.now(), &mut self.progress);
        let told_since =
            (!self.plan.is_sync()).then(|| progress.since(|sample| sample.visible_to, end).unwrap_or(self.noted_at));
        progress.cut(end);
        let mut history = self.history.lock();
        for machine in &self.machines {
            // What was due by one clock may come where another is behind.
            history.saw_clock(machine.world.env().clock.now());
        }
        history.started();
        history.failed_over(&Failover {
            end: PhysicalOffset(end),
            told_since,
            appended_since: Timestamp::default(),
            at: now,
        });
    }

    /// Reads all queues before anybody else does anything; `false` when this master will not get to it.
    async fn survey(&mut self, leading: &Leading) -> Result<bool, Violation> {
        let surveyed = survey::pull_all(&leading.broker, self.plan.common.topics()).await;
        let disk = self.machines[leading.machine].world.disk();
        match surveyed {
            Ok(survey) => self.history.lock().surveyed(&survey, self.now()).map(|()| true),
            Err(_) if disk.is_dead() || !disk.failures().is_empty() => Ok(false),
            Err(_) if !self.leads(leading) => Ok(false),
            Err(violation) => Err(violation),
        }
    }

    /// Whether it still does.
    fn leads(&self, leading: &Leading) -> bool {
        self.machines[leading.machine].leading().is_some_and(|now| now.epoch == leading.epoch)
    }

    fn start_clients(&mut self, leading: &Leading) {
        let (mut clients, mut rng) = (std::mem::take(&mut self.clients), self.rng.fork());
        let all = self.clients_of(leading);
        match self.plan.is_uniform && !self.is_healing {
            true => all.start_uniform(&mut rng, &mut clients),
            false => all.start(&mut rng, &mut clients, self.is_healing),
        }
        self.clients = clients;
    }
}

/// Longest time in which clients are busy, and rest.
const BUSY_MS_MAX: u64 = 4_000;
const REST_MS_MAX: u64 = 8_000;
/// Longest pause of who stays.
const STAYS_PAUSE_MS: u64 = 400;
/// How long it stays once another one was elected.
const STAYS: Duration = Duration::from_secs(60);

/// Sends to one master for as long as its process lives, also once another one was elected.
async fn stay(mut client: Client, with: Leading, service: Arc<Service>) {
    loop {
        client.pause(STAYS_PAUSE_MS).await;
        let Some(replaced_at) = service.replaced_at(with.epoch) else { continue };
        if client.moment().since(replaced_at) > STAYS {
            return;
        }
        if producer::send_unheard(&mut client).await {
            client.judge(fenced::check(with.epoch, replaced_at, client.moment()));
        }
    }
}
