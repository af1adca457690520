//! What a seed wants of the scenario.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use broker::{Copies, Flush};

use crate::messaging::plan::Plan as Common;

/// One seed in so many waits for no slave.
const ALONE_ONE_IN: u8 = 3;
/// One seed in so many has producers alone, whose messages all have one length, until the end.
const UNIFORM_ONE_IN: u8 = 4;
/// One seed in so many has a slow network.
const SLOW_ONE_IN: u8 = 8;
/// Where a broker answers.
const PORT: u16 = 10911;

/// A seed's settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) common: Common,
    pub(super) copies: Copies,
    pub(super) machines: usize,
    /// How long there are faults.
    pub(super) faulty: Duration,
    pub(super) is_uniform: bool,
    pub(super) late_ms_max: u64,
    /// How often the controllers look for masters that are silent.
    pub(super) scan: Duration,
}

impl Plan {
    pub(super) fn draw(seed: u64, rng: &mut fastrand::Rng) -> Self {
        let mut common = Common::draw_keeping(seed, rng);
        // A master may be paused for longer than keys are known.
        common.key_window = None;
        let machines = if rng.bool() { 3 } else { 5 };
        let count = if rng.u8(..ALONE_ONE_IN) == 0 { Copies::ONE.count } else { rng.usize(2..=machines / 2 + 1) };
        Self {
            common,
            copies: Copies { count, timeout: Duration::from_millis(rng.u64(200..3_000)), ..Copies::ONE },
            machines,
            faulty: Duration::from_secs(rng.u64(20..60)),
            is_uniform: rng.u8(..UNIFORM_ONE_IN) == 0,
            late_ms_max: if rng.u8(..SLOW_ONE_IN) == 0 { rng.u64(50..300) } else { rng.u64(..5) },
            scan: Duration::from_millis(rng.u64(100..5_000)),
        }
    }

    /// Whether all in sync are waited for: then nothing that was acknowledged may be lost.
    pub(super) fn is_sync(&self) -> bool {
        self.copies.count > 1
    }

    /// Whether power losses are among the faults. Without sync flush a broker that is in sync may lose what it had said that it has.
    pub(super) fn loses_power(&self) -> bool {
        self.common.flush == Flush::Sync
    }
}

/// Where a machine's broker answers.
pub(super) fn address_of(machine: usize) -> SocketAddr {
    let host = u8::try_from(machine + 1).expect("few machines");
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, host), PORT))
}

/// The machine at an address.
pub(super) fn machine_at(address: &str) -> usize {
    let address: SocketAddr = address.parse().expect("the controllers say what they were told");
    match address.ip() {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        IpAddr::V6(_) => unreachable!("machines have addresses of the other kind"),
    }
}
