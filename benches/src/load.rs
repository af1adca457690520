//! The load generator: what clients do, in this process, over real connections.

mod caller;
mod clients;
mod closed;
mod fill;
mod gauge;
mod http;
mod paced;
mod publish;
mod receive;
mod remoting;
mod send;
mod slope;
mod streams;

pub(crate) use caller::{Caller, resource};
pub(crate) use clients::memory_of_clients;
pub(crate) use fill::{fill, fill_and_kill, fill_by_remoting};
pub(crate) use gauge::Window;
pub(crate) use http::{HTTP_BATCH, make_topic_by_http, receive_by_http, send_by_http};
pub(crate) use paced::{NotHeld, paced, paced_by_remoting};
pub(crate) use publish::publish;
pub(crate) use receive::{Backlog, receive};
pub(crate) use remoting::{ha_status, make_topic, send_by_remoting};
pub(crate) use send::{body, send};
pub(crate) use streams::memory_of_streams;

/// Connections. Source: issue 3.
const CONNECTIONS: usize = 4;
/// Requests in flight on each. Source: issue 3.
const IN_FLIGHT: usize = 32;
/// Bytes of a body. Source: issue 3.
const BODY_BYTES: usize = 1024;
/// The topic of all messages, made before where a server makes none.
pub(crate) const TOPIC: &str = "bench";
/// The group that receives them.
pub(crate) const GROUP: &str = "bench-group";
/// A group whose clients wait.
pub(crate) const WAITING_GROUP: &str = "bench-waiting";
/// Most messages of one receive. Source: issue 3.
pub(crate) const RECEIVE_BATCH: i32 = 32;
