//! How and when a process dies.

use std::time::Duration;

use env::sim::{SimDisk, World};

/// How a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// SIGKILL: what was written stays.
    Kill,
    /// The machine goes off: of what was not synced any part is lost.
    PowerLoss,
}

/// How and when, as the seed wants it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How.
    pub death: Death,
    /// After so much time at the latest.
    pub after: Duration,
    /// In the middle of this change of the disk, if it comes earlier.
    pub at_change: Option<u32>,
}

/// Longest life.
const LIFE_MS_MAX: u64 = 4_000;
/// A death in the middle of a change comes within so many of them; the first ones belong to the start-up.
const CHANGES_MAX: u32 = 400;

impl Plan {
    /// Draws a death.
    pub fn draw(rng: &mut fastrand::Rng) -> Self {
        let changes_max = if rng.bool() { CHANGES_MAX } else { CHANGES_MAX / 10 };
        Self {
            death: if rng.bool() { Death::Kill } else { Death::PowerLoss },
            after: Duration::from_millis(rng.u64(..LIFE_MS_MAX)),
            at_change: rng.bool().then(|| rng.u32(..changes_max)),
        }
    }

    /// Tells the disk when the current process dies in the middle of a change.
    pub fn prepare(&self, disk: &SimDisk) {
        if let Some(change) = self.at_change {
            disk.die_at(change);
        }
    }

    /// Whether the machine dies with it.
    #[must_use]
    pub fn is_power_loss(&self) -> bool {
        self.death == Death::PowerLoss
    }

    /// Ends the current process this way, now.
    pub async fn strike(&self, world: &World) {
        match self.death {
            Death::Kill => world.kill().await,
            Death::PowerLoss => world.lose_power().await,
        }
    }
}
