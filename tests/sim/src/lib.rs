//! Simulation of power loss, kills and other faults: the store, and the whole broker in process, on a simulated disk and clock.
//!
//! A *scenario* lives several lives on one disk: it starts, works, dies at a random moment, and the next life looks at what
//! is left. In between its disk, its clock and its files go wrong in the ways that the seed has ([`faults`]). Every decision
//! comes from the seed, so a failing seed replays exactly: `cargo run -p sim --release -- --seed N`.
//! [`log`] drives the store alone and knows each byte; [`messaging`] drives `trait Broker` and knows what clients saw;
//! [`replication`] does the same with a master and its slaves, and [`controller`] with brokers whose controllers say which is the master.
//! The promises themselves stand in [`invariants`], one a file; in words: `docs/durability.md`.

mod agenda;
pub mod controller;
pub mod death;
pub mod faults;
pub mod invariants;
pub mod log;
pub mod messaging;
pub mod replication;
pub mod report;

pub use report::{Report, Scenario, Violation};
