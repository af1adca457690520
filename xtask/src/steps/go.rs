//! Programs of ours in Go, for official clients that speak it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::examples;
use crate::plan::{Context, Done};
use crate::shell::{self, To};

/// Builds the program in `tests/STEP/go` and answers where it is; nothing is done if it is up to date. What it needs may be missing.
pub(super) fn build(context: &Context, step: &str) -> Result<Result<PathBuf, Done>> {
    // The example's setup sees to the go tool.
    if let skipped @ Done::Skipped { .. } = examples::prepare(context, "go")? {
        return Ok(Err(skipped));
    }
    let program = program(context, step)?;
    let log = context.workspace.own(&format!("logs/go-{step}.log"))?;
    // A log tells of one run.
    std::fs::write(&log, "")?;
    let go = || {
        let mut go = Command::new("go");
        go.current_dir(context.workspace.root.join("tests").join(step).join("go"));
        go
    };
    if shell::run(go().args(["mod", "download"]), To::File(&log)).is_err() {
        let reason = shell::tail(&log, 1).pop().unwrap_or_default();
        return Ok(Err(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) }));
    }
    shell::run(go().args(["build", "-mod=readonly", "-o"]).arg(&program).arg("."), To::File(&log))?;
    Ok(Ok(program))
}

/// Where it is once it is built.
pub(super) fn program(context: &Context, step: &str) -> Result<PathBuf> {
    context.workspace.own(&format!("go/{step}"))
}
