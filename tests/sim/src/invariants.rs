//! The promises, one a file. Each is a function that compares what is found with what must be.

pub mod acked_stays_acked;
pub mod acknowledged_survives;
pub mod alive_stays;
pub mod attempts;
pub mod checkpoints_behind;
pub mod confirmed_stays;
pub mod confirmed_survives;
pub mod derived_agrees;
pub mod failure_is_final;
pub mod fenced;
pub mod marks_rise;
pub mod no_copy_is_ahead;
pub mod nothing_lost;
pub mod offsets_follow;
pub mod offsets_stay;
pub mod one_log;
pub mod one_master;
pub mod one_outcome;
pub mod order;
pub mod reads_agree;
pub mod recall;
pub mod shown_once_visible;
pub mod state_is_the_logs;
pub mod stays_in_time;
pub mod stored_once;
pub mod suffix_only;
pub mod timers;
pub mod transactions;
pub mod visibility;

use std::time::Duration;

/// With async flush a power loss takes nothing older than this: half a second between two flushes, and what a flush and a late
/// thread take. Source: `docs/durability.md`.
pub const ASYNC_WINDOW: Duration = Duration::from_millis(700);

/// A kill takes no lease older than this: a round of the engine, which may be late and wait for a new segment. Source: as
/// above.
pub const LEASE_WINDOW: Duration = Duration::from_millis(150);
