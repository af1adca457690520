//! The promises, one a file. Each is a function that compares what is found with what must be.

pub mod acked_stays_acked;
pub mod acknowledged_survives;
pub mod nothing_lost;
pub mod offsets_follow;
pub mod offsets_stay;
pub mod one_outcome;
pub mod order;
pub mod reads_agree;
pub mod suffix_only;
pub mod timers;
pub mod transactions;

use std::time::Duration;

/// With async flush a power loss takes nothing older than this: half a second between two flushes, and what a flush and a late
/// thread take. Source: `docs/durability.md`.
pub const ASYNC_WINDOW: Duration = Duration::from_millis(700);
