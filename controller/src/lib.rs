//! The controller: which broker of a name is its master. It gives brokers their ids, keeps which of them are in sync, and elects another
//! master when one is gone.
//!
//! | module | what |
//! |---|---|
//! | [`state`] | what is decided, a deterministic value: the same proposals in the same order lead to the same state |
//! | [`liveness`] | which brokers live, a plain value that is told the time; each controller's own |
//! | `events` | what operators are told of it in the log |
//! | `raft` | agreement of several controllers on the order of proposals: openraft, its log and snapshots on redb, its network over Remoting |
//! | [`peers`] | which controllers there are |
//! | [`settings`] | what an operator may change while it runs |
//! | `requests` | the request codes, one function each, and the one `match` over them |
//! | [`server`] | the shell: connections, the clock, elections |

mod events;
pub mod liveness;
pub mod peers;
mod raft;
mod requests;
pub mod server;
pub mod settings;
pub mod state;

pub use peers::Peers;
pub use server::Controller;
pub use settings::Settings;
