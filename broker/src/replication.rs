//! A log on several machines: a master sends its log to slaves, which have the same bytes at the same positions.
//!
//! `wire` is what is said, `intake` makes whole records of what a slave hears, `slaves` is what a master knows of its slaves, and under
//! controllers `in_sync` whom it waits for and [`epochs`] where two logs have parted: plain values. [`History`] keeps the epochs in a file.
//! [`Master`] and [`Slave`] are the connections around them. [`join`] is a slave that begins when its master's front has gone, [`mirror`] one
//! of an Apache master, and [`mend`] gets a damaged segment again, which [`damage`] notes and [`scrub`] looks for; all keep the log as bytes
//! (`log`), the first and the last have `part` in common. `mark` is what a directory says of its log. What is promised is told by
//! `docs/replication.md`.

pub mod damage;
pub mod epochs;
mod history;
mod in_sync;
pub(crate) mod intake;
pub mod join;
mod log;
pub(crate) mod mark;
mod master;
pub mod mend;
pub mod mirror;
mod part;
pub mod scrub;
mod slave;
pub(crate) mod slaves;
pub(crate) mod wire;

pub use history::History;
pub use in_sync::Change;
pub use intake::Error as IntakeError;
pub use master::Master;
pub use slave::{Ended, Refused, Slave};
pub use wire::Error as WireError;

pub use crate::engine::ReplicateError;
