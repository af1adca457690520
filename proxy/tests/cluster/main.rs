//! `proxy::cluster` over real sockets: a name server and brokers of ours, each on a port of its own.

#![allow(clippy::disallowed_methods, reason = "sockets and threads of the real runtime, above the seams of env")]

mod faults;
mod hand;
mod keys;
mod prolonged;
mod remoting_port;
mod shared;
mod support;
mod transactions;
mod waiting;
