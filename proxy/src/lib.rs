//! The gRPC front door: the RocketMQ 5 API over `trait Broker`; and the Remoting port of a cluster's proxy.
//!
//! Stateless: connections, sessions and settings are kept to serve them, and nothing depends on them; any proxy may
//! die at any moment. Never sees `store` or `broker`.
//!
//! | module | what |
//! |---|---|
//! | [`server`], [`listener`], [`tls`] | sockets, TLS detection, HTTP/2, drain |
//! | `web`, [`origins`] | gRPC-web, and whose pages may call |
//! | `grpc` | one file a call: decode, validate, map |
//! | [`messaging`] | what all front doors share: queue choice, long polling, deliveries, transactions, back-off |
//! | [`sessions`], [`clients`], [`checks`] | who is connected, and commands to them |
//! | [`cluster`] | `trait Broker` over Remoting, in front of any number of brokers |
//! | [`remoting`] | requests of Remoting clients, passed on to the brokers of a cluster |
//! | [`validate`], `convert`, [`status`] | the protocol's limits, messages and result codes |

mod calls;
pub mod checks;
pub mod clients;
mod clock;
pub mod cluster;
mod convert;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod grpc;
mod http2;
pub mod listener;
pub mod messaging;
pub mod options;
pub mod origins;
pub mod remoting;
pub mod server;
pub mod sessions;
pub mod status;
mod transaction_checks;
pub mod validate;
mod web;

pub use ::grpc::v2::Code;
pub use messaging::Messaging;
pub use options::Options;
pub use origins::Origins;
pub use server::Server;
pub use validate::Limits;
