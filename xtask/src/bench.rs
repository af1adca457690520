//! `cargo xtask bench`: builds for release, then hands over to the bench.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::shell::{self, To};
use crate::workspace::{Workspace, cargo};

/// Runs the bench on a fresh release build; its exit code is ours.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut build = Command::new(cargo());
    build.args(["build", "--release", "-p", "gantry", "-p", "benches"]).current_dir(&workspace.root);
    shell::run(&mut build, To::Terminal)?;
    let status = Command::new(workspace.binary("release", "benches"))
        .args(arguments)
        .arg("--gantry")
        .arg(workspace.binary("release", "gantry"))
        .arg("--xtask")
        .arg(std::env::current_exe()?)
        .current_dir(&workspace.root)
        .status()
        .context("starting the bench")?;
    // A bench that a signal ended has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    Ok(ExitCode::from(code))
}
