//! Network namespaces of one run as machines: a program `network` in a folder of `tests/` makes them and takes them down again, and `setup`
//! beside it says whether that is possible here.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::plan::Done;
use crate::shell::{self, To};

/// A program in a network namespace.
pub(crate) fn within(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Whether the machines of the step that has this folder can be made here; what else is printed is in a new `log`.
pub(crate) fn set_up(folder: &Path, log: &Path) -> Result<Done> {
    // A log tells of one run.
    fs::write(log, "")?;
    if shell::run(&mut Command::new(folder.join("setup")), To::File(log)).is_err() {
        let reason = shell::tail(log, 1).pop().unwrap_or_default();
        return Ok(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) });
    }
    Ok(Done::Passed)
}

/// The machines of this run; gone when dropped.
#[derive(Debug)]
pub(crate) struct Network {
    program: PathBuf,
    log: PathBuf,
    name: String,
}

impl Network {
    /// Those of the step that has this folder.
    pub(crate) fn up(folder: &Path, log: &Path) -> Result<Self> {
        let step = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("gantry-{step}-{}", std::process::id());
        let network = Self { program: folder.join("network"), log: log.to_owned(), name };
        network.run("up", &[]).with_context(|| log.display().to_string())?;
        Ok(network)
    }

    /// Does what the program has under this name.
    pub(crate) fn run(&self, what: &str, arguments: &[&str]) -> Result<()> {
        shell::run(Command::new(&self.program).args([what, &self.name]).args(arguments), To::File(&self.log))
    }

    /// The namespace that is a machine.
    pub(crate) fn space(&self, machine: &str) -> String {
        format!("{}-{machine}", self.name)
    }

    /// The same command on a machine.
    pub(crate) fn place(&self, machine: &str, command: &Command) -> Command {
        let mut placed = within(&self.space(machine), command.get_program());
        placed.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => placed.env(name, value),
                None => placed.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            placed.current_dir(folder);
        }
        placed
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.run("down", &[]) {
            println!("network namespaces are left: {error:#}");
        }
    }
}
