//! Load on a server process, beside a no-op tonic server with the same service definition under the same load.
//!
//! `benches send --gantry target/release/gantry` starts both servers in turn, each as a process of its own, loads
//! them from this process, prints a table and fails when a target of [`targets`] is missed.
#![allow(clippy::disallowed_methods, reason = "measures real processes in real time, above every seam of env")]

mod ballast;
mod load;
mod measurement;
mod noop;
mod process;
mod report;
mod scenario;
mod server;
mod targets;
mod verdict;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::scenario::Scenario;
use crate::server::{Contender, Gantry};
use crate::verdict::{Outcome, Pair, Verdict};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Some target is missed.
const EXIT_MISSED: u8 = 1;
/// The bench itself failed.
const EXIT_FAILED: u8 = 2;
/// No target is missed, but some could not be judged: the machine was too busy with other things.
const EXIT_NOT_JUDGED: u8 = 3;

/// Measures Gantry beside a no-op tonic server.
#[derive(Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends as fast as possible, one message a request and 16 a request.
    Send(Options),
    /// Only the first half of `send`: one message a request.
    SendSingle(Options),
    /// Only its second half: 16 messages a request.
    SendBatch(Options),
    /// Receives and acknowledges as fast as possible, in batches of 32.
    Receive(Options),
    /// Sends at 2,000 messages a second and looks at the latency.
    Latency(Options),
    /// Starts and sits idle.
    Startup(Options),
    /// All of these.
    All(Options),
    /// Serves the API without doing anything: what the others compare with.
    Noop {
        /// Where to listen.
        #[arg(long)]
        grpc: SocketAddr,
    },
}

#[derive(Args)]
struct Options {
    /// The release binary to measure.
    #[arg(long, default_value = "target/release/gantry")]
    gantry: PathBuf,
    /// Pairs of runs that are judged, each ours and then the no-op server's; more run until so many agree.
    #[arg(long, default_value_t = targets::PAIRS_MIN)]
    pairs: usize,
    /// Length of the measured part of a run.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (scenarios, options): (&[Scenario], Options) = match CommandLine::parse().command {
        Command::Send(options) => (&[Scenario::SendSingle, Scenario::SendBatch], options),
        Command::SendSingle(options) => (&[Scenario::SendSingle], options),
        Command::SendBatch(options) => (&[Scenario::SendBatch], options),
        Command::Receive(options) => (&[Scenario::Receive], options),
        Command::Latency(options) => (&[Scenario::Latency], options),
        Command::Startup(options) => (&[Scenario::StartUp], options),
        Command::All(options) => (&Scenario::ALL, options),
        Command::Noop { grpc } => return exit_code(noop::serve(grpc).await.map(|()| ExitCode::SUCCESS)),
    };
    tokio::select! {
        result = bench(scenarios, &options) => exit_code(result),
        // Dropping the bench stops its server and removes its data.
        result = interrupted() => exit_code(result.and_then(|()| bail!("interrupted"))),
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn exit_code(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("bench failed: {error:#}");
        ExitCode::from(EXIT_FAILED)
    })
}

async fn bench(scenarios: &[Scenario], options: &Options) -> Result<ExitCode> {
    ensure!(options.pairs >= targets::PAIRS_MIN, "--pairs is {}, at least {}", options.pairs, targets::PAIRS_MIN);
    let gantry = Gantry::at(&options.gantry)?;
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        let outcome = outcome(*scenario, &gantry, options).await?;
        if !options.json {
            println!("{}", report::table(&outcome));
        }
        outcomes.push(outcome);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&outcomes)?);
    }
    let count = |verdict| outcomes.iter().map(|outcome| outcome.count(verdict)).sum::<usize>();
    let (missed, not_judged) = (count(Verdict::Missed), count(Verdict::NotJudged));
    eprintln!("{} targets met, {missed} missed, {not_judged} not judged", count(Verdict::Met));
    Ok(match (missed, not_judged) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(EXIT_NOT_JUDGED),
        _ => ExitCode::from(EXIT_MISSED),
    })
}

/// Runs pairs until the last `options.pairs` of them allow a verdict: those before were run while the machine was busy
/// with other things, as the no-op server's spread tells. Ours has no say in which pairs count.
async fn outcome(scenario: Scenario, gantry: &Gantry, options: &Options) -> Result<Outcome> {
    let window = Duration::from_secs(options.seconds);
    let mut pairs = Vec::new();
    loop {
        pairs.push(pair(scenario, pairs.len() + 1, gantry, window).await?);
        let last = &pairs[pairs.len().saturating_sub(options.pairs)..];
        let is_steady = last.len() == options.pairs && verdict::is_steady(scenario, last);
        if is_steady || pairs.len() >= targets::PAIRS_MAX.max(options.pairs) {
            return Ok(Outcome::of(scenario, pairs.len(), last.to_vec()));
        }
    }
}

async fn pair(scenario: Scenario, number: usize, gantry: &Gantry, window: Duration) -> Result<Pair> {
    let ours = scenario.run(&Contender::Gantry(gantry), window).await?;
    eprintln!("{scenario} {number}: gantry {}", report::line(&ours));
    let noop = scenario.run(&Contender::Noop, window).await?;
    eprintln!("{scenario} {number}: no-op  {}", report::line(&noop));
    Ok(Pair { gantry: ours, noop })
}
