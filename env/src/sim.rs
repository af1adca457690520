//! A simulated world: one thread, a clock that jumps to the next timer, a disk in memory, all under one seed; and more of them in one run.
//!
//! What runs in it must not bring randomness of its own: no randomly seeded map that is iterated, `select!` only
//! with `biased`, no `tokio::sync::watch` with several receivers, no threads. Then the same seed gives the same run.

mod clock;
mod disk;
mod random;
mod tasks;

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime;

pub use clock::SimClock;
pub use disk::{Failure, Operation, SimDisk};
pub use random::SimRandom;
pub use tasks::SimTasks;

use crate::Env;

/// Simulated time after which a run counts as hung: nobody waits so long for anything but an event that never comes.
pub const RUN_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A machine, and the process that runs on it.
pub struct World {
    clock: Arc<SimClock>,
    random: Arc<SimRandom>,
    tasks: Arc<SimTasks>,
    /// The disk as the current process sees it; held only to copy or replace the handle.
    disk: Mutex<SimDisk>,
}

impl World {
    /// The world as the current process sees it. After [`World::lose_power`] and [`World::kill`] its files and disk
    /// fail for ever; ask again for the next process.
    #[must_use]
    pub fn env(&self) -> Env {
        Env {
            clock: self.clock.clone(),
            disk: Arc::new(self.disk()),
            random: self.random.clone(),
            tasks: self.tasks.clone(),
        }
    }

    /// The disk, to inject faults and to compare.
    #[must_use]
    pub fn disk(&self) -> SimDisk {
        self.disk.lock().clone()
    }

    /// The clock, to set it wrong.
    #[must_use]
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }

    /// The seed's numbers, for decisions of the test itself.
    #[must_use]
    pub fn random(&self) -> &SimRandom {
        &self.random
    }

    /// Another machine of the same run: time passes there as here, and all else is its own.
    #[must_use]
    pub fn another(&self) -> Self {
        let mut seeds = self.random.fork();
        Self {
            clock: Arc::new(self.clock.another()),
            random: Arc::new(SimRandom::new(seeds.u64(..))),
            tasks: Arc::new(self.tasks.another(seeds.u64(..))),
            disk: Mutex::new(SimDisk::new(seeds.u64(..))),
        }
    }

    /// Nothing of the process runs for so long, as between SIGSTOP and SIGCONT.
    pub fn stall(&self, duration: Duration) {
        self.tasks.stall(duration);
    }

    /// Ends the process and the machine: its tasks stop where they are, and of what was not synced any part is lost.
    pub async fn lose_power(&self) {
        self.replace_disk(SimDisk::crash);
        self.tasks.stop().await;
    }

    /// Ends the process as SIGKILL does: its tasks stop where they are, and all that was written stays.
    pub async fn kill(&self) {
        self.replace_disk(SimDisk::kill);
        self.tasks.stop().await;
    }

    fn replace_disk(&self, next: impl FnOnce(&SimDisk) -> SimDisk) {
        let mut disk = self.disk.lock();
        *disk = next(&disk);
    }
}

/// Runs `main` in a world of its own; the same seed gives the same run.
///
/// # Panics
/// When `main` or a task of [`World::env`] panics, and when `main` is not done after [`RUN_TIME_MAX`] of simulated time,
/// which means that it waits for an event that never comes.
pub fn run<M, F>(seed: u64, main: M) -> F::Output
where
    M: FnOnce(World) -> F,
    F: Future,
{
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without network needs nothing that could be missing");
    runtime.block_on(async {
        // Each part has numbers of its own, so that one more draw in one of them leaves the others as they were.
        let mut seeds = fastrand::Rng::with_seed(seed);
        let (tasks, mut panics) = SimTasks::new(seeds.u64(..));
        let world = World {
            clock: Arc::new(SimClock::new()),
            random: Arc::new(SimRandom::new(seeds.u64(..))),
            tasks: Arc::new(tasks),
            disk: Mutex::new(SimDisk::new(seeds.u64(..))),
        };
        let done = tokio::time::timeout(RUN_TIME_MAX, main(world));
        tokio::select! {
            biased;
            Some(panic) = panics.recv() => resume_unwind(panic),
            done = done => done.expect("the run hangs: all wait and no timer is set"),
        }
    })
}

#[cfg(test)]
mod tests;
