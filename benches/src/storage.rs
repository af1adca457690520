//! Runs on the store and the broker themselves, below the gRPC API, and on what they are compared with.
//!
//! Each run is a child process (`benches side …`, `benches point …`) on a fresh directory: its memory and processor time are its own, and an
//! interrupted bench leaves nothing running. It prints its figures as JSON.

mod append;
mod callers;
mod curves;
mod queues;
mod raw;
mod replay;
mod scan;
mod sync;
mod tail;
mod timers;
mod world;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use tokio::process::Command;

use crate::bench::Bench;
use crate::directory::Directory;
use crate::measurement::{Measurement, Metric};
use crate::scenario::{Scenario, Side};

pub(crate) use curves::{Curve, Point, measure as measure_point};

/// The arguments of `benches side`.
#[derive(Args)]
pub(crate) struct Run {
    /// What.
    #[arg(long)]
    scenario: Scenario,
    /// Whose.
    #[arg(long)]
    side: Side,
    /// Where its files go.
    #[arg(long)]
    directory: PathBuf,
    /// Length of the measured part.
    #[arg(long)]
    window_ms: u64,
    /// Operations a second, where a baseline is paced by ours.
    #[arg(long)]
    rate: Option<f64>,
    /// Small amounts of everything.
    #[arg(long)]
    quick: bool,
}

impl Run {
    fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }

    /// An amount, or the one of a quick run.
    fn amount(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

/// Does one run in a child process.
pub(crate) async fn run(
    scenario: Scenario,
    side: Side,
    bench: &Bench,
    ours: Option<&Measurement>,
) -> Result<Measurement> {
    let directory = Directory::fresh()?;
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|v| v.get_name().to_owned());
    let (scenario_name, side_name) = (name(&|| scenario.to_possible_value()), name(&|| side.to_possible_value()));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["side", "--scenario", &scenario_name.context("a scenario of the server")?]);
    command.args(["--side", &side_name.context("no side")?]).arg("--directory").arg(directory.path());
    command.args(["--window-ms", &bench.window().as_millis().to_string()]);
    if let Some(rate) = ours.and_then(|ours| ours.0.get(&Metric::Throughput)) {
        command.args(["--rate", &rate.to_string()]);
    }
    if bench.is_quick() {
        command.arg("--quick");
    }
    child(command).await.with_context(|| scenario.to_string())
}

/// The figures that a child process prints.
pub(crate) async fn child(mut command: Command) -> Result<Measurement> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "the run ended with {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{:?}", String::from_utf8_lossy(&output.stdout)))
}

/// Does the run in this process.
pub(crate) async fn measure(run: &Run) -> Result<Measurement> {
    match (run.scenario, run.side) {
        (Scenario::StoreAppend, Side::Gantry) => append::ours(run).await,
        (Scenario::StoreAppend, Side::Baseline) => append::baseline(run),
        (Scenario::StoreSync, Side::Gantry) => sync::ours(run).await,
        (Scenario::StoreSync, Side::Baseline) => sync::baseline(run).await,
        (Scenario::StoreScan, Side::Gantry) => scan::ours(run).await,
        (Scenario::StoreScan, Side::Baseline) => scan::baseline(run).await,
        (Scenario::StoreTail, Side::Gantry) => tail::ours(run).await,
        (Scenario::StoreTail, Side::Baseline) => tail::baseline(run),
        (Scenario::StoreQueues, side) => queues::run(run, side).await,
        (Scenario::StoreTimers, _) => timers::lateness(run).await,
        (Scenario::StoreDrain, _) => timers::drain(run).await,
        (Scenario::StoreReplay, _) => replay::run(run).await,
        (other, _) => bail!("{other} is not a run on the store"),
    }
}
