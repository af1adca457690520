//! The HTTP front: health, readiness, metrics, version, and the admin API behind `gantry admin`.
//!
//! The REST bridge to topics joins here as routes of the same router. It sees `trait Admin` only, so it serves a
//! broker in this process and one behind Remoting alike.

mod admin;
pub mod problem;
mod readiness;
mod router;
pub mod server;
pub mod views;

pub use readiness::Readiness;
pub use router::{Gateway, Probes, Version, probes, router};
