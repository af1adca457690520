//! The HTTP front: messages over HTTP, health, readiness, metrics, version, the admin API behind `gantry admin`, and two pages for people.
//!
//! Messages go through `proxy::messaging`, the service that the gRPC front door is on too; topics and groups through
//! `trait Admin`. So it serves a broker in this process and one behind Remoting alike.

mod admin;
mod cors;
mod extract;
mod hosts;
pub mod limits;
mod messaging;
mod openapi;
mod pages;
pub mod problem;
mod readiness;
mod router;
pub mod server;
pub mod text;
pub mod views;
pub mod webhooks;

pub use hosts::Hosts;
pub use limits::Limits;
pub use readiness::Readiness;
pub use router::{Answers, Gateway, Probes, Version, probe_router, router};
