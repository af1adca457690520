//! One process of the cluster: this program once more, with what it prints in a file.

use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use env::Env;
use rustix::process::{Pid, Signal, kill_process};

use super::POLL_EVERY;
use super::plan::Kind;

/// What is to be started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    /// Its output is appended there.
    pub(super) log: PathBuf,
}

/// A process that was started; killed when dropped.
#[derive(Debug)]
pub(super) struct Member {
    process: Process,
    child: Child,
}

impl Member {
    /// Starts it, in a group of its own: Ctrl-C is for who started all of them, and stops them in order.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(process: Process) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's file")?;
        let log = open(&process.log).with_context(|| format!("cannot write {}", process.log.display()))?;
        let mut command = Command::new(program);
        command.args(&process.arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Settings of a role that is meant to be started alone.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GANTRY_")) {
            command.env_remove(name);
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", process.name))?;
        Ok(Self { process, child })
    }

    /// What it is.
    pub(super) fn kind(&self) -> Kind {
        self.process.kind
    }

    /// Where what it prints is.
    pub(super) fn log(&self) -> &Path {
        &self.process.log
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<Option<anyhow::Error>> {
        let status = self.child.try_wait()?;
        Ok(status.map(|status| anyhow!("{self} ended with {status}; see {}", self.log().display())))
    }

    /// Asks it to stop.
    pub(super) fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until it has ended, after which it is killed.
    ///
    /// # Errors
    /// It did not stop in time, or not with exit code 0.
    pub(super) async fn ended_within(mut self, within: Duration) -> anyhow::Result<()> {
        let clock = Env::real().clock;
        let until = clock.moment().plus(within);
        loop {
            match self.child.try_wait()? {
                Some(status) => {
                    ensure!(status.success(), "{self} stopped with {status}; see {}", self.log().display());
                    return Ok(());
                }
                None if clock.moment() >= until => bail!("{self} did not stop within {within:?} and was killed"),
                None => clock.sleep(POLL_EVERY).await,
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.process.name)
    }
}

#[expect(clippy::disallowed_methods, reason = "what another process prints needs a file of the system")]
fn open(log: &Path) -> std::io::Result<std::fs::File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::OpenOptions::new().create(true).append(true).open(log)
}
