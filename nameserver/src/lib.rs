//! The name server: which brokers live, which topics they have, and what clients are told of it.
//!
//! | module | what |
//! |---|---|
//! | [`registry`], [`kv`] | the routes and the key-value configuration: plain values, told the time, no I/O |
//! | [`settings`] | what an operator may change while it runs |
//! | `notifier` | what brokers are told of each other |
//! | `requests` | the request codes, one function each, and the one `match` over them |
//! | [`server`] | the thin shell: connections and the clock |
//!
//! Any number of them run side by side without knowing of each other: brokers register with all.

pub mod kv;
mod notifier;
pub mod registry;
mod requests;
pub mod server;
pub mod settings;

pub use server::NameServer;
pub use settings::Settings;
