//! Sockets for Remoting: server and client, and the certificates that all front doors show.
//!
//! The protocol itself is `remoting_proto`, without I/O. What a role answers is its own matter: it gives each connection a
//! tower service of requests ([`Role`]).

mod back_off;
pub mod client;
mod connection;
mod in_flight;
mod server;
pub mod tls;

pub use client::Client;
pub use connection::{Connection, ConnectionId};
pub use server::{Options, Role, Server};
