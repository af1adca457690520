//! Simulated randomness: a seed's numbers.

use parking_lot::Mutex;

use crate::random::Random;

/// The numbers of a seed, always the same.
pub struct SimRandom {
    /// Held for one draw.
    rng: Mutex<fastrand::Rng>,
}

impl SimRandom {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// A generator of its own for one part of a test; the next one differs.
    #[must_use]
    pub fn fork(&self) -> fastrand::Rng {
        self.rng.lock().fork()
    }
}

impl Random for SimRandom {
    fn next(&self) -> u64 {
        self.rng.lock().u64(..)
    }
}
