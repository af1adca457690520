//! Servers that others made: got, started and prepared by `cargo xtask rival`, which knows where they come from.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::bench::Bench;
use crate::cluster;
use crate::load::{self, Backlog, GROUP, TOPIC, Window};
use crate::measurement::{Measurement, Metric, median};
use crate::report;
use crate::scenario::{Scenario, set_memory};
use crate::server::{Contender, Gantry, Server};

/// Queues of the topic, as many as of ours.
const QUEUES: &str = "8";
/// Runs of Apache's that are compared with as many before them to see whether it still becomes faster. Measured: over 15
/// runs of 4 s its throughput trebles while its code is compiled.
const WARM_RUNS: usize = 4;
/// Its throughput rises no more when the median of the last runs is at most so many times that of those before.
const WARM_RISE_MAX: f64 = 1.05;
/// Most runs before the first that counts, should it go on rising.
const WARM_UPS_MAX: usize = 30;
/// The measured part of a quick run: a JVM that has just started gives nothing in the first tenth of a second.
const QUICK_WINDOW: Window = Window { warm_up: Duration::ZERO, length: Duration::from_secs(3) };

/// The program that gets and starts them.
#[derive(Clone)]
pub(crate) struct Xtask(PathBuf);

impl Xtask {
    /// The program at `path`, looked for when it is needed.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its command for one of them.
    pub(crate) fn rival(&self, action: &str) -> std::process::Command {
        let mut command = std::process::Command::new(&self.0);
        command.args(["rival", action]);
        command
    }

    /// Runs a command that gets something, and returns where that is or, as the inner error, why it cannot be had here.
    async fn get(&self, action: &str) -> Result<Result<PathBuf, String>> {
        let mut command = Command::from(self.rival(action));
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("starting {}", self.0.display()))?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(if output.status.success() { Ok(said.into()) } else { Err(said) })
    }

    /// Makes the topic and the group in Apache's broker.
    pub(crate) async fn make_queues(&self, broker: SocketAddr) -> Result<()> {
        let mut command = Command::from(self.rival("apache-queues"));
        command.args(["--broker", &broker.to_string(), "--topic", TOPIC, "--queues", QUEUES, "--group", GROUP]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        let status = command.status().await.with_context(|| format!("starting {}", self.0.display()))?;
        ensure!(status.success(), "the topic and the group could not be made");
        Ok(())
    }
}

/// Gets what a scenario needs that is not ours. Returns why it cannot be had here, if so.
pub(crate) async fn missing(scenario: Scenario, bench: &mut Bench) -> Result<Option<String>> {
    Ok(match scenario {
        Scenario::StoreNats | Scenario::RemotingNats => match bench.xtask().get("nats-server").await? {
            Ok(program) => {
                bench.nats_server = Some(program);
                None
            }
            Err(reason) => Some(reason),
        },
        Scenario::StorePop | Scenario::ClusterApache | Scenario::ClusterMixed => {
            bench.xtask().get("apache-jars").await?.err()
        }
        _ => None,
    })
}

/// Apache's servers. They serve all runs of a scenario, as their start takes twenty seconds. Between their runs they are
/// stopped (SIGSTOP), as they go on working for about 3 s after a run and would take processor time from ours; ours
/// need no stop, as their processes end with their run.
pub(crate) struct Apache {
    scenario: &'static str,
    server: Server,
    work: Work,
    is_quick: bool,
}

/// What a run does.
pub(crate) enum Work {
    /// Receives and acknowledges.
    Receive(Backlog, Window),
    /// Sends at a fixed rate and then as fast as possible.
    Send(Window),
}

impl Apache {
    /// Those of `pop`: proxy and broker in one process. Runs begin with so many messages.
    pub(crate) async fn local(bench: &Bench, backlog: u64, window: Window) -> Result<Self> {
        let xtask = bench.xtask();
        eprintln!("pop: starting Apache's proxy in local mode, about 20 s");
        let name_server = Server::start(&Contender::ApacheNameServer(xtask.clone())).await?;
        let proxy = Contender::Apache { xtask: xtask.clone(), name_server: name_server.address() };
        let server = Server::start(&proxy).await?.before(vec![name_server]);
        let window = if bench.is_quick() { QUICK_WINDOW } else { window };
        Self::start("pop", server, Work::Receive(Backlog::of(backlog), window), bench.is_quick()).await
    }

    /// Lets servers do what will be measured until their code is compiled.
    pub(crate) async fn start(scenario: &'static str, server: Server, work: Work, is_quick: bool) -> Result<Self> {
        let mut apache = Self { scenario, server, work, is_quick };
        if !is_quick {
            apache.warm_up().await?;
        }
        Ok(apache)
    }

    /// Runs until the throughput stops rising, or often enough, and says how that ended.
    async fn warm_up(&mut self) -> Result<()> {
        let (scenario, mut throughputs) = (self.scenario, Vec::new());
        while !is_warm(&throughputs) {
            let number = throughputs.len() + 1;
            if number > WARM_UPS_MAX {
                eprintln!("{scenario}: Apache's throughput still rises after {WARM_UPS_MAX} warm-up runs");
                break;
            }
            let measurement = match &mut self.work {
                Work::Receive(backlog, window) => load::receive(&self.server, Some(backlog), *window).await?,
                // They do not hold the fixed rate yet.
                Work::Send(window) => load::send(&self.server, 1, *window).await?,
            };
            eprintln!("{scenario}: Apache's warm-up {number}: {}", report::line(&measurement));
            throughputs.push(measurement.0.get(&Metric::Throughput).copied().context("a run without throughput")?);
        }
        eprintln!("{scenario}: Apache is measured after {} warm-up runs", throughputs.len());
        self.server.signal("STOP")
    }

    /// One run; the servers are stopped before and after.
    pub(crate) async fn run(&mut self) -> Result<Measurement> {
        self.server.signal("CONT")?;
        let mut measurement = match &mut self.work {
            Work::Receive(backlog, window) => load::receive(&self.server, Some(backlog), *window).await?,
            // A JVM that has just started holds no rate.
            Work::Send(_) if self.is_quick => load::send(&self.server, 1, QUICK_WINDOW).await?,
            Work::Send(window) => cluster::paced_and_fast(&self.server, *window).await?,
        };
        set_memory(&mut measurement, self.server.memory()?);
        cluster::set_memories(&mut measurement, &self.server)?;
        self.server.signal("STOP")?;
        Ok(measurement)
    }

    /// One run of ours before their broker and name server, while their proxy stays stopped.
    pub(crate) async fn run_behind(&mut self, gantry: Gantry, window: Window) -> Result<Measurement> {
        let behind = self.server.take_behind();
        behind.iter().try_for_each(|server| server.signal("CONT"))?;
        let name_server = behind.last().context("no name server")?.address();
        let mut ours = Server::start(&Contender::Proxy(gantry, name_server)).await?.before(behind);
        let mut measurement = match self.is_quick {
            true => load::send(&ours, 1, QUICK_WINDOW).await?,
            false => cluster::paced_and_fast(&ours, window).await?,
        };
        set_memory(&mut measurement, ours.memory()?);
        cluster::set_memories(&mut measurement, &ours)?;
        let behind = ours.take_behind();
        behind.iter().try_for_each(|server| server.signal("STOP"))?;
        self.server.set_behind(behind);
        Ok(measurement)
    }
}

/// Whether the last runs are hardly faster than those before, by the median of each.
fn is_warm(throughputs: &[f64]) -> bool {
    let Some((earlier, last)) = throughputs.split_last_chunk::<WARM_RUNS>() else { return false };
    let Some((_, before)) = earlier.split_last_chunk::<WARM_RUNS>() else { return false };
    median(last) <= median(before) * WARM_RISE_MAX
}

/// What NATS's server is told: streams in files, each message synced before its ack or when it does that by itself.
pub(crate) fn nats_configuration(address: SocketAddr, data: &Path, is_sync: bool) -> String {
    let sync = if is_sync { "  sync_interval: always\n" } else { "" };
    format!("listen: \"{address}\"\njetstream {{\n  store_dir: \"{}\"\n{sync}}}\n", data.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apache_is_warm_once_it_rises_no_more() {
        let rising: Vec<f64> = (0..15).map(|run| 19_000.0 * 1.08_f64.powi(run)).collect();
        assert!((0..=rising.len()).all(|runs| !is_warm(&rising[..runs])), "it rises by 8 % a run");
        let flat = [60_000.0; 2 * WARM_RUNS];
        assert!(!is_warm(&flat[1..]), "too few runs to tell");
        assert!(is_warm(&flat));
        assert!(is_warm(&[rising, flat.to_vec()].concat()));
    }
}
