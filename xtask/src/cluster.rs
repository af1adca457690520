//! `gantry nameserver`, `gantry broker` and `gantry proxy` as processes of one run, on free ports.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process::Process;
use crate::{remoting, server};

/// Longest wait for a process to serve.
const WITHIN: Duration = Duration::from_secs(120);
/// The broker's name.
pub(crate) const BROKER: &str = "broker-a";

/// A name server and a broker; killed when dropped.
pub(crate) struct Cluster {
    folder: PathBuf,
    gantry: PathBuf,
    names: Process,
    name_server: SocketAddr,
    broker_address: SocketAddr,
    broker: Option<Process>,
}

impl Cluster {
    /// Starts both, with their data and logs below `folder`; the broker is registered on return.
    pub(crate) fn start(folder: &Path, gantry: &Path) -> Result<Self> {
        let name_server = server::free_address()?;
        let mut command = Command::new(gantry);
        command.args(["nameserver", "--listen", &name_server.to_string(), "--data"]).arg(folder.join("nameserver"));
        let mut names = Process::start("gantry nameserver", command, folder.join("nameserver.log"))?;
        names.wait_until("answers", WITHIN, || remoting::brokers(name_server).is_ok())?;
        let (folder, gantry, broker_address) = (folder.to_owned(), gantry.to_owned(), server::free_address()?);
        let mut cluster = Self { folder, gantry, names, name_server, broker_address, broker: None };
        cluster.restart_broker()?;
        Ok(cluster)
    }

    /// Where the name server listens.
    pub(crate) fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// Where the broker listens.
    pub(crate) fn broker_address(&self) -> SocketAddr {
        self.broker_address
    }

    /// Kills the broker, if there is one, and starts another on what it left; that is registered on return.
    pub(crate) fn restart_broker(&mut self) -> Result<()> {
        self.broker = None;
        let conf = self.folder.join("broker.conf");
        let text = format!(
            "brokerClusterName=DefaultCluster\nbrokerName={BROKER}\nbrokerId=0\nnamesrvAddr={}\nflushDiskType=ASYNC_FLUSH\n\
             mappedFileSizeCommitLog=16777216\ntransactionTimeOut=1000\ntransactionCheckInterval=1000\n\
             # The disk is filled by others.\ndiskMaxUsedSpaceRatio=99\ndiskSpaceWarningLevelRatio=100\nhaListenPort=0\n",
            self.name_server
        );
        fs::write(&conf, text)?;
        let mut command = Command::new(&self.gantry);
        command.args(["broker", "--strict-config", "-c"]).arg(&conf);
        command.args(["--listen", &self.broker_address.to_string(), "--data"]).arg(self.folder.join("data"));
        let mut broker = Process::start("gantry broker", command, self.folder.join("broker.log"))?;
        broker.wait_until("is registered", WITHIN, || self.is_registered())?;
        self.broker = Some(broker);
        Ok(())
    }

    fn is_registered(&self) -> bool {
        let brokers = remoting::brokers(self.name_server);
        brokers.is_ok_and(|brokers| brokers.broker_addr_table.contains_key(BROKER))
    }

    /// Starts a proxy before the broker; it serves at the address on return.
    pub(crate) fn proxy(&self, name: &str) -> Result<(Process, SocketAddr)> {
        let (grpc, http) = (server::free_address()?, server::free_address()?);
        let mut command = Command::new(&self.gantry);
        command.args(["proxy", "--nameserver", &self.name_server.to_string(), "--grpc", &grpc.to_string()]);
        command.args(["--http", &http.to_string(), "--data"]).arg(self.folder.join(name));
        let mut process = Process::start("gantry proxy", command, self.folder.join(format!("{name}.log")))?;
        process.wait_until("answers", WITHIN, || TcpStream::connect(grpc).is_ok())?;
        Ok((process, grpc))
    }

    /// Stops both as an operator would, the broker first.
    ///
    /// # Errors
    /// One did not stop in time, or the broker did not leave the name server.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(broker) = self.broker.take() {
            broker.stop()?;
        }
        ensure!(!self.is_registered(), "a broker that has stopped is still known");
        self.names.stop()
    }
}
