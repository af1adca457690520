//! What a seed wants of the log scenario.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use env::sim::Operation;
use store::{Flush, Options, SEGMENT_BYTES_MIN};

/// Where the store's records say they are.
pub(super) const HOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10911);
/// The store's directory.
pub(super) const DIR: &str = "/gantry/data";
const KIB: u64 = 1024;
/// Calls of one kind that a life makes, about; a fault comes within so many.
const CALLS_MAX: u32 = 40;
/// Most faults of a life.
pub(super) const FAULTS_MAX: usize = 2;

/// A seed's settings for all lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) flush: Flush,
    /// Lives that end badly.
    pub(super) lives: u32,
    /// Largest body, in bytes.
    pub(super) body_bytes_max: usize,
    /// Whether all records have one length and one queue: what is left of an older life of the log then fits behind
    /// what a newer one writes.
    pub(super) is_uniform: bool,
    /// Most records of a round.
    pub(super) round_max: usize,
    segment_bytes: u64,
    hot_bytes: usize,
    checkpoint_bytes: u64,
    has_faults: bool,
}

/// An error of one call.
pub(super) struct Fault {
    pub(super) operation: Operation,
    pub(super) nth: u32,
    pub(super) kind: ErrorKind,
}

impl Plan {
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let body_bytes_max: usize = *rng.choice(&[64, 2048, 2048, 100 * 1024, 1024 * 1024]).expect("not empty");
        Self {
            flush: if rng.bool() { Flush::Sync } else { Flush::Async },
            lives: rng.u32(1..6),
            body_bytes_max,
            is_uniform: rng.u8(..4) == 0,
            round_max: if body_bytes_max > 2048 { 8 } else { 40 },
            segment_bytes: SEGMENT_BYTES_MIN.max((body_bytes_max as u64 + KIB) * rng.u64(2..30)),
            hot_bytes: rng.usize(1..512) * 1024,
            checkpoint_bytes: rng.u64(8..512) * KIB,
            has_faults: rng.u8(..4) == 0,
        }
    }

    pub(super) fn options(&self) -> Options {
        Options {
            segment_bytes: self.segment_bytes,
            flush: self.flush,
            hot_bytes: self.hot_bytes,
            checkpoint_bytes: self.checkpoint_bytes,
            ..Options::local(PathBuf::from(DIR))
        }
    }

    /// The errors of a life.
    pub(super) fn draw_faults(&self, rng: &mut fastrand::Rng) -> Vec<Fault> {
        use Operation::{Allocate, Open, Rename, Sync, SyncDir, Write};
        let count = if self.has_faults { rng.usize(..=FAULTS_MAX) } else { 0 };
        let mut draw = || Fault {
            operation: *rng.choice(&[Allocate, Open, Rename, Sync, SyncDir, Write]).expect("not empty"),
            nth: rng.u32(..CALLS_MAX),
            kind: *rng.choice(&[ErrorKind::Other, ErrorKind::StorageFull]).expect("not empty"),
        };
        (0..count).map(|_| draw()).collect()
    }

    /// How much room a life's disk has left, when not enough.
    pub(super) fn draw_room(&self, rng: &mut fastrand::Rng) -> Option<u64> {
        (self.has_faults && rng.bool()).then(|| rng.u64(..8 * KIB) * KIB)
    }
}
