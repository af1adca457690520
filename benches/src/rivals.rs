//! Servers that others made: got, started and prepared by `cargo xtask rival`, which knows where they come from.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::bench::Bench;
use crate::load::{self, Backlog, GROUP, TOPIC, Window};
use crate::measurement::Measurement;
use crate::report;
use crate::scenario::{Scenario, set_memory};
use crate::server::{Contender, Server};

/// Queues of the topic, as many as of ours.
const QUEUES: &str = "8";
/// Runs of Apache's before the first that counts. Measured: over 15 runs of 4 s its throughput trebles while its code is
/// compiled, and stays there.
const WARM_UPS: usize = 15;
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

/// Gets what a scenario is compared with, where that is another's server. Returns why it cannot be had here, if so.
pub(crate) async fn missing(scenario: Scenario, bench: &mut Bench) -> Result<Option<String>> {
    Ok(match scenario {
        Scenario::StoreNats => match bench.xtask().get("nats-server").await? {
            Ok(program) => {
                bench.nats_server = Some(program);
                None
            }
            Err(reason) => Some(reason),
        },
        Scenario::StorePop => bench.xtask().get("apache-jars").await?.err(),
        _ => None,
    })
}

/// Apache's proxy and broker in one process. One serves all runs, as its start takes twenty seconds; it is idle while
/// ours is measured.
pub(crate) struct Apache {
    server: Server,
    backlog: Backlog,
    window: Window,
    _name_server: Server,
}

impl Apache {
    /// Starts it, and lets it do what will be measured until its code is compiled. Runs begin with so many messages.
    pub(crate) async fn start(bench: &Bench, backlog: u64, window: Window) -> Result<Self> {
        let (xtask, is_quick) = (bench.xtask(), bench.is_quick());
        eprintln!("pop: starting Apache's proxy in local mode, about 20 s");
        let name_server = Server::start(&Contender::ApacheNameServer(xtask.clone())).await?;
        let proxy = Contender::Apache { xtask: xtask.clone(), name_server: name_server.address() };
        let server = Server::start(&proxy).await?;
        let window = if is_quick { QUICK_WINDOW } else { window };
        let mut apache = Self { server, backlog: Backlog::of(backlog), window, _name_server: name_server };
        let warm_ups = if is_quick { 0 } else { WARM_UPS };
        for number in 1..=warm_ups {
            let measurement = apache.run().await?;
            eprintln!("pop: Apache's warm-up {number} of {warm_ups}: {}", report::line(&measurement));
        }
        Ok(apache)
    }

    /// One run.
    pub(crate) async fn run(&mut self) -> Result<Measurement> {
        let mut measurement = load::receive(&self.server, Some(&mut self.backlog), self.window).await?;
        set_memory(&mut measurement, self.server.process())?;
        Ok(measurement)
    }
}

/// What NATS's server is told: streams in files, each message synced before its ack.
pub(crate) fn nats_configuration(address: SocketAddr, data: &Path) -> String {
    format!("listen: \"{address}\"\njetstream {{\n  store_dir: \"{}\"\n  sync_interval: always\n}}\n", data.display())
}
