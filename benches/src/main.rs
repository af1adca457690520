//! What Gantry costs, each figure beside its limit: load on a server process beside one that does nothing on the same stack
//! ([`noop`]), and runs on the store beside what the disk allows.
//!
//! `benches send --gantry target/release/gantry` starts both servers in turn, each as a process of its own, loads
//! them from this process, prints a table and fails when a target of [`targets`] is missed. `benches store` does the
//! same with the scenarios of [`storage`].
#![allow(clippy::disallowed_methods, reason = "measures real processes in real time, above every seam of env")]

mod ballast;
mod bench;
mod cluster;
mod curves;
mod directory;
mod load;
mod measurement;
mod nats;
mod noop;
mod process;
mod recovery;
mod replication;
mod report;
mod rivals;
mod scenario;
mod server;
mod storage;
mod targets;
mod verdict;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::bench::Bench;
use crate::measurement::Measurement;
use crate::noop::Protocol;
use crate::rivals::Xtask;
use crate::scenario::{Scenario, Side};
use crate::verdict::{Outcome, Pair, Verdict};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Some target is missed.
const EXIT_MISSED: u8 = 1;
/// The bench itself failed.
const EXIT_FAILED: u8 = 2;
/// No target is missed, but some could not be judged: the machine was too busy with other things, or lacks a program.
const EXIT_NOT_JUDGED: u8 = 3;

/// Measures Gantry beside a no-op tonic server, and its store beside what the disk allows.
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
    /// The broker alone over Remoting: beside a no-op server on the same stack, and beside NATS JetStream.
    Remoting(Options),
    /// The HTTP API beside a no-op axum server: sends, receives with acks, and the memory of waiting streams.
    Http(Options),
    /// Proxy, broker and name server as processes: beside Apache's, beside a no-op server and beside all in one process.
    Cluster(Options),
    /// A master and its slave as processes: beside the master alone, near and far, and while the slave catches up.
    Replication(Options),
    /// The store beside what the disk allows.
    #[command(args_conflicts_with_subcommands = true)]
    Store {
        #[command(subcommand)]
        curves: Option<Store>,
        /// Which; without any, all of them in this order.
        scenarios: Vec<Scenario>,
        #[command(flatten)]
        options: Options,
        /// Length of the log that recovery starts on, in GiB.
        #[arg(long, default_value_t = 20)]
        log_gib: u64,
    },
    /// One run of `store`, in this process.
    #[command(hide = true)]
    Side(storage::Run),
    /// One run of `store curves`, in this process.
    #[command(hide = true)]
    Point(storage::Point),
    /// Serves the API without doing anything: what the others compare with.
    Noop {
        /// What clients speak.
        protocol: Protocol,
        /// Where to listen.
        listen: SocketAddr,
    },
}

#[derive(Subcommand)]
enum Store {
    /// What a message costs against queues, backlog, log size, message size and pending timers.
    Curves(curves::Options),
}

#[derive(Args)]
struct Options {
    /// The release binary to measure.
    #[arg(long, default_value = "target/release/gantry")]
    gantry: PathBuf,
    /// The xtask that gets and starts the servers of others.
    #[arg(long, default_value = "target/debug/xtask")]
    xtask: PathBuf,
    /// Pairs of runs that are judged, each ours and then the baseline's; more run until so many agree.
    #[arg(long, default_value_t = targets::PAIRS_MIN)]
    pairs: usize,
    /// Length of the measured part of a run.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Only the scenarios with this in their names as JSON has them: `apache` stands for `cluster_apache`.
    #[arg(long)]
    only: Option<String>,
    /// Shows in runs of a fraction of a second that the scenarios work, and judges nothing.
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (scenarios, options, log_gib) = match CommandLine::parse().command {
        Command::Send(options) => (vec![Scenario::SendSingle, Scenario::SendBatch], options, 0),
        Command::SendSingle(options) => (vec![Scenario::SendSingle], options, 0),
        Command::SendBatch(options) => (vec![Scenario::SendBatch], options, 0),
        Command::Receive(options) => (vec![Scenario::Receive], options, 0),
        Command::Latency(options) => (vec![Scenario::Latency], options, 0),
        Command::Startup(options) => (vec![Scenario::StartUp], options, 0),
        Command::All(options) => (Scenario::SERVED.to_vec(), options, 0),
        Command::Remoting(options) => (Scenario::REMOTING.to_vec(), options, 0),
        Command::Http(options) => (Scenario::HTTP.to_vec(), options, 0),
        Command::Cluster(options) => (Scenario::CLUSTER.to_vec(), options, 0),
        Command::Replication(options) => (Scenario::REPLICATION.to_vec(), options, 0),
        Command::Store { curves: Some(Store::Curves(options)), .. } => {
            return tokio::select! {
                result = curves::run(&options) => exit_code(result.map(|()| ExitCode::SUCCESS)),
                result = interrupted() => exit_code(result.and_then(|()| bail!("interrupted"))),
            };
        }
        Command::Store { scenarios, options, log_gib, .. } if scenarios.is_empty() => {
            (Scenario::STORE.to_vec(), options, log_gib)
        }
        Command::Store { scenarios, options, log_gib, .. } => (scenarios, options, log_gib),
        Command::Noop { protocol, listen } => {
            return exit_code(noop::serve(protocol, listen).await.map(|()| ExitCode::SUCCESS));
        }
        Command::Side(run) => return exit_code(print(storage::measure(&run).await)),
        Command::Point(point) => return exit_code(print(storage::measure_point(&point).await)),
    };
    tokio::select! {
        result = bench(&scenarios, &options, log_gib << 30) => exit_code(result),
        // Dropping the bench stops its server and removes its data.
        result = interrupted() => exit_code(result.and_then(|()| bail!("interrupted"))),
    }
}

/// Prints the figures of one run for the process that started this one.
fn print(measurement: Result<Measurement>) -> Result<ExitCode> {
    println!("{}", serde_json::to_string(&measurement?)?);
    Ok(ExitCode::SUCCESS)
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

async fn bench(scenarios: &[Scenario], options: &Options, log_bytes: u64) -> Result<ExitCode> {
    let is_quick = options.quick;
    let pairs_min = if is_quick { 1 } else { targets::PAIRS_MIN };
    let pairs = if is_quick { 1 } else { options.pairs };
    ensure!(pairs >= pairs_min, "--pairs is {pairs}, at least {pairs_min}");
    let (gantry, xtask) = (options.gantry.clone(), Xtask::at(options.xtask.clone()));
    let mut bench = Bench::new(gantry, xtask, Duration::from_secs(options.seconds), is_quick, log_bytes);
    let mut outcomes = Vec::new();
    let only = options.only.as_deref().unwrap_or_default();
    let chosen: Vec<_> = scenarios.iter().filter(|scenario| scenario.name().contains(only)).collect();
    ensure!(!chosen.is_empty(), "--only is {only:?}, which is in the name of no scenario");
    for scenario in chosen {
        let outcome = match rivals::missing(*scenario, &mut bench).await? {
            None => outcome(*scenario, &mut bench, pairs).await?,
            Some(reason) => Outcome::skipped(*scenario, reason),
        };
        // They would take memory and processor time from the scenarios that follow.
        (bench.apache, bench.long_log) = (None, None);
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
    let skipped = outcomes.iter().filter_map(|outcome| Some((outcome.scenario, outcome.skipped.as_ref()?)));
    let skipped = skipped.map(|(scenario, reason)| eprintln!("{scenario}: skipped, {reason}")).count();
    let met = count(Verdict::Met);
    eprintln!("{met} targets met, {missed} missed, {not_judged} not judged, {skipped} scenarios skipped");
    Ok(match (missed, not_judged + skipped) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(EXIT_NOT_JUDGED),
        _ => ExitCode::from(EXIT_MISSED),
    })
}

/// Runs pairs until the last ones allow a verdict: those before were run while the machine was busy
/// with other things, as the baseline's spread tells. Ours has no say in which pairs count.
async fn outcome(scenario: Scenario, bench: &mut Bench, pairs_judged: usize) -> Result<Outcome> {
    let pairs_judged = match scenario.baseline() {
        None => pairs_judged.min(targets::RUNS_ALONE),
        Some(_) => pairs_judged,
    };
    let mut pairs = Vec::new();
    loop {
        pairs.push(pair(scenario, pairs.len() + 1, bench).await?);
        let last = &pairs[pairs.len().saturating_sub(pairs_judged)..];
        let is_steady = bench.is_quick() || verdict::is_steady(scenario, last);
        if last.len() == pairs_judged && is_steady || pairs.len() >= targets::PAIRS_MAX.max(pairs_judged) {
            let outcome = Outcome::of(scenario, pairs.len(), last.to_vec());
            return Ok(if bench.is_quick() { outcome.unjudged() } else { outcome });
        }
    }
}

async fn pair(scenario: Scenario, number: usize, bench: &mut Bench) -> Result<Pair> {
    let ours = scenario.run(Side::Gantry, bench, None).await?;
    eprintln!("{scenario} {number}: gantry {}", report::line(&ours));
    let mut baseline = Measurement::default();
    if let Some(name) = scenario.baseline() {
        baseline = scenario.run(Side::Baseline, bench, Some(&ours)).await?;
        eprintln!("{scenario} {number}: {name} {}", report::line(&baseline));
    }
    Ok(Pair { gantry: ours, baseline })
}
