//! The seams to the outside: clock, disk, randomness and background tasks, each real or simulated.
//!
//! The only crate that names the operating system. Everything from `trait Broker` downwards gets an [`Env`] and
//! reaches the world through it, so that the same code runs on a real machine and, under a seed, in a simulation.

mod blocking;
pub mod clock;
pub mod disk;
pub mod kept;
mod process;
pub mod random;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod tasks;

use std::sync::Arc;

pub use blocking::blocking;
pub use clock::Clock;
pub use disk::{Disk, File};
pub use kept::Kept;
pub use process::again;
pub use random::Random;
pub use tasks::Tasks;

/// Target of the log lines that tell operators of brokers' roles, each with the fields `event`, `broker` (the name) and `reason`. Which there
/// are is told by `docs/operations.md`.
pub const ROLES: &str = "roles";

/// The outside world, as one value that is passed down.
#[derive(Clone)]
pub struct Env {
    /// What time it is, and waiting.
    pub clock: Arc<dyn Clock>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Numbers nobody can guess, or a seed's.
    pub random: Arc<dyn Random>,
    /// Loops that run beside the caller.
    pub tasks: Arc<dyn Tasks>,
}

impl Env {
    /// The machine that this process runs on.
    #[must_use]
    pub fn real() -> Self {
        Self {
            clock: Arc::new(clock::SystemClock),
            disk: Arc::new(disk::os::OsDisk),
            random: Arc::new(random::OsRandom::default()),
            tasks: Arc::new(tasks::OsTasks),
        }
    }
}
