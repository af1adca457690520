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
/// A name server and brokers; killed when dropped.
pub(crate) struct Cluster {
    folder: PathBuf,
    gantry: PathBuf,
    names: Process,
    name_server: SocketAddr,
    brokers: Vec<Broker>,
}

struct Broker {
    name: &'static str,
    address: SocketAddr,
    process: Option<Process>,
}

impl Cluster {
    /// Starts them, with their data and logs below `folder`; brokers of these names are registered on return.
    pub(crate) fn start(folder: &Path, gantry: &Path, brokers: &[&'static str]) -> Result<Self> {
        let name_server = server::free_address()?;
        let mut command = Command::new(gantry);
        command.args(["nameserver", "--listen", &name_server.to_string(), "--data"]).arg(folder.join("nameserver"));
        let mut names = Process::start("gantry nameserver", command, folder.join("nameserver.log"))?;
        names.wait_until("answers", WITHIN, || remoting::brokers(name_server).is_ok())?;
        let (folder, gantry) = (folder.to_owned(), gantry.to_owned());
        let mut cluster = Self { folder, gantry, names, name_server, brokers: Vec::new() };
        for name in brokers {
            cluster.add_broker(name)?;
        }
        Ok(cluster)
    }

    /// Where the name server listens.
    pub(crate) fn name_server(&self) -> SocketAddr {
        self.name_server
    }

    /// Where the brokers listen.
    pub(crate) fn broker_addresses(&self) -> Vec<SocketAddr> {
        self.brokers.iter().map(|broker| broker.address).collect()
    }

    /// Starts one more; it is registered on return. Answers its place.
    pub(crate) fn add_broker(&mut self, name: &'static str) -> Result<usize> {
        self.brokers.push(Broker { name, address: server::free_address()?, process: None });
        let index = self.brokers.len() - 1;
        self.restart_broker(index)?;
        Ok(index)
    }

    /// Stops a broker as an operator would, for good.
    ///
    /// # Errors
    /// It did not stop in time, or did not leave the name server.
    pub(crate) fn remove_broker(&mut self, index: usize) -> Result<()> {
        let Broker { name, process, .. } = self.brokers.remove(index);
        process.map_or(Ok(()), Process::stop)?;
        ensure!(!remoting::knows_broker(self.name_server, name), "{name} has stopped and is still known");
        Ok(())
    }

    /// Kills a broker; the name server does not know it on return.
    pub(crate) fn kill_broker(&mut self, index: usize) -> Result<()> {
        let Broker { name, process, .. } = &mut self.brokers[index];
        // It is killed when it is dropped.
        *process = None;
        let name_server = self.name_server;
        self.names.wait_until("forgets a broker", WITHIN, || !remoting::knows_broker(name_server, name))
    }

    /// Kills a broker, if it runs, and starts another on what it left; that is registered on return.
    pub(crate) fn restart_broker(&mut self, index: usize) -> Result<()> {
        let Broker { name, address, process } = &mut self.brokers[index];
        let (name, address) = (*name, *address);
        *process = None;
        let conf = self.folder.join(format!("{name}.conf"));
        let text = format!(
            "brokerClusterName=DefaultCluster\nbrokerName={name}\nbrokerId=0\nnamesrvAddr={}\nflushDiskType=ASYNC_FLUSH\n\
             mappedFileSizeCommitLog=16777216\ntransactionTimeOut=2000\ntransactionCheckInterval=3000\n\
             # The disk is filled by others.\ndiskMaxUsedSpaceRatio=99\ndiskSpaceWarningLevelRatio=100\nhaListenPort=0\n",
            self.name_server
        );
        fs::write(&conf, text)?;
        let mut command = Command::new(&self.gantry);
        command.args(["broker", "--strict-config", "-c"]).arg(&conf);
        command.args(["--listen", &address.to_string(), "--data"]).arg(self.folder.join(name));
        let mut broker = Process::start("gantry broker", command, self.folder.join(format!("{name}.log")))?;
        broker.wait_until("is registered", WITHIN, || remoting::knows_broker(self.name_server, name))?;
        self.brokers[index].process = Some(broker);
        Ok(())
    }

    /// Starts a proxy before the brokers; it serves at the address on return.
    pub(crate) fn proxy(&self, name: &str) -> Result<(Process, SocketAddr)> {
        proxy(&self.folder, &self.gantry, name, self.name_server)
    }

    /// The same at these addresses, with more settings.
    pub(crate) fn proxy_at(
        &self,
        name: &str,
        grpc: SocketAddr,
        http: SocketAddr,
        settings: &[&str],
    ) -> Result<Process> {
        proxy_at(&self.folder, &self.gantry, name, self.name_server, (grpc, http), settings)
    }

    /// Stops a proxy as an operator would and starts it again where it was.
    pub(crate) fn restart_proxy(&self, name: &str, process: Process, grpc: SocketAddr) -> Result<Process> {
        process.stop()?;
        self.proxy_at(name, grpc, server::free_address()?, &[])
    }

    /// Stops all as an operator would, the brokers first.
    ///
    /// # Errors
    /// One did not stop in time, or a broker did not leave the name server.
    pub(crate) fn stop(mut self) -> Result<()> {
        while !self.brokers.is_empty() {
            self.remove_broker(0)?;
        }
        self.names.stop()
    }
}

/// Starts a proxy before the brokers of a name server, with its data and log below `folder`; it serves at the address on return.
pub(crate) fn proxy(
    folder: &Path,
    gantry: &Path,
    name: &str,
    name_server: SocketAddr,
) -> Result<(Process, SocketAddr)> {
    let (grpc, http) = (server::free_address()?, server::free_address()?);
    Ok((proxy_at(folder, gantry, name, name_server, (grpc, http), &[])?, grpc))
}

fn proxy_at(
    folder: &Path,
    gantry: &Path,
    name: &str,
    name_server: SocketAddr,
    (grpc, http): (SocketAddr, SocketAddr),
    settings: &[&str],
) -> Result<Process> {
    let mut command = Command::new(gantry);
    command.args(["proxy", "--nameserver", &name_server.to_string(), "--grpc", &grpc.to_string()]);
    command.args(["--http", &http.to_string(), "--data"]).arg(folder.join(name)).args(settings);
    let mut process = Process::start("gantry proxy", command, folder.join(format!("{name}.log")))?;
    process.wait_until("answers", WITHIN, || TcpStream::connect(grpc).is_ok())?;
    Ok(process)
}
