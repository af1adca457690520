//! `cargo xtask`: what developers and CI run, in one place.
//!
//! | command                              | what it does                                                   |
//! |--------------------------------------|----------------------------------------------------------------|
//! | `cargo xtask test [--full]`          | everything that must hold, step by step ([`plan`])             |
//! | `cargo xtask bench send\|receive\|…` | load beside a no-op server, release build ([`bench`])          |
//! | `cargo xtask reference up\|down\|…`  | Apache RocketMQ to compare with ([`reference`])                |
#![allow(clippy::disallowed_methods, reason = "drives real processes in real time, above every seam of env")]

mod apache;
mod balancer;
mod bench;
mod cluster;
mod netns;
mod plan;
mod process;
mod progress;
#[allow(unreachable_pub, reason = "written as the library that it would be beside a second user")]
mod reference;
mod remoting;
mod rival;
mod server;
mod shell;
mod steps;
mod topics;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Developer commands of Gantry.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check everything that must hold: format, lints, licenses, tests, simulation, SDK examples, kill loop
    Test(plan::Options),
    /// Measure a release build beside a no-op tonic server, or its store beside the disk; all arguments go to the bench
    Bench {
        /// send, receive, latency, startup or all, and their flags; e.g. send --json
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Run Apache RocketMQ from its Maven Central jars, to compare with
    #[command(subcommand)]
    Reference(Reference),
    /// For the bench: servers of others that ours is compared with
    #[command(subcommand, hide = true)]
    Rival(rival::Rival),
}

#[derive(Debug, Subcommand)]
enum Reference {
    /// Fetch and start it; done when it serves
    Up,
    /// Stop it
    Down,
    /// Say what runs
    Status,
    /// Make the topics and groups that the SDK examples use
    Topics {
        /// What their names begin with
        #[arg(long, default_value = "example")]
        prefix: String,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Test(options) => plan::run(&options),
        Command::Bench { arguments } => bench::run(&arguments),
        Command::Rival(rival) => rival::run(&rival),
        Command::Reference(reference) => {
            match reference {
                Reference::Up => reference::up(),
                Reference::Down => reference::down(),
                Reference::Status => reference::status(),
                Reference::Topics { prefix } => reference::create_topics(&prefix),
            }?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
