//! `cargo xtask test`: the steps in their order, what each took, and how it all ended.
//!
//! A step that cannot run here says SKIPPED and why; with `CI=true` that is a failure. The last line is always
//! `N passed, N failed, N skipped`.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::Args;

use crate::progress::Progress;
use crate::steps;
use crate::workspace::Workspace;

/// The arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// More seeds and longer kill loops: run it before an issue is resolved
    #[arg(long)]
    full: bool,
    /// Leave out what passed in the last run on the same sources
    #[arg(long)]
    resume: bool,
    /// Run only this step; may be given several times
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
}

/// What a step needs to know.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where everything is.
    pub(crate) workspace: Workspace,
    /// Whether the long loops run.
    pub(crate) is_full: bool,
}

/// How a step ended, if it did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// What it checks holds.
    Passed,
    /// It could not run here.
    Skipped {
        /// Why, and what to install.
        reason: String,
    },
}

/// A part of a step.
pub(crate) type Run = fn(&Context) -> Result<Done>;

/// One thing that must hold.
pub(crate) struct Step {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// What it needs is fetched and built. That of all steps of a group is over before any of them runs, so that
    /// no build takes the processor from what runs against the clock.
    pub(crate) prepare: Run,
    /// Checks it.
    pub(crate) run: Run,
    /// Whether it may run beside its neighbours that may: it mostly waits, and keeps its output to a file.
    pub(crate) is_concurrent: bool,
}

#[derive(Debug)]
enum Verdict {
    Passed,
    PassedBefore,
    Skipped(String),
    Failed(String),
}

struct Report {
    step: &'static str,
    verdict: Verdict,
    /// Without the wait for the others' preparation.
    took: Duration,
}

impl Report {
    fn new(step: &Step, verdict: Verdict, took: Duration) -> Self {
        Self { step: step.name, verdict, took }
    }
}

/// Runs the chosen steps; the exit code says whether all hold.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let chosen = choose(&options.only)?;
    let context = Context { workspace: Workspace::find()?, is_full: options.full };
    let mut progress = Progress::begin(&context.workspace, options.full, options.resume)?;
    let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let began = Instant::now();
    let mut reports = Vec::with_capacity(chosen.len());
    let groups = chosen.chunk_by(|a, b| a.is_concurrent && b.is_concurrent);
    for group in groups {
        for mut report in run_group(group, &context, &progress) {
            if let (true, Verdict::Skipped(reason)) = (is_ci, &report.verdict) {
                report.verdict = Verdict::Failed(format!("skipped in CI: {reason}"));
            }
            if matches!(report.verdict, Verdict::Passed) {
                progress.add(report.step)?;
            }
            println!("{}", line(&report));
            reports.push(report);
        }
    }
    Ok(summarize(&reports, began.elapsed()))
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = only.iter().find(|name| !steps::ALL.iter().any(|step| step.name == **name)) {
        let names: Vec<&str> = steps::ALL.iter().map(|step| step.name).collect();
        bail!("there is no step {unknown}; steps are: {}", names.join(", "));
    }
    let is_chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(steps::ALL.iter().filter(is_chosen).collect())
}

/// Runs one step, or several side by side; answers in their order.
fn run_group(group: &[&'static Step], context: &Context, progress: &Progress) -> Vec<Report> {
    let names: Vec<&str> = group.iter().map(|step| step.name).collect();
    println!("==> {}", names.join(", "));
    let all_prepared = Barrier::new(group.len());
    std::thread::scope(|scope| {
        let running: Vec<_> =
            group.iter().map(|step| scope.spawn(|| run_step(step, context, progress, &all_prepared))).collect();
        let joined = group.iter().zip(running).map(|(step, thread)| {
            let failed = |_| Report::new(step, Verdict::Failed("it panicked".to_owned()), Duration::ZERO);
            thread.join().unwrap_or_else(failed)
        });
        joined.collect()
    })
}

fn run_step(step: &Step, context: &Context, progress: &Progress, all_prepared: &Barrier) -> Report {
    let has_passed = progress.has_passed(step.name);
    let began = Instant::now();
    // A panic must not keep the others waiting.
    let prepared = catch_unwind(|| if has_passed { Ok(Done::Passed) } else { (step.prepare)(context) });
    let preparation = began.elapsed();
    all_prepared.wait();
    if has_passed {
        return Report::new(step, Verdict::PassedBefore, Duration::ZERO);
    }
    let began = Instant::now();
    let done = match prepared {
        Ok(Ok(Done::Passed)) => (step.run)(context),
        Ok(refused) => refused,
        Err(_) => Err(anyhow!("its preparation panicked")),
    };
    let verdict = match done {
        Ok(Done::Passed) => Verdict::Passed,
        Ok(Done::Skipped { reason }) => Verdict::Skipped(reason),
        Err(error) => Verdict::Failed(format!("{error:#}")),
    };
    Report::new(step, verdict, preparation + began.elapsed())
}

fn line(report: &Report) -> String {
    let Report { step, verdict, took } = report;
    let seconds = took.as_secs_f64();
    match verdict {
        Verdict::Passed => format!("PASSED   {step:<14} {seconds:>7.1} s"),
        Verdict::PassedBefore => format!("PASSED   {step:<14} in an earlier run"),
        Verdict::Skipped(reason) => format!("SKIPPED  {step:<14} {seconds:>7.1} s  {reason}"),
        Verdict::Failed(reason) => format!("FAILED   {step:<14} {seconds:>7.1} s  {reason}"),
    }
}

fn summarize(reports: &[Report], took: Duration) -> ExitCode {
    let count = |is: fn(&Verdict) -> bool| reports.iter().filter(|report| is(&report.verdict)).count();
    let passed = count(|verdict| matches!(verdict, Verdict::Passed | Verdict::PassedBefore));
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    println!("\nsummary, {:.1} s in all", took.as_secs_f64());
    for report in reports {
        println!("{}", line(report));
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_steps_are_refused_with_the_list() {
        let error = choose(&["clipy".to_owned()]).err().expect("no such step").to_string();
        assert!(error.contains("clipy") && error.contains("clippy"), "{error}");
        assert_eq!(choose(&["fmt".to_owned()]).expect("known").len(), 1);
        assert_eq!(choose(&[]).expect("all").len(), steps::ALL.len());
    }

    #[test]
    fn skips_do_not_fail_but_failures_do() {
        let report = |verdict| Report { step: "fmt", verdict, took: Duration::ZERO };
        let skipped = report(Verdict::Skipped("no rustfmt".to_owned()));
        assert_eq!(line(&skipped), "SKIPPED  fmt                0.0 s  no rustfmt");
        assert_eq!(summarize(&[skipped], Duration::ZERO), ExitCode::SUCCESS);
        let failed = report(Verdict::Failed("x".to_owned()));
        assert_eq!(summarize(&[report(Verdict::Passed), failed], Duration::ZERO), ExitCode::FAILURE);
    }
}
