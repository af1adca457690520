//! What a seed wants of the messaging scenario.

use std::path::PathBuf;
use std::time::Duration;

use broker::retention::{Hours, Settings};
use broker::timer::Bounds;
use broker::{Flush, Options};

use super::history::Topic;
use crate::faults::{Fault, Faults};

/// The broker's directory.
pub(crate) const DIR: &str = "/gantry/data";
/// One seed in so many has retention.
const RETENTION_ONE_IN: u8 = 3;
/// Spreads seeds, so that the numbers of retention are others than those of the faults (the golden ratio).
const RETENTION: u64 = 0x9e37_79b9_7f4a_7c15;
/// Queues of each topic.
pub(super) const QUEUES: u32 = 2;

/// Spreads seeds for the bounds of the timers.
const TIMERS: u64 = 0xd1b5_4a32_d192_ed03;
/// One seed in so many keeps all delayed messages in memory.
const TIMERS_HELD_ONE_IN: u8 = 4;

/// Spreads seeds for idempotency keys.
const KEYS: u64 = 0xa24b_aed4_963e_e407;
/// One seed in so many has idempotency keys.
const KEYS_ONE_IN: u8 = 3;

/// Drawn by themselves, too.
fn draw_key_window(seed: u64) -> Option<Duration> {
    let mut own = fastrand::Rng::with_seed(seed.wrapping_mul(KEYS));
    (own.u8(..KEYS_ONE_IN) == 0).then(|| Duration::from_millis(own.u64(2_000..30_000)))
}

/// Drawn by themselves, too.
fn draw_timers(seed: u64) -> Bounds {
    let mut own = fastrand::Rng::with_seed(seed.wrapping_mul(TIMERS));
    if own.u8(..TIMERS_HELD_ONE_IN) == 0 {
        return Bounds::default();
    }
    Bounds {
        young_max: own.usize(1..16),
        near_max: own.usize(1..16),
        load_max: own.usize(1..8),
        ahead: Duration::from_millis(own.u64(10..3_000)),
        gone_max: own.usize(4..64),
        ..Bounds::default()
    }
}

/// A seed's settings for all lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) flush: Flush,
    /// Lives that end badly.
    pub(super) lives: u32,
    segment_bytes: u64,
    hot_bytes: usize,
    checkpoint_bytes: u64,
    /// Whether messages are sent in groups too.
    pub(super) has_groups: bool,
    /// How long messages stay, if any go in this seed.
    reserved: Option<Duration>,
    /// So small in most seeds that delayed messages go to files and come back.
    timers: Bounds,
    /// How long idempotency keys are known, if any are sent in this seed.
    pub(crate) key_window: Option<Duration>,
    /// How long topics and groups stay that nobody uses, where messages expire: else no topic becomes empty.
    idle_max: Option<Duration>,
}

impl Plan {
    /// Retention is drawn by itself, so that the other seeds are what they were before there was any. It goes with a clock
    /// that is right: one that jumps makes everything old.
    pub(super) fn draw(seed: u64, faults: &Faults, rng: &mut fastrand::Rng) -> Self {
        let mut own = fastrand::Rng::with_seed(seed.wrapping_mul(RETENTION));
        let is_retaining = own.u8(..RETENTION_ONE_IN) == 0 && !faults.has(Fault::ClockJump);
        let mut plan = Self::draw_keeping(seed, rng);
        if is_retaining {
            plan.segment_bytes = own.u64(8..24) * 1024;
            plan.lives = plan.lives.max(3);
            plan.reserved = Some(Duration::from_millis(own.u64(200..1_200)));
            // Where there are message groups, something unfinished of theirs holds the log most of the time.
            plan.has_groups = own.u8(..4) == 0;
            plan.idle_max = Some(Duration::from_millis(own.u64(50..800)));
        }
        plan
    }

    /// Without retention.
    pub(crate) fn draw_keeping(seed: u64, rng: &mut fastrand::Rng) -> Self {
        Self { timers: draw_timers(seed), key_window: draw_key_window(seed), ..Self::draw_sizes(rng) }
    }

    /// With one checkpoint, at the end, and all timers in memory: what files have is cut at the same places whenever they are made.
    pub(crate) fn with_one_checkpoint(self) -> Self {
        Self { checkpoint_bytes: u64::MAX, timers: Bounds::default(), ..self }
    }

    fn draw_sizes(rng: &mut fastrand::Rng) -> Self {
        Self {
            flush: if rng.bool() { Flush::Sync } else { Flush::Async },
            lives: rng.u32(1..6),
            segment_bytes: rng.u64(64..512) * 1024,
            hot_bytes: rng.usize(1..256) * 1024,
            checkpoint_bytes: rng.u64(8..256) * 1024,
            has_groups: true,
            reserved: None,
            timers: Bounds::default(),
            key_window: None,
            idle_max: None,
        }
    }

    pub(super) fn is_retaining(&self) -> bool {
        self.reserved.is_some()
    }

    pub(super) fn reserved(&self) -> Option<Duration> {
        self.reserved
    }

    /// The topics that this seed uses.
    pub(crate) fn topics(&self) -> &'static [Topic] {
        const OFTEN: &[Topic] = &[Topic::Normal, Topic::Fifo, Topic::Delay, Topic::Transaction];
        if self.idle_max.is_some() { &Topic::ALL } else { OFTEN }
    }

    /// From now on nothing goes.
    pub(super) fn stop_retention(&mut self) {
        self.reserved = None;
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(crate) fn options(&self) -> Options {
        let mut options = Options::local(PathBuf::from(DIR));
        options.flush = self.flush;
        options.segment_bytes = self.segment_bytes;
        options.hot_bytes = self.hot_bytes;
        options.checkpoint_bytes = self.checkpoint_bytes;
        options.timers = self.timers;
        // A topic stays as long as its keys are known.
        options.idempotency.window = self.key_window.or(self.idle_max).unwrap_or(options.idempotency.window);
        options.default_queues = QUEUES;
        options.idle_max = self.idle_max;
        // Often enough that lives of a few seconds see checks, and more checks than lives can lose.
        options.transaction.check_after = Duration::from_secs(1);
        options.transaction.check_interval = Duration::from_secs(2);
        options.transaction.checks_max = 20;
        options.retention = Settings {
            delete_when: Hours::EVERY,
            reserved: self.reserved.unwrap_or(Duration::MAX),
            disk_used_max: 100,
            disk_clean_forcibly: 100,
            disk_warning: 100,
            interval: if self.is_retaining() { Duration::from_millis(100) } else { Duration::from_secs(3_600) },
            ..Settings::default()
        };
        options
    }
}
