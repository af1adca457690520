//! `gantry nameserver`, `gantry broker` and `gantry proxy` as processes of one run, on free ports.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::process::Process;
use crate::{remoting, server};

/// Where a proxy's Remoting clients come.
pub(crate) const REMOTING: &str = "--remoting";
/// Longest wait for a process to serve.
const WITHIN: Duration = Duration::from_secs(120);

/// Name servers and brokers; killed when dropped.
pub(crate) struct Cluster {
    folder: PathBuf,
    gantry: PathBuf,
    name_servers: Vec<NameServer>,
    brokers: Vec<Broker>,
}

struct NameServer {
    address: SocketAddr,
    process: Option<Process>,
}

struct Broker {
    name: &'static str,
    address: SocketAddr,
    process: Option<Process>,
}

impl Cluster {
    /// Starts them with one name server, with their data and logs below `folder`; brokers of these names are registered on return.
    pub(crate) fn start(folder: &Path, gantry: &Path, brokers: &[&'static str]) -> Result<Self> {
        Self::start_with(folder, gantry, 1, brokers)
    }

    /// The same with more name servers.
    pub(crate) fn start_with(
        folder: &Path,
        gantry: &Path,
        name_servers: usize,
        brokers: &[&'static str],
    ) -> Result<Self> {
        let (folder, gantry) = (folder.to_owned(), gantry.to_owned());
        let mut cluster = Self { folder, gantry, name_servers: Vec::new(), brokers: Vec::new() };
        for index in 0..name_servers {
            cluster.name_servers.push(NameServer { address: server::free_address()?, process: None });
            cluster.restart_name_server(index)?;
        }
        for name in brokers {
            cluster.add_broker(name)?;
        }
        Ok(cluster)
    }

    /// Where the first name server listens.
    pub(crate) fn name_server(&self) -> SocketAddr {
        self.name_servers[0].address
    }

    /// Where all name servers listen, as it is written in settings.
    fn name_server_list(&self) -> String {
        let addresses: Vec<_> = self.name_servers.iter().map(|name_server| name_server.address.to_string()).collect();
        addresses.join(";")
    }

    /// Kills a name server.
    pub(crate) fn kill_name_server(&mut self, index: usize) {
        // It is killed when it is dropped.
        self.name_servers[index].process = None;
    }

    /// Kills a name server, if it runs, and starts another in its place, which answers on return and knows no broker yet.
    pub(crate) fn restart_name_server(&mut self, index: usize) -> Result<()> {
        self.kill_name_server(index);
        let address = self.name_servers[index].address;
        let name = format!("nameserver-{index}");
        let mut command = Command::new(&self.gantry);
        command.args(["nameserver", "--listen", &address.to_string(), "--data"]).arg(self.folder.join(&name));
        let mut process = Process::start("gantry nameserver", command, self.folder.join(format!("{name}.log")))?;
        process.wait_until("answers", WITHIN, || remoting::brokers(address).is_ok())?;
        self.name_servers[index].process = Some(process);
        Ok(())
    }

    /// Where the brokers listen.
    pub(crate) fn broker_addresses(&self) -> Vec<SocketAddr> {
        self.brokers.iter().map(|broker| broker.address).collect()
    }

    /// Starts one more; it is registered on return. Answers its place.
    pub(crate) fn add_broker(&mut self, name: &'static str) -> Result<usize> {
        self.brokers.push(Broker { name, address: server::free_broker_address()?, process: None });
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
        ensure!(!remoting::knows_broker(self.name_server(), name), "{name} has stopped and is still known");
        Ok(())
    }

    /// Kills a broker; the name server does not know it on return.
    pub(crate) fn kill_broker(&mut self, index: usize) -> Result<()> {
        let Broker { name, process, .. } = &mut self.brokers[index];
        // It is killed when it is dropped.
        *process = None;
        let [NameServer { address, process: Some(first) }, ..] = &mut self.name_servers[..] else {
            bail!("the first name server does not run");
        };
        first.wait_until("forgets a broker", WITHIN, || !remoting::knows_broker(*address, name))
    }

    /// Kills a broker, if it runs, and starts another on what it left; that is registered on return.
    pub(crate) fn restart_broker(&mut self, index: usize) -> Result<()> {
        // Else it would count as registered because of the one before.
        self.kill_broker(index)?;
        let Broker { name, address, .. } = self.brokers[index];
        let conf = self.folder.join(format!("{name}.conf"));
        fs::write(&conf, broker_configuration(name, &self.name_server_list()))?;
        let mut command = Command::new(&self.gantry);
        command.args(["broker", "--strict-config", "-c"]).arg(&conf);
        command.args(["--listen", &address.to_string(), "--data"]).arg(self.folder.join(name));
        let mut broker = Process::start("gantry broker", command, self.folder.join(format!("{name}.log")))?;
        let knows = |name_server: &NameServer| remoting::knows_broker(name_server.address, name);
        broker.wait_until("is registered", WITHIN, || self.name_servers.iter().all(knows))?;
        self.brokers[index].process = Some(broker);
        Ok(())
    }

    /// Starts a proxy before the brokers; it serves at the address on return.
    pub(crate) fn proxy(&self, name: &str) -> Result<(Process, SocketAddr)> {
        proxy(&self.folder, &self.gantry, name, &self.name_server_list())
    }

    /// The same at these addresses, with more settings.
    pub(crate) fn proxy_at(
        &self,
        name: &str,
        grpc: SocketAddr,
        http: SocketAddr,
        settings: &[&str],
    ) -> Result<Process> {
        proxy_at(&self.folder, &self.gantry, name, &self.name_server_list(), (grpc, http), settings)
    }

    /// Stops a proxy as an operator would and starts it again where it was.
    pub(crate) fn restart_proxy(&self, name: &str, process: Process, grpc: SocketAddr) -> Result<Process> {
        process.stop()?;
        self.start_proxy(name, grpc)
    }

    /// Starts a proxy where clients know it.
    pub(crate) fn start_proxy(&self, name: &str, grpc: SocketAddr) -> Result<Process> {
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
        self.name_servers.into_iter().filter_map(|name_server| name_server.process).try_for_each(Process::stop)
    }
}

/// The `broker.conf` of a broker, known to these name servers, `HOST:PORT` with semicolons between them.
pub(crate) fn broker_configuration(name: &str, name_servers: &str) -> String {
    format!(
        "brokerClusterName=DefaultCluster\nbrokerName={name}\nbrokerId=0\nnamesrvAddr={name_servers}\nflushDiskType=ASYNC_FLUSH\n\
         mappedFileSizeCommitLog=16777216\ntransactionTimeOut=2000\ntransactionCheckInterval=3000\n\
         # The disk is filled by others.\ndiskMaxUsedSpaceRatio=99\ndiskSpaceWarningLevelRatio=100\nhaListenPort=0\n"
    )
}

/// Starts a proxy before the brokers of name servers (`HOST:PORT` with semicolons between them), with its data and log below `folder`; it serves at the address on return.
pub(crate) fn proxy(folder: &Path, gantry: &Path, name: &str, name_servers: &str) -> Result<(Process, SocketAddr)> {
    let (grpc, http) = (server::free_address()?, server::free_address()?);
    Ok((proxy_at(folder, gantry, name, name_servers, (grpc, http), &[])?, grpc))
}

fn proxy_at(
    folder: &Path,
    gantry: &Path,
    name: &str,
    name_servers: &str,
    (grpc, http): (SocketAddr, SocketAddr),
    settings: &[&str],
) -> Result<Process> {
    let command = proxy_command(folder, gantry, name, name_servers, (grpc, http), settings);
    let mut process = Process::start("gantry proxy", command, folder.join(format!("{name}.log")))?;
    process.wait_until("answers", WITHIN, || TcpStream::connect(grpc).is_ok())?;
    Ok(process)
}

/// What starts a proxy there, as [`proxy`].
pub(crate) fn proxy_command(
    folder: &Path,
    gantry: &Path,
    name: &str,
    name_servers: &str,
    (grpc, http): (SocketAddr, SocketAddr),
    settings: &[&str],
) -> Command {
    let mut command = Command::new(gantry);
    command.args(["proxy", "--nameserver", name_servers, "--grpc", &grpc.to_string()]);
    command.args(["--http", &http.to_string(), "--data"]).arg(folder.join(name)).args(settings);
    if !settings.contains(&REMOTING) {
        // The usual port is one proxy's.
        command.args([REMOTING, "off"]);
    }
    command
}
