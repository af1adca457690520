//! The steps of `cargo xtask test`, in the order in which they run: what fails soonest comes first.

mod admin;
mod broker;
mod checks;
mod cluster;
mod controller;
mod deploy;
mod examples;
mod failover;
mod fuzz;
mod go;
mod http;
mod java;
mod loops;
mod matrix;
mod moving;
mod mqadmin;
mod nameserver;
mod nat;
mod planted;
mod proxy;
mod proxy_remoting;
mod replication;
mod spring;
mod stream;
mod takeover;
mod tools;
mod webhooks;

use crate::plan::{Context, Done, Run, Step};

/// All steps.
pub(crate) const ALL: [Step; 32] = [
    alone("fmt", checks::fmt),
    alone("clippy", checks::clippy),
    alone("deny", checks::deny),
    alone("descriptors", checks::descriptors),
    alone("unit", checks::unit),
    alone("fuzz", fuzz::run),
    alone("simulation", loops::simulation),
    alone("planted", planted::run),
    beside("sdk-python", |context| examples::prepare(context, "python"), |context| examples::run(context, "python")),
    beside("sdk-go", |context| examples::prepare(context, "go"), |context| examples::run(context, "go")),
    beside("sdk-node", |context| examples::prepare(context, "node"), |context| examples::run(context, "node")),
    beside("sdk-java", |context| examples::prepare(context, "java"), |context| examples::run(context, "java")),
    beside("sdk-rust", |context| examples::prepare(context, "rust"), |context| examples::run(context, "rust")),
    alone("http", http::run),
    alone("kill", loops::kill),
    alone("nameserver", nameserver::run),
    alone("broker", broker::run),
    alone("spring", spring::run),
    alone("move", moving::run),
    alone("mqadmin", mqadmin::run),
    alone("admin", admin::run),
    alone("proxy", proxy::run),
    alone("proxy-remoting", proxy_remoting::run),
    alone("cluster", cluster::run),
    alone("nat", nat::run),
    alone("replication", replication::run),
    alone("controller", controller::run),
    alone("failover", failover::run),
    alone("matrix", matrix::run),
    alone("deploy", deploy::run),
    alone("webhooks", webhooks::run),
    alone("takeover", takeover::run),
];

const fn alone(name: &'static str, run: Run) -> Step {
    Step { name, prepare: nothing, run, is_concurrent: false }
}

const fn beside(name: &'static str, prepare: Run, run: Run) -> Step {
    Step { name, prepare, run, is_concurrent: true }
}

/// The preparation of a step that needs none, or that makes it itself.
#[expect(clippy::unnecessary_wraps, reason = "the type of every preparation")]
const fn nothing(_: &Context) -> anyhow::Result<Done> {
    Ok(Done::Passed)
}
