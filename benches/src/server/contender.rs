//! The kinds of servers: how each is started, and what it is asked first.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::directory::Directory;
use crate::load::{self, Caller};
use crate::nats;
use crate::noop::Protocol;
use crate::rivals::{self, Xtask};

/// How long a server may take until it answers.
const START_UP_MAX: Duration = Duration::from_secs(20);
/// The same of Apache's, which takes twenty seconds on two idle cores.
const APACHE_START_UP_MAX: Duration = Duration::from_secs(180);
/// How long a topic may take until a proxy before its broker has its route.
const ROUTE_WITHIN: Duration = Duration::from_secs(60);
const ROUTE_TRY_EVERY: Duration = Duration::from_millis(500);
/// The disk is filled by others.
const DISK: &str = "diskMaxUsedSpaceRatio=99\ndiskSpaceWarningLevelRatio=100\n";
/// HTTP connections that our server takes at a time, more than any run has.
const CONNECTIONS_MAX: &str = "20000";

/// Our release binary.
#[derive(Clone)]
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

    /// One of the processes of a cluster.
    fn role(&self, role: &str, directory: &Directory) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(role).arg("--data").arg(directory.data());
        command
    }

    /// All in one process.
    fn local(&self, grpc: SocketAddr, http: SocketAddr, directory: &Directory) -> Command {
        let mut command = self.role("local", directory);
        command.args(["--grpc", &grpc.to_string(), "--http", &http.to_string()]);
        command.args(["--flush", if self.is_sync { "sync" } else { "async" }]);
        command
    }
}

impl MemberRole {
    fn command(
        &self,
        gantry: &Gantry,
        address: SocketAddr,
        other: SocketAddr,
        directory: &Directory,
    ) -> Result<Command> {
        let role = match self {
            MemberRole::AsyncMaster => format!("brokerId=0\nbrokerRole=ASYNC_MASTER\nhaListenPort={}\n", other.port()),
            MemberRole::SyncMaster => format!("brokerId=0\nbrokerRole=SYNC_MASTER\nhaListenPort={}\n", other.port()),
            MemberRole::SlaveOf(master) => format!("brokerId=1\nbrokerRole=SLAVE\nhaMasterAddress={master}\n"),
        };
        let configuration = directory.path().join("broker.conf");
        std::fs::write(&configuration, format!("brokerName=bench\n{role}{DISK}"))?;
        let mut command = Command::new(&gantry.program);
        command.args(["broker", "--strict-config", "-c"]).arg(configuration);
        command.args(["--listen", &address.to_string(), "--data"]).arg(directory.data());
        Ok(command)
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

/// A process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What clients speak to.
    Proxy,
    /// What stores.
    Broker,
    /// What stores the same.
    Slave,
    /// What knows the brokers.
    NameServer,
}

/// What a broker of a group does.
#[derive(Clone, Copy)]
pub(crate) enum MemberRole {
    /// Waits for nobody.
    AsyncMaster,
    /// Waits for its slave.
    SyncMaster,
    /// Of the master whose log is there.
    SlaveOf(SocketAddr),
}

/// Which server runs.
pub(crate) enum Contender {
    /// Ours in one process, for clients that speak gRPC.
    Gantry(Gantry),
    /// The same, for clients that speak HTTP.
    Http(Gantry),
    /// Our name server.
    NameServer(Gantry),
    /// Our broker, for clients that speak Remoting, and known to a name server if there is one.
    Broker(Gantry, Option<SocketAddr>),
    /// Our broker in a group, known to no name server.
    Member(Gantry, MemberRole),
    /// Our proxy, before the brokers that a name server knows.
    Proxy(Gantry, SocketAddr),
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
    /// Apache's broker, known to a name server.
    ApacheBroker(Xtask, SocketAddr),
    /// Apache's proxy, before the brokers that a name server knows.
    ApacheProxy(Xtask, SocketAddr),
}

impl Contender {
    /// What starts it on a directory.
    pub(super) fn command(&self, address: SocketAddr, other: SocketAddr, directory: &Directory) -> Result<Command> {
        Ok(match self {
            Self::Gantry(gantry) => gantry.local(address, other, directory),
            Self::Http(gantry) => {
                let mut command = gantry.local(other, address, directory);
                command.args(["--http-max-connections", CONNECTIONS_MAX]);
                command
            }
            Self::NameServer(gantry) => {
                let mut command = gantry.role("nameserver", directory);
                command.args(["--listen", &address.to_string()]);
                command
            }
            Self::Broker(gantry, name_server) => {
                let mut command = gantry.role("broker", directory);
                command.args(["--listen", &address.to_string()]);
                if let Some(name_server) = name_server {
                    command.args(["--nameserver", &name_server.to_string()]);
                }
                command
            }
            Self::Member(gantry, role) => role.command(gantry, address, other, directory)?,
            Self::Proxy(gantry, name_server) => {
                let mut command = gantry.role("proxy", directory);
                command.args(["--grpc", &address.to_string(), "--http", &other.to_string()]);
                command.args(["--remoting", "off", "--nameserver", &name_server.to_string()]);
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
            Self::ApacheBroker(xtask, name_server) => {
                let mut command = xtask.rival("apache-broker");
                command.args(["--name-server", &name_server.to_string(), "--listen", &address.to_string()]);
                command.arg("--directory").arg(directory.data());
                command
            }
            Self::ApacheProxy(xtask, name_server) => {
                let mut command = xtask.rival("apache-proxy");
                command.args(["--name-server", &name_server.to_string(), "--grpc", &address.to_string()]);
                command.arg("--directory").arg(directory.data());
                command
            }
        })
    }

    /// Which part of a cluster it is.
    pub(super) fn part(&self) -> Option<Part> {
        match self {
            Self::Proxy(..) | Self::ApacheProxy(..) => Some(Part::Proxy),
            Self::Member(_, MemberRole::SlaveOf(_)) => Some(Part::Slave),
            Self::Broker(..) | Self::Member(..) | Self::ApacheBroker(..) => Some(Part::Broker),
            Self::NameServer(_) | Self::ApacheNameServer(_) => Some(Part::NameServer),
            Self::Gantry(_) | Self::Http(_) | Self::Noop(_) | Self::Nats(_) | Self::Apache { .. } => None,
        }
    }

    pub(super) fn start_up_max(&self) -> Duration {
        match self {
            Self::ApacheNameServer(_) | Self::Apache { .. } | Self::ApacheBroker(..) | Self::ApacheProxy(..) => {
                APACHE_START_UP_MAX
            }
            _ => START_UP_MAX,
        }
    }

    /// The first request and its reply, with what a run needs on the server.
    pub(super) async fn greet(&self, address: SocketAddr, other: SocketAddr) -> Result<()> {
        match self {
            Self::Gantry(_) | Self::Noop(Protocol::Grpc) => {}
            Self::Http(_) | Self::Noop(Protocol::Http) => return load::make_topic_by_http(address).await,
            Self::Broker(..) | Self::Noop(Protocol::Remoting) => return load::make_topic(address).await,
            Self::Nats(_) => {
                let requester = nats::connect(address, 1).await?.pop();
                return requester.context("no requester")?.make_stream().await;
            }
            // A master that waits for its slave has none yet.
            Self::Member(..) | Self::NameServer(_) | Self::ApacheNameServer(_) => return Ok(()),
            Self::ApacheBroker(xtask, _) => return xtask.make_queues(address).await,
            Self::Apache { xtask, .. } => {
                xtask.make_queues(other).await?;
                return wait_for_route(address).await;
            }
            Self::Proxy(..) | Self::ApacheProxy(..) => return wait_for_route(address).await,
        }
        Caller::connect(address).await?.query_route().await.map(drop)
    }
}

/// A broker may tell the name server of a new topic after it has said that it is made.
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
