//! What an operator may set of the gRPC front door.

use std::time::Duration;

use crate::origins::Origins;
use crate::validate::Limits;
use remoting::Network;
use remoting::tls::Identity;

/// Settings of a [`crate::Server`].
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Limits on what clients may ask for.
    pub limits: Limits,
    /// Limits on connections.
    pub connections: ConnectionLimits,
    /// The address that routes tell clients, whatever address they dialled. Needed only where that address does
    /// not lead back to a proxy.
    pub advertise: Option<Advertise>,
    /// The certificate shown to clients that speak TLS. Without one only plaintext is served.
    pub tls: Option<Identity>,
    /// Whose web pages may call, in gRPC-web; with none it is not served.
    pub web: Origins,
    /// Whose connections may begin with a PROXY header, which names the client that they are for.
    pub balancers: Vec<Network>,
}

/// A host and port that clients can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertise {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Limits on connections, each a bound on memory.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once; further ones are closed at once.
    pub connections_max: usize,
    /// Calls at once on one connection; HTTP/2 makes clients wait for a free place.
    pub streams_max: u32,
    /// Largest message of a client, in bytes. Source: Apache `grpcMaxInboundMessageSize`, 32 bodies of 4 MiB and 2 MiB.
    pub inbound_message_bytes_max: usize,
    /// Bytes of requests that have begun and not ended, of all connections together.
    pub inbound_bytes_max: usize,
    /// Bytes of messages popped for one connection that its client has not taken yet.
    pub undelivered_bytes_max: usize,
    /// How long a client may take to say what it speaks: TLS hello and handshake, HTTP/2 preface.
    pub handshake_timeout: Duration,
    /// How often a silent client is asked whether it lives.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How long calls may go on after shutdown began.
    pub drain_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            streams_max: 512,
            inbound_message_bytes_max: 130 * 1024 * 1024,
            inbound_bytes_max: 512 * 1024 * 1024,
            undelivered_bytes_max: 64 * 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
