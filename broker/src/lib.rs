//! The broker in process: `trait Broker` and `trait Admin` over the store.
//!
//! [`LocalBroker`] is the handle; behind it one engine thread owns the store and the machines (`engine`). The machines
//! are plain values: [`catalog`], [`pop`], [`timer`], [`transaction`], [`offset`], [`idempotency`]. [`server`] is a front of its own: the
//! Remoting port of `gantry broker`, with the request codes (`requests`), the clients and what name servers are told; [`membership`] is what
//! such a broker has to do with controllers. See `docs/architecture.md`.

mod acting;
pub mod backup;
pub mod catalog;
mod clients;
mod codec;
mod command;
mod copy;
mod counters;
mod directory;
mod effect;
mod engine;
mod forbidden;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod handle;
pub mod idempotency;
pub mod journal;
mod machines;
pub mod membership;
pub mod offset;
pub mod options;
pub mod pop;
mod prepare;
mod put_times;
mod queue_locks;
mod registration;
pub mod replication;
mod request_modes;
mod requests;
mod resets;
pub mod retention;
mod routes;
pub mod server;
mod settings;
mod shared;
mod statistics;
pub mod takeover;
pub mod timer;
pub mod transaction;

pub use counters::Status;
pub use handle::{LocalBroker, StartError};
pub use machines::check_snapshot;
pub use membership::Membership;
pub use options::{Copies, Options, Role};
pub use prepare::SHARED_BYTES_MAX;
pub use server::BrokerServer;
pub use store::Flush;
