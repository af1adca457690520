//! Apache's name server, broker and proxy as processes of one run, on free ports: [`crate::reference`] is the one that stays up.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::process::Process;
use crate::{reference, remoting, server};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(180);
/// The cluster of all of them.
pub(crate) const CLUSTER: &str = "DefaultCluster";

/// Starts a name server; it answers on return.
pub(crate) fn name_server(folder: &Path) -> Result<(Process, SocketAddr)> {
    let address = server::free_address()?;
    let command = name_server_command(folder, address, "")?;
    let mut process = Process::start("Apache's name server", command, folder.join("namesrv.log"))?;
    process.wait_until("answers", WITHIN, || remoting::brokers(address).is_ok())?;
    Ok((process, address))
}

/// What starts a name server there, with these settings besides its own.
pub(crate) fn name_server_command(folder: &Path, address: SocketAddr, settings: &str) -> Result<Command> {
    let (conf, kv_file) = (folder.join("namesrv.conf"), folder.join("kvConfig.json"));
    let text = format!("listenPort={}\nkvConfigPath={}\n{settings}", address.port(), kv_file.display());
    fs::write(&conf, text)?;
    let mut command = reference::java(&home(folder, "namesrv"), &[])?;
    command.arg("org.apache.rocketmq.namesrv.NamesrvStartup").arg("-c").arg(&conf);
    Ok(command)
}

/// Starts a broker with these settings besides its own; all name servers know it on return.
pub(crate) fn broker(
    folder: &Path,
    name: &'static str,
    name_servers: &[SocketAddr],
    settings: &str,
) -> Result<(Process, SocketAddr)> {
    broker_by(Program::BROKER, folder, name, name_servers, settings)
}

/// The same, by a program that may be another one.
pub(crate) fn broker_by(
    program: Program<'_>,
    folder: &Path,
    name: &'static str,
    name_servers: &[SocketAddr],
    settings: &str,
) -> Result<(Process, SocketAddr)> {
    let at = BrokerAt::free()?;
    let settings = format!("brokerName={name}\n{settings}");
    let mut process = start_broker(program, folder, name, at, name_servers, &settings)?;
    await_registered(&mut process, name, name_servers)?;
    Ok((process, at.address))
}

/// Waits until all name servers know a broker.
pub(crate) fn await_registered(process: &mut Process, name: &str, name_servers: &[SocketAddr]) -> Result<()> {
    name_servers.iter().try_for_each(|name_server| {
        process.wait_until("is registered", WITHIN, || remoting::knows_broker(*name_server, name))
    })
}

/// What is started as a broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    /// The class with `main`.
    pub(crate) class: &'a str,
    /// Where it is, if not in Apache's jars.
    pub(crate) classes: &'a [&'a Path],
}

impl Program<'static> {
    /// Apache's broker as it is.
    pub(crate) const BROKER: Self = Self { class: "org.apache.rocketmq.broker.BrokerStartup", classes: &[] };
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokerAt {
    /// For clients.
    pub(crate) address: SocketAddr,
    /// For its slaves.
    pub(crate) ha_port: u16,
}

impl BrokerAt {
    /// Free ports.
    pub(crate) fn free() -> Result<Self> {
        Ok(Self { address: server::free_broker_address()?, ha_port: server::free_address()?.port() })
    }
}

/// Starts a broker on what it left below `folder` under the name `node`, with these settings besides its own.
pub(crate) fn start_broker(
    program: Program<'_>,
    folder: &Path,
    node: &str,
    at: BrokerAt,
    name_servers: &[SocketAddr],
    settings: &str,
) -> Result<Process> {
    let command = broker_command(program, folder, node, at, name_servers, settings)?;
    Process::start("Apache's broker", command, folder.join(format!("{node}.log")))
}

/// What starts one.
pub(crate) fn broker_command(
    program: Program<'_>,
    folder: &Path,
    node: &str,
    at: BrokerAt,
    name_servers: &[SocketAddr],
    settings: &str,
) -> Result<Command> {
    let BrokerAt { address, ha_port } = at;
    let (store, ip, port) = (folder.join(node), address.ip(), address.port());
    let store = store.display();
    let conf = folder.join(format!("{node}.conf"));
    let text = format!(
        "brokerClusterName={CLUSTER}\nbrokerId=0\nbrokerIP1={ip}\nlistenPort={port}\n\
         haListenPort={ha_port}\nnamesrvAddr={}\nstorePathRootDir={store}\nstorePathCommitLog={store}/commitlog\n\
         autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=true\n\
         # Sends must not be refused while the machine is busy with something else, or its disk filled by others.\n\
         waitTimeMillsInSendQueue=3000\ndiskMaxUsedSpaceRatio=95\nmappedFileSizeCommitLog=16777216\n{settings}",
        list(name_servers)
    );
    fs::write(&conf, text)?;
    let mut command = reference::java(&home(folder, node), program.classes)?;
    command.arg(program.class).arg("-c").arg(&conf);
    Ok(command)
}

/// Starts a proxy in cluster mode; it serves gRPC at the address on return.
pub(crate) fn proxy(folder: &Path, name: &str, name_servers: &[SocketAddr]) -> Result<(Process, SocketAddr)> {
    let (grpc, remoting) = (server::free_address()?, server::free_address()?);
    let command = proxy_command(folder, name, name_servers, grpc, remoting.port())?;
    let log = folder.join(format!("{name}.log"));
    let mut process = Process::start("Apache's proxy", command, log.clone())?;
    await_proxy(&mut process, &log, grpc)?;
    Ok((process, grpc))
}

/// What starts one there.
pub(crate) fn proxy_command(
    folder: &Path,
    name: &str,
    name_servers: &[SocketAddr],
    grpc: SocketAddr,
    remoting_port: u16,
) -> Result<Command> {
    let name_servers = list(name_servers);
    let conf = folder.join(format!("{name}.json"));
    let settings = json!({
        "rocketMQClusterName": CLUSTER,
        "proxyMode": "CLUSTER",
        "localServeAddr": grpc.ip().to_string(),
        "namesrvAddr": name_servers,
        "grpcServerPort": grpc.port(),
        // Clients go where they have gone, be it a balancer.
        "useEndpointPortFromRequest": true,
        "remotingListenPort": remoting_port,
    });
    fs::write(&conf, format!("{settings:#}\n"))?;
    let mut command = reference::java(&home(folder, name), &[])?;
    command.arg("org.apache.rocketmq.proxy.ProxyStartup").args(["-n", &name_servers, "-pm", "cluster", "-pc"]);
    command.arg(&conf);
    Ok(command)
}

/// Waits until a proxy serves.
pub(crate) fn await_proxy(process: &mut Process, log: &Path, grpc: SocketAddr) -> Result<()> {
    // It has no request that says so, but prints this line after its last service has started.
    let is_up = || fs::read_to_string(log).is_ok_and(|text| text.contains("rocketmq-proxy startup successfully"));
    process.wait_until("serves", WITHIN, || is_up() && TcpStream::connect(grpc).is_ok())
}

/// As settings have it.
fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(";")
}

/// Where a process keeps its own log files: one of that name a run, named by the run's folder.
fn home(folder: &Path, name: &str) -> String {
    let run = folder.file_name().unwrap_or_default();
    format!("{}/{name}", run.to_string_lossy())
}
