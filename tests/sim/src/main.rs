//! `cargo run -p sim --release -- --seeds 2000`: many seeds; `-- --seed N` replays one.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Parser;
use sim::faults::Faults;
use sim::{Report, Scenario};

/// Simulates power loss and kills under many seeds.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Replays this seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Only this scenario.
    #[arg(long)]
    scenario: Option<String>,
    /// Runs each seed twice and compares the bytes.
    #[arg(long)]
    twice: bool,
}

/// One line of progress after so many seeds.
const PROGRESS_SEEDS: u64 = 200;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let wanted = |scenario: &Scenario| arguments.scenario.as_ref().is_none_or(|name| *name == scenario.to_string());
    let scenarios: Vec<Scenario> = Scenario::ALL.into_iter().filter(wanted).collect();
    if scenarios.is_empty() {
        let known: Vec<String> = Scenario::ALL.iter().map(Scenario::to_string).collect();
        eprintln!("no such scenario; known are {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let (first, count) = arguments.seed.map_or((arguments.first, arguments.seeds), |seed| (seed, 1));
    let failed = scenarios.into_iter().filter(|scenario| !run_all(*scenario, first, count, arguments.twice)).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the seeds on all cores until one fails; says whether none did.
fn run_all(scenario: Scenario, first: u64, count: u64, twice: bool) -> bool {
    let (next, failures) = (AtomicU64::new(0), AtomicU64::new(0));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut sum = Report::default();
        while failures.load(Ordering::Relaxed) == 0 {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            match run_one(scenario, first + index, twice) {
                Ok(report) => sum.add(&report),
                Err(problem) => {
                    failures.fetch_add(1, Ordering::Relaxed);
                    println!("{scenario} seed {} FAILED: {problem}", first + index);
                    println!("faults of this seed: {}", Faults::of(first + index));
                    println!("replay: cargo run -p sim --release -- --scenario {scenario} --seed {}", first + index);
                }
            }
            if (index + 1).is_multiple_of(PROGRESS_SEEDS) {
                println!("{scenario}: {} of {count} seeds", index + 1);
            }
        }
        sum
    };
    let mut sum = Report::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            sum.add(&worker.join().expect("panics of runs are caught"));
        }
    });
    println!("{scenario}: {sum}");
    failures.into_inner() == 0
}

/// Runs one seed; a panic is a failure like any other.
fn run_one(scenario: Scenario, seed: u64, twice: bool) -> Result<Report, String> {
    let run = || match catch_unwind(|| scenario.run(seed)) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(violation)) => Err(violation.to_string()),
        Err(_) => Err("it panicked, see above".to_owned()),
    };
    let report = run()?;
    if twice && run()? != report {
        return Err("the second run with this seed differs from the first".to_owned());
    }
    Ok(report)
}
