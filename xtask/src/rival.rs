//! `cargo xtask rival`: for the bench, the servers of others that ours is compared with.
//!
//! What gets something prints where it is on standard output; when it cannot be had here it prints why and fails.
//! Progress goes to standard error. Downloads are kept: NATS's server among our build products, Apache's jars where
//! [`reference`] keeps them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::reference;
use crate::server::free_address;
use crate::shell::{self, To, succeeds};
use crate::workspace::Workspace;

/// NATS's server, built from its Go module.
const NATS_MODULE: &str = "github.com/nats-io/nats-server/v2";
const NATS_VERSION: &str = "v2.15.3";
/// Source: Apache's `bin/runserver.sh`, which starts its proxy.
const APACHE_HEAP: [&str; 2] = ["-Xms4g", "-Xmx4g"];

/// What the bench asks for.
#[derive(Debug, Subcommand)]
pub(crate) enum Rival {
    /// Build NATS's server if need be and print its path
    NatsServer,
    /// Fetch Apache's jars if need be and print their folder
    ApacheJars,
    /// Become Apache's name server
    ApacheNameServer(ApacheNameServer),
    /// Become Apache's proxy in local mode, its broker in the same process
    Apache(Apache),
    /// Become Apache's broker
    ApacheBroker(ApacheBroker),
    /// Become Apache's proxy in cluster mode
    ApacheProxy(ApacheProxy),
    /// Make a topic and a consumer group in Apache's broker
    ApacheQueues(ApacheQueues),
}

/// What belongs to a name server, and where it keeps its files.
#[derive(Debug, Args)]
struct Member {
    /// For its configuration, logs and data
    #[arg(long)]
    directory: PathBuf,
    /// Of the name server
    #[arg(long)]
    name_server: SocketAddr,
}

/// Where the name server listens and keeps its files.
#[derive(Debug, Args)]
pub(crate) struct ApacheNameServer {
    /// For its configuration and data
    #[arg(long)]
    directory: PathBuf,
    /// Its address
    #[arg(long)]
    listen: SocketAddr,
}

/// Where the proxy and its broker listen and keep their files.
#[derive(Debug, Args)]
pub(crate) struct Apache {
    #[command(flatten)]
    member: Member,
    /// Of the proxy
    #[arg(long)]
    grpc: SocketAddr,
    /// Of the broker
    #[arg(long)]
    broker: SocketAddr,
}

/// Where a broker listens and keeps its files.
#[derive(Debug, Args)]
pub(crate) struct ApacheBroker {
    #[command(flatten)]
    member: Member,
    /// Its address
    #[arg(long)]
    listen: SocketAddr,
}

/// Where a proxy listens and keeps its files.
#[derive(Debug, Args)]
pub(crate) struct ApacheProxy {
    #[command(flatten)]
    member: Member,
    /// Its address
    #[arg(long)]
    grpc: SocketAddr,
}

/// A topic and a group.
#[derive(Debug, Args)]
pub(crate) struct ApacheQueues {
    /// Where the broker listens
    #[arg(long)]
    broker: SocketAddr,
    /// The topic's name
    #[arg(long)]
    topic: String,
    /// Its queues
    #[arg(long)]
    queues: u32,
    /// The group's name
    #[arg(long)]
    group: String,
}

/// Does one of them.
///
/// # Errors
/// A program cannot be started or fails.
pub(crate) fn run(rival: &Rival) -> Result<ExitCode> {
    match rival {
        Rival::NatsServer => Ok(tell(nats_server())),
        Rival::ApacheJars => Ok(tell(apache_jars())),
        Rival::ApacheNameServer(name_server) => become_name_server(name_server),
        Rival::Apache(apache) => become_apache(apache),
        Rival::ApacheBroker(broker) => become_broker(broker),
        Rival::ApacheProxy(proxy) => become_proxy(proxy),
        Rival::ApacheQueues(queues) => make_queues(queues),
    }
}

/// Prints a path, or why there is none.
fn tell(path: Result<PathBuf>) -> ExitCode {
    match path {
        Ok(path) => {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn nats_server() -> Result<PathBuf> {
    let folder = Workspace::find()?.own(&format!("nats-server/{NATS_VERSION}"))?;
    let program = folder.join("nats-server");
    // Go puts a program there when it is complete.
    if program.is_file() {
        return Ok(program);
    }
    ensure!(
        succeeds(Command::new("go").arg("version")),
        "go is missing: https://go.dev/dl or apt-get install golang-go"
    );
    eprintln!("rival: building NATS's server {NATS_VERSION} from its Go module, about a minute");
    let mut install = Command::new("go");
    install.arg("install").arg(format!("{NATS_MODULE}@{NATS_VERSION}")).env("GOBIN", &folder);
    // Standard output is for the path.
    install.stdout(std::io::stderr());
    shell::run(&mut install, To::Terminal)?;
    ensure!(program.is_file(), "go has not put a program at {}", program.display());
    Ok(program)
}

fn apache_jars() -> Result<PathBuf> {
    ensure!(
        succeeds(Command::new("java").arg("-version")),
        "java is missing: apt-get install openjdk-17-jdk-headless maven"
    );
    reference::jars()
}

/// Replaces this process, so that whoever started it has the server itself as its child.
fn become_name_server(name_server: &ApacheNameServer) -> Result<ExitCode> {
    let ApacheNameServer { directory, listen } = name_server;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let conf = directory.join("namesrv.properties");
    let kv_file = directory.join("kvConfig.json");
    fs::write(&conf, format!("listenPort={}\nkvConfigPath={}\n", listen.port(), kv_file.display()))?;
    let mut java = reference::java("rival/namesrv", &[])?;
    java.arg("-Xmx256m").arg("org.apache.rocketmq.namesrv.NamesrvStartup").arg("-c").arg(&conf);
    bail!("cannot become java: {}", java.exec())
}

/// The same for proxy and broker in one process.
fn become_apache(apache: &Apache) -> Result<ExitCode> {
    let Apache { member: Member { directory, name_server }, grpc, broker } = apache;
    let proxy_conf = proxy_configuration("LOCAL", directory, *name_server, *grpc)?;
    let broker_conf = directory.join("broker.conf");
    fs::write(&broker_conf, broker_configuration(*broker, &directory.join("store"))?)?;
    let mut java = reference::java("rival/proxy", &[])?;
    java.args(APACHE_HEAP).arg("org.apache.rocketmq.proxy.ProxyStartup").args(["-pm", "local", "-pc"]).arg(&proxy_conf);
    java.arg("-bc").arg(&broker_conf);
    bail!("cannot become java: {}", java.exec())
}

/// The same for a broker of its own.
fn become_broker(broker: &ApacheBroker) -> Result<ExitCode> {
    let ApacheBroker { member: Member { directory, name_server }, listen } = broker;
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let conf = directory.join("broker.conf");
    fs::write(&conf, broker_configuration(*listen, &directory.join("store"))?)?;
    let mut java = reference::java("rival/cluster-broker", &[])?;
    java.args(APACHE_HEAP).arg("org.apache.rocketmq.broker.BrokerStartup");
    java.args(["-n", &name_server.to_string(), "-c"]).arg(&conf);
    bail!("cannot become java: {}", java.exec())
}

/// The same for a proxy of its own.
fn become_proxy(proxy: &ApacheProxy) -> Result<ExitCode> {
    let ApacheProxy { member: Member { directory, name_server }, grpc } = proxy;
    let conf = proxy_configuration("CLUSTER", directory, *name_server, *grpc)?;
    let mut java = reference::java("rival/cluster-proxy", &[])?;
    java.args(APACHE_HEAP).arg("org.apache.rocketmq.proxy.ProxyStartup").args(["-pm", "cluster"]);
    java.args(["-n", &name_server.to_string(), "-pc"]).arg(&conf);
    bail!("cannot become java: {}", java.exec())
}

/// Writes what a proxy is told; returns where.
fn proxy_configuration(mode: &str, directory: &Path, name_server: SocketAddr, grpc: SocketAddr) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    let proxy = json!({
        "rocketMQClusterName": "DefaultCluster",
        "proxyMode": mode,
        "localServeAddr": "127.0.0.1",
        // Even in local mode it asks one for routes.
        "namesrvAddr": name_server.to_string(),
        "grpcServerPort": grpc.port(),
        "remotingListenPort": free_address()?.port(),
    });
    let conf = directory.join("rmq-proxy.json");
    fs::write(&conf, format!("{proxy:#}\n"))?;
    Ok(conf)
}

/// Apache's own defaults but for where things are: async flush, and files of a size that suits a run.
fn broker_configuration(broker: SocketAddr, store: &Path) -> Result<String> {
    let (broker, ha, store) = (broker.port(), free_address()?.port(), store.display());
    Ok(format!(
        "brokerClusterName=DefaultCluster\nbrokerName=rival\nbrokerId=0\nbrokerIP1=127.0.0.1\nbrokerIP2=127.0.0.1\n\
         listenPort={broker}\nhaListenPort={ha}\nstorePathRootDir={store}\nstorePathCommitLog={store}/commitlog\n\
         flushDiskType=ASYNC_FLUSH\nautoCreateTopicEnable=false\n\
         # The default of 200 ms refuses sends while the machine is busy with something else.\n\
         waitTimeMillsInSendQueue=3000\n\
         # No refusal of writes on a disk that others have filled.\ndiskMaxUsedSpaceRatio=95\n"
    ))
}

/// Two runs of Apache's admin tool, each a JVM's start.
fn make_queues(queues: &ApacheQueues) -> Result<ExitCode> {
    let (broker, count) = (queues.broker.to_string(), queues.queues.to_string());
    mqadmin(&["updateTopic", "-b", &broker, "-t", &queues.topic, "-r", &count, "-w", &count])?;
    mqadmin(&["updateSubGroup", "-b", &broker, "-g", &queues.group])?;
    Ok(ExitCode::SUCCESS)
}

/// Its exit code is 0 even when it fails, so its words decide.
fn mqadmin(arguments: &[&str]) -> Result<()> {
    let mut java = reference::java("rival/mqadmin", &[])?;
    java.arg("-XX:TieredStopAtLevel=1").arg("org.apache.rocketmq.tools.command.MQAdminStartup").args(arguments);
    let output = java.output().context("cannot run java")?;
    let (words, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(words.contains("success"), "mqadmin {} did not succeed: {words}{errors}", arguments.join(" "));
    Ok(())
}
