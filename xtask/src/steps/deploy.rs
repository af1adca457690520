//! One-command clusters: `gantry demo-cluster` does what it prints and ends all that it started, and the files in `deploy/` can be read
//! and their command lines, run as processes, are a cluster. Containers are not run here, and there is no helm.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{examples, http};
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::server;
use crate::shell::{self, To};
use crate::workspace::clear;

/// Longest wait for all processes of the demo cluster.
const WITHIN: Duration = Duration::from_secs(120);
/// What stands in the units, and is not there.
const INSTALLED: &str = "/usr/bin/gantry";
/// What is shown to be typed begins so.
const SHOWN: [&str; 3] = ["  curl ", "  cd ", "  gantry "];
/// Brokers of the demo cluster.
const BROKERS: usize = 2;
/// The commands run in this: the first that fails ends it, and a refusal is a failure.
const STRICT: &str = "set -euo pipefail\ncurl() { command curl --no-progress-meter --fail-with-body \"$@\"; }\n";

/// Half a minute.
pub(super) fn run(context: &Context) -> Result<Done> {
    if let skipped @ Done::Skipped { .. } = examples::prepare(context, "python")? {
        return Ok(skipped);
    }
    let log = context.workspace.own("logs/deploy.log")?;
    // A log tells of one run.
    fs::write(&log, "")?;
    let (root, yaml) = (&context.workspace.root, context.workspace.own("deploy-python")?);
    if let Err(error) = http::python_environment(&root.join("tests/deploy/requirements.txt"), &yaml, &log) {
        return Ok(Done::Skipped { reason: format!("a reader of YAML cannot be had: {error:#}") });
    }
    let folder = context.workspace.own("deploy")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    let replicas: &[&str] = if context.is_full { &["1", "2", "3"] } else { &["1", "2"] };
    let shown = replicas.iter().try_for_each(|replicas| show_demo(root, &folder, &gantry, &log, replicas));
    let shown = shown
        .and_then(|()| verify_units(root, &folder, &gantry, &log))
        .and_then(|()| run_lines(root, &folder, &gantry, &yaml, &log));
    shown.with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

/// With so many processes of each broker what it prints is typed as it stands there; stopped, none of its processes listens any more.
fn show_demo(root: &Path, folder: &Path, gantry: &Path, log: &Path, replicas: &str) -> Result<()> {
    let mut command = Command::new(gantry);
    let data = folder.join(format!("demo-{replicas}"));
    command.args(["demo-cluster", "--free-ports", "--replicas", replicas, "--data"]).arg(&data);
    let printed = data.with_extension("log");
    let mut demo = Process::start("gantry demo-cluster", command, printed.clone())?;
    let text = || fs::read_to_string(&printed).unwrap_or_default();
    demo.wait_until("is ready", WITHIN, || text().contains("Stop all of it with Ctrl-C."))?;
    let text = text();
    let mut script = format!("{STRICT}gantry() {{ {} \"$@\"; }}\n", gantry.display());
    for line in text.lines().filter(|line| SHOWN.iter().any(|start| line.starts_with(start))) {
        // Each is typed in the checkout.
        script.push_str(&format!("({line})\n"));
    }
    let mut bash = Command::new("bash");
    let (answers, has_succeeded) = shell::output(bash.arg("-c").arg(&script).current_dir(root), log)?;
    ensure!(has_succeeded && answers.contains("\"handle\""), "{script}{answers} {}", log.display());
    // Each slave is one of a master's, and keeps up.
    let slaves_in_sync = answers.lines().filter(|line| line.contains(" MASTER ") && line.ends_with("yes")).count();
    ensure!(slaves_in_sync == (replicas.parse::<usize>()? - 1) * BROKERS, "{answers} {}", log.display());
    demo.stop()?;
    let addresses: Vec<SocketAddr> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure!(addresses.len() >= 7, "only {} addresses are shown", addresses.len());
    for address in addresses {
        ensure!(TcpStream::connect(address).is_err(), "somebody listens on {address} after the end");
    }
    Ok(())
}

/// systemd finds nothing wrong with the units, where it is there to be asked.
fn verify_units(root: &Path, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    if !shell::succeeds(Command::new("systemd-analyze").arg("--version")) {
        println!("systemd-analyze is missing: the units were not verified");
        return Ok(());
    }
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify");
    for unit in fs::read_dir(root.join("deploy/systemd"))? {
        let unit = unit?;
        let copy = folder.join(unit.file_name());
        let text = fs::read_to_string(unit.path())?;
        fs::write(&copy, text.replace(INSTALLED, &gantry.display().to_string()))?;
        verify.arg(copy);
    }
    shell::run(&mut verify, To::File(log)).with_context(|| format!("the units: {}", log.display()))
}

fn run_lines(root: &Path, folder: &Path, gantry: &Path, yaml: &Path, log: &Path) -> Result<()> {
    let mut check = Command::new(yaml.join("bin/python"));
    check.arg(root.join("tests/deploy/check.py")).arg(gantry).arg(root.join("deploy")).arg(folder.join("lines"));
    let (printed, has_succeeded) = shell::output(&mut check, log)?;
    ensure!(has_succeeded, "tests/deploy/check.py: {printed} {}", log.display());
    print!("{printed}");
    Ok(())
}
