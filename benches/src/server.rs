//! A server as a child process: killed when dropped, its directory removed with the last one who uses it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::directory::Directory;
use crate::load::{self, Caller};
use crate::nats;
use crate::noop::Protocol;
use crate::process::{self, Memory};
use crate::rivals::{self, Xtask};

/// How long a server may take until it answers.
const START_UP_MAX: Duration = Duration::from_secs(20);
/// The same of Apache's, which takes twenty seconds on two idle cores.
const APACHE_START_UP_MAX: Duration = Duration::from_secs(180);
/// How long a topic of Apache's may take until it has a route.
const ROUTE_WITHIN: Duration = Duration::from_secs(60);
const ROUTE_TRY_EVERY: Duration = Duration::from_millis(500);
/// Pause between two tries to reach a starting server: the resolution of the start-up time.
const TRY_EVERY: Duration = Duration::from_millis(1);
/// How much of a failed server's log is shown.
const LOG_BYTES_SHOWN: usize = 2000;
/// HTTP connections that our server takes at a time, more than any run has.
const CONNECTIONS_MAX: &str = "20000";

/// Our release binary.
pub(crate) struct Gantry {
    program: PathBuf,
    is_sync: bool,
}

impl Gantry {
    /// The binary at `program`.
    pub(crate) fn at(program: &Path) -> Result<Self> {
        let program = program
            .canonicalize()
            .with_context(|| format!("no binary at {}; build it: cargo build --release", program.display()))?;
        Ok(Self { program, is_sync: false })
    }

    /// The same with sync flush.
    pub(crate) fn synced(self) -> Self {
        Self { is_sync: true, ..self }
    }

    /// All in one process.
    fn local(&self, grpc: SocketAddr, http: SocketAddr, directory: &Directory) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("local").arg("--data").arg(directory.data());
        command.args(["--grpc", &grpc.to_string(), "--http", &http.to_string()]);
        command.args(["--flush", if self.is_sync { "sync" } else { "async" }]);
        command
    }
}

/// NATS's server.
#[derive(Clone)]
pub(crate) struct Nats {
    /// Its program.
    pub(crate) program: PathBuf,
    /// Whether each message is synced before its ack; else when NATS does it by default.
    pub(crate) is_sync: bool,
}

/// Which server runs.
pub(crate) enum Contender {
    /// Ours in one process, for clients that speak gRPC.
    Gantry(Gantry),
    /// The same, for clients that speak HTTP.
    Http(Gantry),
    /// Our broker alone, for clients that speak Remoting.
    Broker(Gantry),
    /// This program's `noop` command.
    Noop(Protocol),
    /// The program of NATS's server.
    Nats(Nats),
    /// Apache's name server.
    ApacheNameServer(Xtask),
    /// Apache's proxy in local mode.
    Apache {
        /// What starts it.
        xtask: Xtask,
        /// Where its name server listens.
        name_server: SocketAddr,
    },
}

impl Contender {
    /// What starts it on a directory.
    fn command(&self, address: SocketAddr, other: SocketAddr, directory: &Directory) -> Result<Command> {
        Ok(match self {
            Self::Gantry(gantry) => gantry.local(address, other, directory),
            Self::Http(gantry) => {
                let mut command = gantry.local(other, address, directory);
                command.args(["--http-max-connections", CONNECTIONS_MAX]);
                command
            }
            Self::Broker(gantry) => {
                let mut command = Command::new(&gantry.program);
                command.arg("broker").arg("--data").arg(directory.data());
                command.args(["--listen", &address.to_string()]);
                command
            }
            Self::Noop(protocol) => {
                let mut command = Command::new(std::env::current_exe()?);
                let protocol = protocol.to_possible_value().context("a protocol without a name")?;
                command.args(["noop", protocol.get_name(), &address.to_string()]);
                command
            }
            Self::Nats(nats) => {
                let configuration = directory.path().join("nats.conf");
                std::fs::write(&configuration, rivals::nats_configuration(address, &directory.data(), nats.is_sync))?;
                let mut command = Command::new(&nats.program);
                command.arg("-c").arg(configuration);
                command
            }
            Self::ApacheNameServer(xtask) => {
                let mut command = xtask.rival("apache-name-server");
                command.args(["--listen", &address.to_string(), "--directory"]).arg(directory.data());
                command
            }
            Self::Apache { xtask, name_server } => {
                let mut command = xtask.rival("apache");
                command.args(["--name-server", &name_server.to_string(), "--broker", &other.to_string()]);
                command.args(["--grpc", &address.to_string(), "--directory"]).arg(directory.data());
                command
            }
        })
    }

    fn start_up_max(&self) -> Duration {
        match self {
            Self::Gantry(_) | Self::Http(_) | Self::Broker(_) | Self::Noop(_) | Self::Nats(_) => START_UP_MAX,
            Self::ApacheNameServer(_) | Self::Apache { .. } => APACHE_START_UP_MAX,
        }
    }

    /// The first request and its reply, with what a run needs on the server.
    async fn greet(&self, address: SocketAddr, other: SocketAddr) -> Result<()> {
        match self {
            Self::Gantry(_) | Self::Noop(Protocol::Grpc) => {}
            Self::Http(_) | Self::Noop(Protocol::Http) => return load::make_topic_by_http(address).await,
            Self::Broker(_) | Self::Noop(Protocol::Remoting) => return load::make_topic(address).await,
            Self::Nats(_) => {
                let requester = nats::connect(address, 1).await?.pop();
                return requester.context("no requester")?.make_stream().await;
            }
            Self::ApacheNameServer(_) => return Ok(()),
            Self::Apache { xtask, .. } => {
                xtask.make_queues(other).await?;
                return wait_for_route(address).await;
            }
        }
        Caller::connect(address).await?.query_route().await.map(drop)
    }
}

/// A running server that has answered.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// A second port, whatever its kind has there.
    other: SocketAddr,
    start_up: Duration,
    directory: Arc<Directory>,
}

impl Server {
    /// Starts a server on a fresh directory and waits for its first reply.
    pub(crate) async fn start(contender: &Contender) -> Result<Self> {
        Self::start_on(contender, Arc::new(Directory::fresh()?)).await
    }

    /// The same on what an earlier server left.
    pub(crate) async fn start_on(contender: &Contender, directory: Arc<Directory>) -> Result<Self> {
        let address = free_address()?;
        let other = free_address()?;
        let mut command = contender.command(address, other, &directory)?;
        let log = File::create(directory.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let mut server = Self { child, address, other, start_up: Duration::ZERO, directory };
        let answered = async {
            server.wait_for_port(started, contender.start_up_max()).await?;
            contender.greet(address, other).await
        };
        answered.await.with_context(|| server.log_end())?;
        server.start_up = started.elapsed();
        Ok(server)
    }

    /// A port answers only when the server can serve, so the first connection's request must succeed.
    async fn wait_for_port(&mut self, started: Instant, start_up_max: Duration) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            if started.elapsed() > start_up_max {
                bail!("the server does not listen on {} after {start_up_max:?}", self.address);
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.directory.log()).unwrap_or_default();
        let from = log.floor_char_boundary(log.len().saturating_sub(LOG_BYTES_SHOWN));
        format!("the server's log ends with:\n{}", &log[from..])
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where one of kind [`Contender::Http`] serves gRPC.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.other
    }

    /// The memory that it holds now.
    pub(crate) fn memory(&self) -> Result<Memory> {
        process::memory(self.process())
    }

    /// Its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends its process a signal of this name: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let status =
            Command::new("kill").args(["-s", name, &self.process().to_string()]).status().context("starting kill")?;
        ensure!(status.success(), "kill -s {name} {} ended with {status}", self.process());
        Ok(())
    }

    /// From its start to its first reply.
    pub(crate) fn start_up(&self) -> Duration {
        self.start_up
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which the run's own error tells.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Apache's broker tells the name server of a new topic after it has said that it is made.
async fn wait_for_route(address: SocketAddr) -> Result<()> {
    let (mut caller, started) = (Caller::connect(address).await?, Instant::now());
    loop {
        match caller.query_route().await {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > ROUTE_WITHIN => {
                return Err(error.context(format!("no route after {ROUTE_WITHIN:?}")));
            }
            Err(_) => tokio::time::sleep(ROUTE_TRY_EVERY).await,
        }
    }
}

/// A port that is free now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
