//! Sockets for Remoting: server and client, and how all front doors accept connections and show certificates.
//!
//! The protocol itself is `remoting_proto`, without I/O. What a role answers is its own matter ([`Role`]).

pub mod accept;
mod back_off;
pub mod client;
mod connection;
mod in_flight;
mod network;
mod notice;
pub mod proxy_protocol;
mod server;
pub mod tls;
mod trust;

pub use client::{Client, Greeting, Question};
pub use connection::{ASKED_MAX, CallError, Connection, ConnectionId, WAITING_MAX};
pub use network::Network;
pub use notice::{Notice, Notices};
pub use server::{Options, Role, Server};
pub use trust::Trust;
