//! `benches store curves`: what a message costs against how much of something there is, as tables without a verdict.
//!
//! Runs go round over the points of a curve, so that a slow hour of the machine is in all of them.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::directory::Directory;
use crate::measurement::{Measurement, Metric, median, spread};
use crate::report;
use crate::storage::{self, Curve};

/// Rounds over the points of a curve.
const ROUNDS: usize = 3;
/// Points and length of the measured part of a quick run.
const QUICK_POINTS: usize = 1;
const QUICK_WINDOW_MS: u64 = 100;

/// The arguments of `benches store curves`.
#[derive(Args)]
pub(crate) struct Options {
    /// Which; without any, all of them.
    curves: Vec<Curve>,
    /// Length of the measured part of a run.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Prints JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Shows at the first point of each that it works.
    #[arg(long)]
    quick: bool,
    /// Taken as by the other commands, and not needed.
    #[arg(long, hide = true)]
    gantry: Option<std::path::PathBuf>,
    /// The same.
    #[arg(long, hide = true)]
    xtask: Option<std::path::PathBuf>,
}

/// One curve.
#[derive(Debug, Serialize)]
struct Drawn {
    curve: Curve,
    points: Vec<Drawing>,
}

/// One point of it.
#[derive(Debug, Serialize)]
struct Drawing {
    at: u64,
    runs: Vec<Measurement>,
}

/// Draws them.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let curves = if options.curves.is_empty() { Curve::ALL.to_vec() } else { options.curves.clone() };
    let mut drawn = Vec::new();
    for curve in curves {
        let one = draw(curve, options).await?;
        if !options.json {
            println!("{}", table(&one));
        }
        drawn.push(one);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&drawn)?);
    }
    Ok(())
}

async fn draw(curve: Curve, options: &Options) -> Result<Drawn> {
    let (rounds, window_ms, points) = match options.quick {
        true => (1, QUICK_WINDOW_MS, &curve.points()[..QUICK_POINTS]),
        false => (ROUNDS, options.seconds * 1000, curve.points()),
    };
    let mut points: Vec<_> = points.iter().map(|at| Drawing { at: *at, runs: Vec::new() }).collect();
    for round in 1..=rounds {
        for point in &mut points {
            let run = measure(curve, point.at, window_ms).await?;
            eprintln!("{} {}, round {round}: {}", point.at, curve.axis(), report::line(&run));
            point.runs.push(run);
        }
    }
    Ok(Drawn { curve, points })
}

/// Does one run in a child process.
async fn measure(curve: Curve, at: u64, window_ms: u64) -> Result<Measurement> {
    let directory = Directory::fresh()?;
    let name = curve.to_possible_value().context("a curve without a name")?;
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["point", "--curve", name.get_name(), "--at", &at.to_string()]);
    command.args(["--window-ms", &window_ms.to_string(), "--directory"]).arg(directory.path());
    storage::child(command).await.with_context(|| format!("{} {at}", curve.axis()))
}

/// Medians, each with its spread.
fn table(drawn: &Drawn) -> String {
    let runs = drawn.points.iter().flat_map(|point| &point.runs);
    let metrics: BTreeSet<Metric> = runs.flat_map(|run| run.0.keys()).copied().collect();
    let mut text = format!("store curve: {}\n{:<18}", drawn.curve.work(), drawn.curve.axis());
    let heads: Vec<String> = metrics.iter().map(|metric| format!("{:>27}{:>8}", metric.label(), "spread")).collect();
    text.push_str(&heads.join(""));
    for point in &drawn.points {
        write!(text, "\n{:<18}", point.at).expect("writing to a string cannot fail");
        for metric in &metrics {
            let values: Vec<f64> = point.runs.iter().filter_map(|run| run.0.get(metric).copied()).collect();
            let (value, spread) = (report::figure(median(&values)), report::percent(spread(&values)));
            write!(text, "{value:>27}{spread:>8}").expect("writing to a string cannot fail");
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_a_point_and_medians() {
        let run = |value| Measurement([(Metric::CpuPerMessage, value)].into());
        let point = |at, values: [f64; 3]| Drawing { at, runs: values.map(run).to_vec() };
        let points = vec![point(8, [3.0, 5.0, 4.0]), point(1_000, [6.0, 6.0, 9.0])];
        let table = table(&Drawn { curve: Curve::Queues, points });
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with("queues") && lines[1].contains("CPU, µs/msg"), "{table}");
        assert!(lines[2].starts_with("8 ") && lines[2].contains("4.00") && lines[2].contains("50 %"), "{table}");
        assert!(lines[3].starts_with("1000 ") && lines[3].contains("6.00"), "{table}");
    }
}
