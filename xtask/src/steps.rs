//! The steps of `cargo xtask test`, in the order in which they run: what fails soonest comes first.

mod checks;
mod examples;
mod fuzz;
mod loops;
mod nameserver;
mod planted;
mod takeover;
mod tools;

use crate::plan::Step;

/// All steps.
pub(crate) const ALL: [Step; 16] = [
    alone("fmt", checks::fmt),
    alone("clippy", checks::clippy),
    alone("deny", checks::deny),
    alone("descriptors", checks::descriptors),
    alone("unit", checks::unit),
    alone("fuzz", fuzz::run),
    alone("simulation", loops::simulation),
    alone("planted", planted::run),
    beside("sdk-python", |context| examples::run(context, "python")),
    beside("sdk-go", |context| examples::run(context, "go")),
    beside("sdk-node", |context| examples::run(context, "node")),
    beside("sdk-java", |context| examples::run(context, "java")),
    beside("sdk-rust", |context| examples::run(context, "rust")),
    alone("kill", loops::kill),
    alone("nameserver", nameserver::run),
    alone("takeover", takeover::run),
];

type Run = fn(&crate::plan::Context) -> anyhow::Result<crate::plan::Done>;

const fn alone(name: &'static str, run: Run) -> Step {
    Step { name, run, is_concurrent: false }
}

const fn beside(name: &'static str, run: Run) -> Step {
    Step { name, run, is_concurrent: true }
}
