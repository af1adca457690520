//! The whole broker in process behind `trait Broker`: producers, consumers and transaction checks, deaths, and a survey of
//! what is left. What clients were told and have seen is the only thing that the promises are checked against.

pub(crate) mod clients;
mod consumer;
mod history;
mod life;
pub(crate) mod plan;
pub(crate) mod producer;
mod rot;
pub(crate) mod survey;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::{LocalBroker, StartError};
use env::sim::World;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::faults::{self, Fault, Faults};
use crate::invariants::{alive_stays, derived_agrees};
use crate::report::{Report, Violation};
use clients::{Client, Clients};
pub(crate) use history::Failover;
pub use history::{Delivery, Fate, History, Kind, Lease, Place, Sent, Stored, Topic, Wanted};
use plan::{DIR, Plan};
pub use survey::{Found, Survey};

/// How often the end of a life is looked for.
const TICK: Duration = Duration::from_millis(5);
/// How long the last life has to deliver everything.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(2 * 3600);
/// The same where messages expire: longer than any delay, and a message that is lost is waited for to the end.
const DRAIN_RETAINING_MAX: Duration = Duration::from_secs(20 * 60);
/// How long is looked whether something finished comes again.
pub(crate) const QUIET: Duration = Duration::from_secs(120);
/// How far the clock jumps at most, one of these.
const CLOCK_JUMPS_MS: [i64; 3] = [5_000, 600_000, 2 * 3_600_000];

/// Runs the scenario under a seed.
///
/// # Errors
/// The first promise that was not kept.
///
/// # Panics
/// When the broker panics.
pub fn run(seed: u64) -> Result<Report, Violation> {
    env::sim::run(seed, |world| async move {
        let mut rng = world.random().fork();
        let faults = Faults::of(seed);
        let plan = Plan::draw(seed, &faults, &mut rng);
        let history = Arc::new(Mutex::new(History::new(plan.flush, plan.reserved())));
        let mut run = Run { world, rng, plan, faults, history, report: Report::default() };
        for _ in 0..run.plan.lives {
            run.live_and_die().await?;
        }
        run.live_in_peace().await?;
        run.report.fingerprint = run.world.disk().fingerprint();
        Ok(run.report)
    })
}

struct Run {
    world: World,
    rng: fastrand::Rng,
    plan: Plan,
    faults: Faults,
    /// What clients know; never held over an await.
    history: Arc<Mutex<History>>,
    report: Report,
}

impl Run {
    /// A last life without deaths, in which everything must be delivered, and a look at it after an orderly stop.
    async fn live_in_peace(&mut self) -> Result<(), Violation> {
        self.set_clock_right();
        self.lose_derived_files();
        // What nobody has looked at is known now, and from here on must be delivered.
        self.plan.stop_retention();
        let broker = self.start().map_err(|error| not_started(&error))?;
        self.survey(&broker).await?;
        let mut clients = JoinSet::new();
        self.start_clients(&broker, &mut clients, true);
        let history = self.history.clone();
        let is_done = || history.lock().first_undelivered().is_none() && alive_stays::check(&history.lock()).is_ok();
        let drain_max = if history.lock().is_retaining() { DRAIN_RETAINING_MAX } else { DRAIN_MAX };
        self.until(|| is_done() || history.lock().is_violated(), drain_max).await;
        self.history.lock().take_violation()?;
        alive_stays::check(&self.history.lock())?;
        if let Some(missing) = self.history.lock().first_undelivered() {
            let detail = format!("{missing:?} was not delivered within {drain_max:?}");
            return Err(Violation::new("what was acknowledged is delivered", detail));
        }
        self.until(|| history.lock().is_violated(), QUIET).await;
        clients.shutdown().await;
        broker.stop().await;
        drop(broker);
        self.history.lock().take_violation()?;
        let broker = self.start().map_err(|error| not_started(&error))?;
        let found = self.survey(&broker).await?;
        broker.stop().await;
        drop(broker);
        derived_agrees::check(&self.world.env(), Path::new(DIR))?;
        self.rot_in_the_log(found).await?;
        self.report.acknowledged = self.history.lock().acknowledged();
        self.report.lost = self.history.lock().lost();
        Ok(())
    }

    fn start(&mut self) -> Result<LocalBroker, StartError> {
        self.report.lives += 1;
        LocalBroker::start(self.world.env(), self.plan.options())
    }

    async fn survey(&mut self, broker: &LocalBroker) -> Result<Vec<Found>, Violation> {
        let survey = survey::pull_all(broker, self.plan.topics()).await?;
        self.history.lock().surveyed(&survey, self.world.clock().true_now())?;
        Ok(survey.found)
    }

    /// After retention the log alone must tell the state: now and then all that is derived from it is gone.
    fn lose_derived_files(&mut self) {
        if self.plan.is_retaining() && self.rng.bool() {
            let count = faults::lose_all(&self.world, Path::new(DIR));
            self.report.struck(Fault::LostFile, count);
        }
    }

    fn client(&mut self, broker: &LocalBroker) -> Client {
        let Self { world, history, plan, rng, .. } = self;
        Clients { broker, world, history, plan }.client(rng)
    }

    fn start_clients(&mut self, broker: &LocalBroker, clients: &mut JoinSet<()>, is_last: bool) {
        let Self { world, history, plan, rng, .. } = self;
        Clients { broker, world, history, plan }.start(rng, clients, is_last);
    }

    /// Waits until something is the case, at most so long.
    async fn until(&self, is_reached: impl Fn() -> bool, at_most: Duration) {
        let clock = self.world.env().clock;
        let begin = self.world.clock().true_now();
        while !is_reached() && self.world.clock().true_now().since(begin) < at_most {
            clock.sleep(TICK).await;
        }
    }

    /// Sets the wall clock wrong, if the seed wants that.
    fn step_clock(&mut self) {
        if self.faults.has(Fault::ClockJump) {
            let farthest_ms = *self.rng.choice(&CLOCK_JUMPS_MS).expect("not empty");
            self.history.lock().saw_clock(self.world.env().clock.now());
            self.world.clock().set_skew_ms(self.rng.i64(-farthest_ms..farthest_ms));
            self.report.struck(Fault::ClockJump, 1);
        }
    }

    /// Sets the wall clock to the latest time that it has shown, if that is ahead: what waits for a time that a wrong clock
    /// has named is then due soon.
    fn set_clock_right(&mut self) {
        let clock = self.world.clock();
        self.history.lock().saw_clock(self.world.env().clock.now());
        clock.set_skew_ms((self.history.lock().latest_wall().0 - clock.true_now().0).max(0));
    }

    /// Damages derived files, if the seed wants that, while no process runs.
    fn damage(&mut self) {
        let done = faults::damage(&self.faults, &self.world, Path::new(DIR), &mut self.rng);
        done.into_iter().for_each(|fault| self.report.struck(fault, 1));
    }
}

fn not_started(error: &StartError) -> Violation {
    Violation::new("the broker starts after any death", error.to_string())
}
