//! What a seed wants of the messaging scenario.

use std::path::PathBuf;
use std::time::Duration;

use broker::{Flush, Options};

/// The broker's directory.
pub(super) const DIR: &str = "/gantry/data";
/// Queues of each topic.
pub(super) const QUEUES: u32 = 2;

/// A seed's settings for all lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) flush: Flush,
    /// Lives that end badly.
    pub(super) lives: u32,
    segment_bytes: u64,
    hot_bytes: usize,
    checkpoint_bytes: u64,
}

impl Plan {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        Self {
            flush: if rng.bool() { Flush::Sync } else { Flush::Async },
            lives: rng.u32(1..6),
            segment_bytes: rng.u64(64..512) * 1024,
            hot_bytes: rng.usize(1..256) * 1024,
            checkpoint_bytes: rng.u64(8..256) * 1024,
        }
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(super) fn options(&self) -> Options {
        let mut options = Options::local(PathBuf::from(DIR));
        options.flush = self.flush;
        options.segment_bytes = self.segment_bytes;
        options.hot_bytes = self.hot_bytes;
        options.checkpoint_bytes = self.checkpoint_bytes;
        options.default_queues = QUEUES;
        // Often enough that lives of a few seconds see checks, and more checks than lives can lose.
        options.transaction.check_after = Duration::from_secs(1);
        options.transaction.check_interval = Duration::from_secs(2);
        options.transaction.checks_max = 20;
        options
    }
}
