//! The official clients' example programs against a fresh server, their results beside Apache's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::plan::{Context, Done};
use crate::server::Server;
use crate::shell::{self, To};
use crate::{netns, reference};

/// Lines of a failed example's log that are shown.
const LOG_LINES_SHOWN: usize = 40;

/// What an example prints for each feature.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Finding {
    pub(super) feature: String,
    /// `None`: the SDK has no such feature.
    pub(super) ok: Option<bool>,
    pub(super) detail: String,
}

/// Where an example's server is, and from where it is looked at.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// `HOST:PORT`, as a user types it.
    pub(super) endpoint: &'a str,
    /// What the names of topics and groups begin with.
    pub(super) prefix: &'a str,
    /// The network namespace that the example runs in; `None`: ours.
    pub(super) namespace: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// One that is reached from where we are.
    fn here(endpoint: &'a str) -> Self {
        Self { endpoint, prefix: "example", namespace: None }
    }
}

/// The SDK and the program are there.
pub(super) fn prepare(context: &Context, sdk: &str) -> Result<Done> {
    let log = log(context, sdk)?;
    // A log tells of one run.
    std::fs::write(&log, "")?;
    if shell::run(Command::new("./setup").current_dir(folder(context, sdk)), To::File(&log)).is_err() {
        let reason = shell::tail(&log, 1).pop().unwrap_or_default();
        return Ok(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) });
    }
    Ok(Done::Passed)
}

/// Every feature of one SDK does what it does against Apache's proxy.
pub(super) fn run(context: &Context, sdk: &str) -> Result<Done> {
    let log = log(context, sdk)?;
    let server = Server::start(context, sdk)?;
    let mut example = program(context, sdk);
    example.args(["all", "--endpoint", &server.grpc().to_string()]);
    let (printed, has_succeeded) = shell::output(&mut example, &log)?;
    let verdict = parse(&printed)
        .and_then(|ours| compare(&ours, &context.workspace.root, sdk))
        .and_then(|()| if has_succeeded { Ok(()) } else { bail!("the example says that it failed") });
    match verdict {
        Ok(()) => server.stop().map(|()| Done::Passed),
        Err(error) => {
            let lines = shell::tail(&log, LOG_LINES_SHOWN).join("\n");
            println!("--- end of {}\n{lines}\n--- printed\n{printed}---", log.display());
            Err(error.context(format!("data kept: {}", server.keep().display())))
        }
    }
}

/// Every feature does at `endpoint` what it does against Apache's proxy.
pub(super) fn observe(context: &Context, sdk: &str, endpoint: SocketAddr, log: &Path) -> Result<()> {
    observe_at(context, sdk, Place::here(&endpoint.to_string()), log)
}

/// The same there.
pub(super) fn observe_at(context: &Context, sdk: &str, place: Place<'_>, log: &Path) -> Result<()> {
    let ours = find(context, sdk, place, log)?;
    compare(&ours, &context.workspace.root, sdk).with_context(|| format!("{sdk}, log: {}", log.display()))
}

/// What every feature does there.
fn find(context: &Context, sdk: &str, place: Place<'_>, log: &Path) -> Result<BTreeMap<String, Finding>> {
    // Side by side: each has a topic of its own and waits most of the time.
    let found =
        shell::side_by_side(reference::FEATURES, |(feature, _)| find_one_at(context, sdk, feature, place, log))?;
    Ok(found.into_iter().map(|found| (found.feature.clone(), found)).collect())
}

/// What one feature does at `endpoint`.
pub(super) fn find_one(
    context: &Context,
    sdk: &str,
    feature: &str,
    endpoint: SocketAddr,
    log: &Path,
) -> Result<Finding> {
    find_one_at(context, sdk, feature, Place::here(&endpoint.to_string()), log)
}

fn find_one_at(context: &Context, sdk: &str, feature: &str, place: Place<'_>, log: &Path) -> Result<Finding> {
    let mut example =
        place.namespace.map_or_else(|| Command::new("./run"), |namespace| netns::within(namespace, "./run"));
    example.args([feature, "--endpoint", place.endpoint, "--prefix", place.prefix]).current_dir(folder(context, sdk));
    found(&mut example, feature, log).with_context(|| format!("{sdk} {feature}"))
}

/// What a program prints of a feature.
pub(super) fn found(program: &mut Command, feature: &str, log: &Path) -> Result<Finding> {
    let found = parse(&shell::output(program, log)?.0)?.remove(feature);
    found.with_context(|| format!("it printed no result: {}", log.display()))
}

/// An SDK's example, without arguments.
pub(super) fn program(context: &Context, sdk: &str) -> Command {
    let mut program = Command::new("./run");
    program.current_dir(folder(context, sdk));
    program
}

fn folder(context: &Context, sdk: &str) -> PathBuf {
    context.workspace.root.join("sdk-examples").join(sdk)
}

fn log(context: &Context, sdk: &str) -> Result<PathBuf> {
    context.workspace.own(&format!("logs/sdk-{sdk}.log"))
}

/// The findings hold, and are those that Apache's proxy gave, where these were recorded.
fn compare(ours: &BTreeMap<String, Finding>, root: &Path, sdk: &str) -> Result<()> {
    ensure!(!ours.is_empty(), "the example printed no results");
    let failed = ours.values().filter(|found| found.ok == Some(false));
    let failed: Vec<_> = failed.map(|found| format!("{} ({})", found.feature, found.detail)).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    let recorded = root.join("sdk-examples/reference-results").join(format!("{sdk}.jsonl"));
    let Ok(text) = std::fs::read_to_string(&recorded) else { return Ok(()) };
    let theirs = parse(&text).with_context(|| recorded.display().to_string())?;
    for (feature, apache) in &theirs {
        match ours.get(feature) {
            None => bail!("{feature} was not run"),
            Some(found) if found != apache => {
                bail!("{feature} differs from Apache: {:?}, there {:?}", found.detail, apache.detail)
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// One finding a line; lines that are no JSON objects are an SDK's own chatter.
fn parse(text: &str) -> Result<BTreeMap<String, Finding>> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| {
            let found: Finding = serde_json::from_str(line).with_context(|| format!("not a result: {line}"))?;
            Ok((found.feature.clone(), found))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = r#"{"sdk":"go","feature":"fifo","ok":true,"detail":"in order"}"#;

    #[test]
    fn chatter_between_results_is_ignored() {
        let findings = parse(&format!("connecting\n{OK}\n\nbye")).expect("one result");
        assert_eq!(findings["fifo"].detail, "in order");
        assert!(parse("{\"feature\":1}").is_err());
    }

    #[test]
    fn failures_and_silence_fail() {
        let compared = |printed: &str| {
            let found = parse(printed).expect("results");
            compare(&found, Path::new("/nonexistent"), "go")
        };
        assert!(compared(OK).is_ok());
        assert!(compared("").is_err());
        assert!(compared(&OK.replace("true", "false")).is_err());
        assert!(compared(&OK.replace("true", "null")).is_ok());
    }
}
