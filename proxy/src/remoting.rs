//! The Remoting port: clients of RocketMQ 4.x and 5.x that speak Remoting send and consume through the proxy, so that they need not reach
//! name servers or brokers.
//!
//! Each client's connection has one of its own to each broker that it has to do with (`lines`). Brokers know clients by their connections:
//! so what a client tells them, what it asks and what they ask it goes through as if it had come to them itself, and nothing is kept here
//! that another proxy would need. Bodies are not read but where nothing else names the broker.
//!
//! | module | what |
//! |---|---|
//! | `codes` | what is done with each request, and what is refused |
//! | `target` | which broker a request names |
//! | `route` | where clients are told that brokers are: here |
//! | `lines` | the connections of one client to brokers, and what comes back on them |
//! | `pass` | passing a request on to one broker, the first of several or all |
//!
//! Source: Apache 5.5 `RemotingProtocolServer` and its activities, which serve fewer codes and keep the clients themselves.

mod codes;
mod lines;
mod pass;
mod route;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use ::remoting::{Connection, ConnectionId, Role, Server};
use env::Clock;
use parking_lot::Mutex;
use remoting_proto::{Command, ResponseCode};
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use types::broker::{LookupError, Unavailable};

use crate::cluster::Cluster;
use codes::Way;
use lines::Lines;

/// Where a Remoting port listens.
#[derive(Debug)]
pub struct Listeners {
    /// For clients that name a broker in their requests, and for routes.
    pub all: TcpListener,
    /// One for each of these brokers, by name: what comes there and names no broker is for it. Clients before 5.0 and those that are
    /// not Java's name none.
    pub brokers: Vec<(String, TcpListener)>,
}

/// The port of a cluster's proxy.
struct Door {
    cluster: Cluster,
    clock: Arc<dyn Clock>,
    /// Requests of one client that may be under way: a client's heartbeats are not to be refused because its pulls wait.
    in_flight_max: usize,
    /// The host that routes tell clients; without one it is the address to which the client came.
    host: Option<String>,
    /// The port that is no broker's.
    port: u16,
    /// Brokers with a port of their own.
    brokers: Vec<(Arc<str>, u16)>,
    /// Held for a look or a change of one.
    clients: Mutex<BTreeMap<ConnectionId, Arc<Lines>>>,
}

/// Why a request is not passed on, or has no answer.
#[derive(Debug)]
struct Refusal {
    code: ResponseCode,
    remark: String,
}

/// Serves clients until `shutdown`; then reads nothing more, lets nobody wait any longer, answers what was read and returns. Routes tell
/// `host`, or else the address to which the client came.
///
/// # Errors
/// A listener has no address.
pub async fn serve(
    cluster: Cluster,
    host: Option<String>,
    listeners: Listeners,
    options: ::remoting::Options,
    tls: Option<Arc<ServerConfig>>,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let Listeners { all, brokers } = listeners;
    let port = |(name, listener): &(String, TcpListener)| Ok((name.as_str().into(), listener.local_addr()?.port()));
    let door = Door {
        cluster,
        clock: clock.clone(),
        in_flight_max: options.in_flight_max.saturating_add(options.waiting_max),
        host,
        port: all.local_addr()?.port(),
        brokers: brokers.iter().map(port).collect::<io::Result<_>>()?,
        clients: Mutex::default(),
    };
    let server = Server::new(Arc::new(door), options, tls, clock);
    let server = brokers.into_iter().fold(server, |server, (_, listener)| server.also_on(listener));
    server.serve(all, shutdown).await;
    Ok(())
}

impl Role for Door {
    fn connect(&self, connection: &Arc<Connection>) {
        let lines = Arc::new(Lines::new(connection.clone(), self.clock.clone(), self.in_flight_max));
        self.clients.lock().insert(connection.id(), lines);
    }

    fn may_wait(&self, request: &Command) -> bool {
        codes::may_wait(request.request_code())
    }

    async fn serve(&self, connection: &Connection, request: Command) -> Command {
        let asked = request.answer(ResponseCode::Success);
        let code = request.code;
        let answer = self.answer(connection, request).await;
        answer.unwrap_or_else(|Refusal { code: refused, remark }| {
            tracing::debug!(code, remote = %connection.remote(), %remark, "request refused");
            Command { code: refused.number(), remark: Some(remark), ..asked }
        })
    }

    /// Its connections to brokers end with it, by which they know that it is gone.
    fn disconnect(&self, connection: &Connection) {
        self.clients.lock().remove(&connection.id());
    }
}

impl Door {
    async fn answer(&self, connection: &Connection, request: Command) -> Result<Command, Refusal> {
        let lines = self.clients.lock().get(&connection.id()).cloned().ok_or_else(Refusal::gone)?;
        let opaque = request.opaque;
        let answer = match codes::way(request.request_code()) {
            Way::Route => self.route(connection, request).await,
            Way::Named => self.pass_to_named(&lines, request).await,
            Way::Any => self.pass_to_any(&lines, request).await,
            Way::OfTopic => self.pass_to_topic(&lines, request).await,
            Way::Members => self.members(&lines, request).await,
            Way::All => self.beat(&lines, request).await,
            Way::Known => self.pass_to_known(&lines, request).await,
            Way::Refused => Err(Refusal::new(ResponseCode::RequestCodeNotSupported, request.not_supported())),
        };
        // Brokers answer under numbers of their connections.
        answer.map(|answer| Command { opaque, ..answer })
    }

    /// The broker whose own port a client came to.
    fn broker_of(&self, connection: &Connection) -> Option<Arc<str>> {
        let came_to = connection.local().port();
        self.brokers.iter().find(|(_, port)| *port == came_to).map(|(name, _)| name.clone())
    }
}

impl Refusal {
    fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    /// Nobody is to wait any longer.
    fn gone() -> Self {
        Self::new(ResponseCode::SystemBusy, "the connection ends")
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        let code = match error {
            Unavailable::Busy { .. } => ResponseCode::SystemBusy,
            _ => ResponseCode::ServiceNotAvailable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<LookupError> for Refusal {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Unavailable(error) => error.into(),
            error => Self::new(ResponseCode::SystemError, error.to_string()),
        }
    }
}

/// Clients get the words.
macro_rules! system_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::new(ResponseCode::SystemError, error.to_string())
            }
        })*
    };
}
system_errors!(remoting_proto::FieldError, remoting_proto::JsonError);
