//! What the steps whose clients are Java programs of ours begin and end with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::plan::{Context, Done};
use crate::shell::{self, To};
use crate::workspace::clear;
use crate::{reference, server};

/// A step's programs, and where it works.
pub(super) struct Programs {
    /// Emptied before the step, and after it if it passed.
    pub(super) folder: PathBuf,
    /// The compiled programs.
    pub(super) classes: PathBuf,
    /// Tells of this run.
    pub(super) log: PathBuf,
    /// The program to be tested.
    pub(super) gantry: PathBuf,
}

/// Compiles programs of `tests/STEP/java` against Apache's jars, builds ours and lets `show` use both.
pub(super) fn run(
    context: &Context,
    step: &str,
    programs: &[&str],
    show: impl FnOnce(&Programs) -> Result<()>,
) -> Result<Done> {
    run_with(context, step, programs, || Ok(vec![reference::jars()?]), show)
}

/// The same with programs of another step, in `tests/SOURCES/java`.
pub(super) fn run_of(
    context: &Context,
    step: &str,
    sources: &str,
    programs: &[&str],
    show: impl FnOnce(&Programs) -> Result<()>,
) -> Result<Done> {
    run_all(context, (step, sources), programs, || Ok(vec![reference::jars()?]), show)
}

/// As [`run`] against other jars, of these folders.
pub(super) fn run_with(
    context: &Context,
    step: &str,
    programs: &[&str],
    jars: impl FnOnce() -> Result<Vec<PathBuf>>,
    show: impl FnOnce(&Programs) -> Result<()>,
) -> Result<Done> {
    run_all(context, (step, step), programs, jars, show)
}

fn run_all(
    context: &Context,
    (step, sources): (&str, &str),
    programs: &[&str],
    jars: impl FnOnce() -> Result<Vec<PathBuf>>,
    show: impl FnOnce(&Programs) -> Result<()>,
) -> Result<Done> {
    if !shell::succeeds(Command::new("javac").arg("-version")) {
        let reason = "javac is missing: apt-get install openjdk-17-jdk-headless maven".to_owned();
        return Ok(Done::Skipped { reason });
    }
    let jars = match jars() {
        Ok(jars) => jars,
        Err(error) => return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") }),
    };
    let folder = context.workspace.own(step)?;
    clear(&folder)?;
    let log = context.workspace.own(&format!("logs/{step}.log"))?;
    // A log tells of one run.
    fs::write(&log, "")?;
    let classes = folder.join("classes");
    compile(context, sources, programs, &jars, &classes, &log)?;
    let programs = Programs { classes, log, gantry: server::build(context)?, folder };
    show(&programs).with_context(|| format!("data kept: {}", programs.folder.display()))?;
    clear(&programs.folder)?;
    Ok(Done::Passed)
}

/// Compiles programs of `tests/STEP/java` against the jars of these folders.
pub(super) fn compile(
    context: &Context,
    step: &str,
    programs: &[&str],
    jars: &[PathBuf],
    classes: &Path,
    log: &Path,
) -> Result<()> {
    let sources = context.workspace.root.join("tests").join(step).join("java");
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-d"]).arg(classes);
    javac.arg("-cp").arg(std::env::join_paths(jars.iter().map(|folder| folder.join("*")))?);
    javac.args(programs.iter().map(|name| sources.join(format!("{name}.java"))));
    shell::run(&mut javac, To::File(log))
}
