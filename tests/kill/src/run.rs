//! A run: rounds of load and kill, then a drain, one more kill, and the checker's last word.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use crate::checker::{Checker, Counts, Violation};
use crate::event::What;
use crate::plan::{self, Round};
use crate::server::{Launcher, Server, free_address};
use crate::trace::Trace;
use crate::workload::{self, World};

/// How long nothing may move in a drain until it is given up: the longest lease and some.
const STALL_MAX: Duration = Duration::from_secs(100);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long is watched for messages that come again after the last kill.
const WATCH: Duration = Duration::from_secs(3);

/// Failed runs of one seed that may lie side by side.
const RUNS_KEPT_MAX: u32 = 100;

/// What to run.
pub(crate) struct Options {
    /// The release binary.
    pub(crate) gantry: PathBuf,
    /// Kills.
    pub(crate) rounds: u32,
    /// Fixes workload and kills.
    pub(crate) seed: u64,
    /// Where data, log and trace are: made by the run.
    pub(crate) directory: PathBuf,
    /// Longest life of the server.
    pub(crate) life_max: Duration,
    /// Whether a send waits for the disk.
    pub(crate) is_sync: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    /// What happened how often.
    pub(crate) counts: Counts,
    /// What must not have happened.
    pub(crate) violations: Vec<Violation>,
}

/// The trace's place in a run's directory.
pub(crate) fn trace_path(directory: &Path) -> PathBuf {
    directory.join("trace.jsonl")
}

/// Runs, and says what the checker found.
///
/// # Errors
/// What keeps the run from its end: a server that does not start or ends by itself, a file that cannot be written.
pub(crate) async fn run(options: &Options) -> Result<Outcome> {
    let launcher = Launcher {
        program: options.gantry.clone(),
        data: options.directory.join("data"),
        log: options.directory.join("server.log"),
        grpc: free_address()?,
        http: free_address()?,
        is_sync: options.is_sync,
    };
    let trace = Trace::create(&trace_path(&options.directory))?;
    trace.record(What::Began { seed: options.seed, groups: workload::groups() });
    let world = Arc::new(World::new(launcher.grpc, options.seed, trace));
    let result = Run { launcher, world: Arc::clone(&world) }.all(options).await;
    world.trace.flush()?;
    result?;
    Ok(world.trace.with_checker(|checker| Outcome {
        counts: checker.counts().clone(),
        violations: checker.violations().to_vec(),
    }))
}

struct Run {
    launcher: Launcher,
    world: Arc<World>,
}

impl Run {
    async fn all(&self, options: &Options) -> Result<()> {
        let mut server = self.start().await?;
        workload::prepare(&self.world).await?;
        // Dropped with this function, which ends them.
        let mut sessions = JoinSet::new();
        let _consumers = workload::start_consumers(&self.world, &mut sessions);
        let mut producers = workload::start_producers(&self.world, &mut sessions);
        let rounds = plan::rounds(options.seed, options.rounds, options.life_max);
        for (number, round) in rounds.iter().enumerate() {
            server = self.round(server, round).await?;
            self.report(&format!("round {}/{}: {}", number + 1, rounds.len(), describe(round)));
            if self.world.trace.with_checker(|checker| !checker.violations().is_empty()) {
                break;
            }
        }
        self.world.end();
        while let Some(ended) = producers.join_next().await {
            ended.context("a producer panicked")?;
        }
        self.drain(&mut server).await?;
        self.kill(server)?;
        let mut server = self.start().await?;
        tokio::time::sleep(WATCH).await;
        server.ensure_alive()?;
        self.world.trace.with_checker(Checker::finish);
        Ok(())
    }

    /// Lets a running server live and die as planned, and returns the next one.
    async fn round(&self, server: Server, round: &Round) -> Result<Server> {
        tokio::time::sleep(round.life).await;
        self.kill(server)?;
        tokio::time::sleep(round.down).await;
        if let Some(early_life) = round.early_life {
            let server = self.launcher.start()?;
            tokio::time::sleep(early_life).await;
            self.kill(server)?;
        }
        self.start().await
    }

    async fn start(&self) -> Result<Server> {
        let mut server = self.launcher.start()?;
        let after = self.launcher.wait_for_reply(&mut server).await?;
        let after_ms = u64::try_from(after.as_millis())?;
        self.world.trace.record(What::Started { kills: self.world.trace.kills(), after_ms });
        Ok(server)
    }

    fn kill(&self, server: Server) -> Result<()> {
        server.kill()?;
        self.world.trace.record(What::Killed { kills: self.world.trace.kills() });
        self.world.trace.flush()
    }

    /// Waits until the consumers have everything.
    async fn drain(&self, server: &mut Server) -> Result<()> {
        let (mut before, mut moved_at) = (usize::MAX, Instant::now());
        loop {
            server.ensure_alive()?;
            let outstanding = self.world.trace.with_checker(|checker| checker.outstanding());
            if outstanding == 0 {
                self.report("drained");
                return Ok(());
            }
            if outstanding != before {
                (before, moved_at) = (outstanding, Instant::now());
            } else if moved_at.elapsed() > STALL_MAX {
                self.report(&format!("drain given up: {outstanding} outstanding, nothing moved for {STALL_MAX:?}"));
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn report(&self, what: &str) {
        let (counts, outstanding) =
            self.world.trace.with_checker(|checker| (checker.counts().clone(), checker.outstanding()));
        eprintln!(
            "{what}; {} sent, {} delivered, {} acked, {outstanding} outstanding, {} violations",
            counts.sent, counts.delivered, counts.acked, counts.violations
        );
    }
}

fn describe(round: &Round) -> String {
    match round.early_life {
        None => format!("killed after {:?}", round.life),
        Some(early_life) => format!("killed after {:?}, the next one after {early_life:?} of start-up", round.life),
    }
}

/// Makes the directory of a run, beside those that earlier runs of the seed left.
pub(crate) fn make_directory(keep: &Path, seed: u64) -> Result<PathBuf> {
    std::fs::create_dir_all(keep).with_context(|| format!("creating {}", keep.display()))?;
    for number in 1..=RUNS_KEPT_MAX {
        let directory = keep.join(format!("seed-{seed}-run-{number}"));
        match std::fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("creating {}", directory.display())),
        }
    }
    bail!("{RUNS_KEPT_MAX} failed runs of seed {seed} are in {}; remove some", keep.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_runs_are_not_overwritten() {
        let keep = tempfile::tempdir().expect("a directory");
        let first = make_directory(keep.path(), 7).expect("made");
        assert_ne!(first, make_directory(keep.path(), 7).expect("made"));
        assert!(first.is_dir());
    }
}
