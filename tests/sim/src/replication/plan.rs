//! What a seed wants of the replication scenario.

use std::time::Duration;

use broker::{Copies, Options, Role};

use crate::messaging::plan::Plan as Common;

/// One seed in so many has producers alone, whose messages all have one length, until the end.
const UNIFORM_ONE_IN: u8 = 4;
/// One seed in so many has slaves that have followed from the first record on in the end, and compares their state.
const COMPARED_ONE_IN: u8 = 4;
/// One seed in so many has a network that is slower than a broker waits for it.
const SLOW_ONE_IN: u8 = 8;
/// Farthest that a machine's clock is wrong.
const SKEW_MS_MAX: i64 = 200;

/// A seed's settings for all terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) common: Common,
    pub(super) copies: Copies,
    pub(super) machines: usize,
    /// Masters' lives that end badly.
    pub(super) terms: u32,
    pub(super) is_uniform: bool,
    pub(super) is_compared: bool,
    pub(super) late_ms_max: u64,
}

impl Plan {
    pub(super) fn draw(seed: u64, rng: &mut fastrand::Rng) -> Self {
        let common = Common::draw_keeping(seed, rng);
        let is_compared = rng.u8(..COMPARED_ONE_IN) == 0;
        let common = if is_compared { common.with_one_checkpoint() } else { common };
        let count = if rng.bool() { 2 } else { Copies::ONE.count };
        let copies = Copies { count, timeout: Duration::from_millis(rng.u64(200..3_000)), ..Copies::ONE };
        let machines = rng.usize(2..4);
        Self {
            common,
            copies: if count > 1 && machines > 2 { of_three(copies, rng) } else { copies },
            machines,
            terms: rng.u32(1..5),
            is_uniform: rng.u8(..UNIFORM_ONE_IN) == 0,
            is_compared,
            late_ms_max: if rng.u8(..SLOW_ONE_IN) == 0 { rng.u64(50..400) } else { rng.u64(..5) },
        }
    }

    /// Whether slaves are waited for.
    pub(super) fn is_sync(&self) -> bool {
        self.copies.count > 1
    }

    /// How many brokers at least have what a sender was told is replicated.
    pub(super) fn copies_kept(&self) -> usize {
        if self.copies.are_few_enough { self.copies.count_min } else { self.copies.count }
    }

    pub(super) fn options(&self, role: Role) -> Options {
        let copies = match role {
            Role::Master => self.copies,
            Role::Slave => Copies::ONE,
        };
        Options { role, copies, ..self.common.options() }
    }
}

/// Of a master with two slaves: one or both are waited for, and without any it may take nothing.
fn of_three(copies: Copies, rng: &mut fastrand::Rng) -> Copies {
    let (count, count_min) = (rng.usize(2..=3), rng.usize(1..=2));
    Copies { count, count_min, are_few_enough: count_min == 2 && rng.bool(), ..copies }
}

/// How far a machine's clock is wrong.
pub(crate) fn draw_skew_ms(rng: &mut fastrand::Rng) -> i64 {
    rng.i64(-SKEW_MS_MAX..SKEW_MS_MAX)
}
