//! Steps that look for what goes wrong rarely: simulated power loss under seeds, SIGKILL at random moments.

use std::process::Command;

use anyhow::Result;

use crate::plan::{Context, Done};
use crate::server;
use crate::shell::{self, To};
use crate::workspace::cargo;

/// Seeds of a short run, always the same.
const SEEDS: u32 = 200;
/// Seeds of a full run.
const SEEDS_FULL: u32 = 2000;
/// SIGKILLs of a short run.
const KILLS: u32 = 5;
/// SIGKILLs of a full run.
const KILLS_FULL: u32 = 50;
/// Fixes the kill loop's workload and plan.
const KILL_SEED: &str = "1";

/// Nothing acknowledged is lost when the power fails.
pub(super) fn simulation(context: &Context) -> Result<Done> {
    let seeds = if context.is_full { SEEDS_FULL } else { SEEDS };
    let mut command = Command::new(cargo());
    command.args(["run", "--quiet", "--release", "-p", "sim", "--", "--seeds", &seeds.to_string()]);
    shell::run(command.current_dir(&context.workspace.root), To::Terminal)?;
    Ok(Done::Passed)
}

/// Nothing acknowledged is lost when the process is killed.
pub(super) fn kill(context: &Context) -> Result<Done> {
    let gantry = server::build(context)?;
    let rounds = if context.is_full { KILLS_FULL } else { KILLS };
    let keep = context.workspace.own("kill")?;
    let mut command = Command::new(cargo());
    command.args(["run", "--quiet", "-p", "kill", "--", "--gantry"]).arg(gantry);
    command.args(["--rounds", &rounds.to_string(), "--seed", KILL_SEED, "--keep"]).arg(keep);
    shell::run(command.current_dir(&context.workspace.root), To::Terminal)?;
    Ok(Done::Passed)
}
