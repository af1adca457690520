//! A process that a test has started; killed when dropped.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell::{self, To};

/// How long it may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(40);
/// Exit code of a Java program that SIGTERM has ended.
const JAVA_STOPPED: i32 = 128 + 15;
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Lines of its log that are shown when it does not do what it must.
const LOG_LINES_SHOWN: usize = 20;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, with what it prints in the file `log`.
    pub(crate) fn start(name: &'static str, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { name, child, log })
    }

    /// Waits until something is the case, and shows the end of its log if it is not in time or the process has ended.
    pub(crate) fn wait_until(&mut self, what: &str, within: Duration, is: impl Fn() -> bool) -> Result<()> {
        let began = Instant::now();
        while !is() {
            let has_ended = self.child.try_wait()?.is_some();
            if has_ended || began.elapsed() > within {
                let lines = shell::tail(&self.log, LOG_LINES_SHOWN).join("\n");
                let how = if has_ended { "it ended" } else { "not in time" };
                bail!("{} {what}: {how}: {lines}", self.name);
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }

    /// Waits until it has ended by itself, and shows the end of its log if it does not in time, or not with exit code 0.
    pub(crate) fn finish(mut self, within: Duration) -> Result<()> {
        let began = Instant::now();
        let how = loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => break status.to_string(),
                None if began.elapsed() > within => break format!("not within {within:?}"),
                None => std::thread::sleep(POLL_EVERY),
            }
        };
        bail!("{}: {how}: {}", self.name, shell::tail(&self.log, LOG_LINES_SHOWN).join("\n"))
    }

    /// Its number in the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as an operator would.
    ///
    /// # Errors
    /// It did not stop in time, or not with exit code 0.
    pub(crate) fn stop(self) -> Result<()> {
        self.stop_with(0)
    }

    /// The same of a program of Java's, which ends so in order.
    ///
    /// # Errors
    /// It did not stop in time, or not with that exit code.
    pub(crate) fn stop_java(self) -> Result<()> {
        self.stop_with(JAVA_STOPPED)
    }

    fn stop_with(mut self, code: i32) -> Result<()> {
        let pid = self.child.id().to_string();
        shell::run(Command::new("kill").args(["-TERM", &pid]), To::Terminal)?;
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if began.elapsed() > STOP_WITHIN => bail!("{} did not stop within {STOP_WITHIN:?}", self.name),
                None => std::thread::sleep(POLL_EVERY),
            }
        };
        ensure!(status.code() == Some(code), "{} stopped with {status}, its log: {}", self.name, self.log.display());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
