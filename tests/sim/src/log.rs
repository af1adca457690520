//! The store alone: appends, checkpoints and reads by an engine of its own, deaths, and a look at what is left.

mod engine;
mod ledger;
mod plan;
mod tally;

use std::path::Path;
use std::sync::Arc;

use env::sim::World;
use parking_lot::Mutex;
use store::{OpenError, Store};

use crate::death;
use crate::faults::{self, Faults};
use crate::invariants::{acknowledged_survives, suffix_only};
use crate::report::{Report, Violation};
use engine::Engine;
pub use ledger::{Entry, Ledger, Promised};
use plan::{DIR, Plan};
use tally::Tally;

/// Runs the scenario under a seed.
///
/// # Errors
/// The first promise that was not kept.
///
/// # Panics
/// When the store panics.
pub fn run(seed: u64) -> Result<Report, Violation> {
    env::sim::run(seed, |world| async move {
        let mut rng = world.random().fork();
        let plan = Plan::draw(&mut rng);
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        // Numbers of their own, so that the seeds that have found something stay what they were.
        let faults = (Faults::of(seed), fastrand::Rng::with_seed(!seed));
        let mut run = Run { world, rng, plan, faults, ledger, report: Report::default() };
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
    /// Of these the ones that strike between two lives, and their chance; the others are the plan's.
    faults: (Faults, fastrand::Rng),
    /// What was appended; never held over an await.
    ledger: Arc<Mutex<Ledger>>,
    report: Report,
}

impl Run {
    /// One process from its start to its death.
    async fn live_and_die(&mut self) -> Result<(), Violation> {
        let death = death::Plan::draw(&mut self.rng);
        let disk = self.world.disk();
        death.prepare(&disk);
        let faults = self.plan.draw_faults(&mut self.rng);
        faults.iter().for_each(|fault| disk.fail(fault.operation, fault.nth, fault.kind));
        self.report.lives += 1;
        let mut engine = match self.open().await? {
            Ok(engine) => engine,
            Err(_) if disk.is_dead() || !faults.is_empty() => {
                self.strike(&death, None).await;
                return Ok(());
            }
            Err(error) => return Err(not_opened(&error)),
        };
        // Each fault fails one call once; another try then meets none.
        let mut tries_left = faults.len();
        loop {
            match engine.check_recovered().await {
                Err(_) if disk.is_dead() => break,
                Err(_) if tries_left > 0 => tries_left -= 1,
                checked => break checked?,
            }
        }
        let marks = engine.marks();
        if let Some(room) = self.plan.draw_room(&mut self.rng) {
            disk.set_capacity(Some(disk.used_bytes() + room));
        }
        let work = Box::pin(engine.work(self.rng.fork()));
        let ended = self.world.env().tasks.spawn_thread("engine", work);
        tokio::select! {
            biased;
            () = self.world.env().clock.sleep(death.after) => {}
            () = ended => {}
        }
        disk.set_capacity(None);
        // What the store said of itself up to this moment is a promise.
        let said = Promised {
            appended_to: marks.appended_to(),
            durable_to: marks.durable_to(),
            has_failed: marks.failure().is_some(),
        };
        self.strike(&death, Some(said)).await;
        self.ledger.lock().take_violation()
    }

    /// A last life without faults, which must end in order.
    async fn live_in_peace(&mut self) -> Result<(), Violation> {
        self.report.lives += 2;
        let mut engine = self.open().await?.map_err(|error| not_opened(&error))?;
        engine.check_recovered().await?;
        engine.work_in_peace(self.rng.fork()).await?;
        engine.close().await?;
        self.ledger.lock().closed();
        let mut engine = self.open().await?.map_err(|error| not_opened(&error))?;
        engine.check_recovered().await?;
        self.report.acknowledged = self.ledger.lock().acknowledged_ever();
        Ok(())
    }

    /// Opens the store and compares what it has replayed with the ledger.
    async fn open(&mut self) -> Result<Result<Engine, OpenError>, Violation> {
        let mut tally = Tally::default();
        let env = self.world.env();
        let store = match Store::open(&env, &self.plan.options(), &mut tally) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let mut ledger = self.ledger.lock();
        suffix_only::check(&ledger, tally.count, tally.chain)?;
        acknowledged_survives::check(&ledger, tally.count)?;
        self.report.lost += ledger.recovered(tally.count);
        drop(ledger);
        Ok(Ok(Engine::new(&self.world, store, tally, self.ledger.clone(), self.plan)))
    }

    /// Ends the process, and notes what must survive it.
    async fn strike(&mut self, death: &death::Plan, said: Option<Promised>) {
        let died_at = self.world.clock().true_now();
        death.strike(&self.world).await;
        self.report.power_losses += u32::from(death.is_power_loss());
        let (faults, rng) = &mut self.faults;
        let damaged = faults::damage(faults, &self.world, Path::new(DIR), rng);
        damaged.into_iter().for_each(|fault| self.report.struck(fault, 1));
        acknowledged_survives::note_death(&mut self.ledger.lock(), self.plan.flush, death.death, said, died_at);
    }
}

fn not_opened(error: &OpenError) -> Violation {
    Violation::new("the store opens after any death", error.to_string())
}
