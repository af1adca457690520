//! The kill loop: real clients, a real process, a real disk, and SIGKILL at random moments.
//!
//! A seed fixes what the clients send, how transactions end and when the server is killed. What everybody sees is written to a trace, and
//! the [`checker`] says what must not have happened. SIGKILL proves that what was answered had left the process; power loss is the
//! simulation's business (`tests/sim`).
#![allow(clippy::disallowed_methods, reason = "tests real processes in real time, above every seam of env")]

mod body;
mod checker;
mod client;
mod event;
mod plan;
mod run;
mod server;
mod trace;
mod workload;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::run::Options;

/// Kills a server under load and checks that it keeps its promises.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    /// The binary to test.
    #[arg(long, default_value = "target/release/gantry")]
    gantry: PathBuf,
    /// How often the server is killed under load.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Fixes workload and kill plan [default: taken from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Where data directory, server log and trace of a run are; those of a failed run stay.
    #[arg(long, default_value = "target/kill")]
    keep: PathBuf,
    /// Longest life of the server under load.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds_per_round: f64,
    /// Starts the server with sync flush.
    #[arg(long)]
    sync: bool,
    /// Only checks this trace of an earlier run.
    #[arg(long, value_name = "TRACE", exclusive = true)]
    check: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("expected 0.1 to 3600".to_owned()) }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = CommandLine::parse();
    let result = match &arguments.check {
        Some(trace) => check(trace),
        None => kill(&arguments).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kill loop failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs; says whether all went well.
async fn kill(arguments: &CommandLine) -> Result<bool> {
    let seed = arguments.seed.unwrap_or_else(|| trace::now_ms().unsigned_abs());
    let gantry = arguments.gantry.canonicalize();
    let options = Options {
        gantry: gantry.with_context(|| format!("no binary at {}", arguments.gantry.display()))?,
        rounds: arguments.rounds,
        seed,
        directory: run::make_directory(&arguments.keep, seed)?,
        life_max: Duration::from_secs_f64(arguments.seconds_per_round),
        is_sync: arguments.sync,
    };
    eprintln!("seed {seed}, in {}", options.directory.display());
    let outcome = run::run(&options).await;
    let is_good = match &outcome {
        Ok(outcome) => {
            println!("{}", outcome.counts);
            outcome.violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
            outcome.violations.is_empty()
        }
        Err(_) => false,
    };
    if is_good {
        std::fs::remove_dir_all(&options.directory).context("removing the run's directory")?;
    } else {
        explain(arguments, &options);
    }
    outcome.map(|_| is_good)
}

/// Says where everything is and how to see it again.
fn explain(arguments: &CommandLine, options: &Options) {
    let sync = if options.is_sync { " --sync" } else { "" };
    eprintln!("kept: {}", options.directory.display());
    eprintln!("check its trace again: kill --check {}", run::trace_path(&options.directory).display());
    eprintln!(
        "same workload and kill plan: kill --gantry {} --rounds {} --seed {} --seconds-per-round {}{sync} --keep DIR",
        options.gantry.display(),
        options.rounds,
        options.seed,
        arguments.seconds_per_round,
    );
}

/// Checks a trace; says whether all went well.
fn check(trace: &Path) -> Result<bool> {
    let checker = trace::check(trace)?;
    println!("{}", checker.counts());
    checker.violations().iter().for_each(|violation| println!("VIOLATION: {violation}"));
    Ok(checker.violations().is_empty())
}
