//! `gantry nameserver` and `gantry broker` as processes, and the Remoting clients of 4.9.3 and 5.5.0 against them: all ways of sending,
//! pulling, pushing, consuming in order, delays, transactions, and a broker that is killed while it is sent to. Then Apache's
//! `mqadmin`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell::{self, To};
use crate::workspace::clear;
use crate::{reference, remoting, server};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(120);
/// Longest wait for a client that sends over a broker's death and reads everything back.
const SURVIVED_WITHIN: Duration = Duration::from_secs(240);
const BROKER: &str = "broker-a";
const OLD_CLIENT: &str = "4.9.3";
/// What clients of each release do.
const SCENARIOS: [&str; 8] =
    ["send", "litepull", "clustering", "broadcasting", "later", "orderly", "delay", "transaction"];
/// The broker is killed when so many messages are acknowledged, each time.
const KILL_AT: [u32; 2] = [500, 1500];

/// `mqadmin` commands, each with words that it must print.
const MQADMIN: [(&str, &[&str]); 8] = [
    ("clusterList", &["DefaultCluster", BROKER, "V5_5_0"]),
    ("updateTopic -c DefaultCluster -t made -r 4 -w 4", &["create topic to", "success"]),
    ("topicList", &["made", "new-send", "%RETRY%new-clustering"]),
    ("topicStatus -t new-send", &[BROKER]),
    ("topicRoute -t made", &["\"writeQueueNums\":4"]),
    ("updateSubGroup -c DefaultCluster -g made-group", &["success"]),
    ("consumerProgress -g new-clustering", &["%RETRY%new-clustering", "Consume Diff Total: 0"]),
    ("deleteTopic -c DefaultCluster -t made", &["success"]),
];

/// Processes of one run and where they are.
struct Cluster {
    folder: PathBuf,
    gantry: PathBuf,
    name_server: SocketAddr,
    broker_address: SocketAddr,
    broker: Option<Process>,
}

/// About five minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    if !shell::succeeds(Command::new("javac").arg("-version")) {
        let reason = "javac is missing: apt-get install openjdk-17-jdk-headless maven".to_owned();
        return Ok(Done::Skipped { reason });
    }
    let jars = match reference::jars() {
        Ok(jars) => jars,
        Err(error) => return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") }),
    };
    let folder = context.workspace.own("broker")?;
    clear(&folder)?;
    let log = context.workspace.own("logs/broker.log")?;
    // A log tells of one run.
    fs::write(&log, "")?;
    let classes = folder.join("classes");
    let source = context.workspace.root.join("tests/broker/java/Clients.java");
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-d"]).arg(&classes).arg("-cp").arg(jars.join("*")).arg(source);
    shell::run(&mut javac, To::File(&log))?;
    let gantry = server::build(context)?;
    serve_clients(&folder, gantry, &classes, &log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

fn serve_clients(folder: &Path, gantry: PathBuf, classes: &Path, log: &Path) -> Result<()> {
    let name_server = server::free_address()?;
    let mut command = Command::new(&gantry);
    command.args(["nameserver", "--listen", &name_server.to_string(), "--data"]).arg(folder.join("nameserver"));
    let mut names = Process::start("gantry nameserver", command, folder.join("nameserver.log"))?;
    names.wait_until("answers", WITHIN, || remoting::brokers(name_server).is_ok())?;
    let broker_address = server::free_address()?;
    let mut cluster = Cluster { folder: folder.to_owned(), gantry, name_server, broker_address, broker: None };
    cluster.start_broker()?;
    for release in ["new", "old"] {
        let mut java = client(release, classes)?;
        java.arg("Clients").args([&name_server.to_string(), release]).args(SCENARIOS);
        let (printed, has_succeeded) = shell::output(&mut java, log)?;
        ensure!(has_succeeded, "client {release}: {} {printed}", log.display());
    }
    for release in ["new", "old"] {
        cluster.survive(release, classes)?;
    }
    administer(name_server, log)?;
    if let Some(broker) = cluster.broker.take() {
        broker.stop()?;
    }
    ensure!(!cluster.is_registered(), "a broker that has stopped is still known");
    names.stop()
}

fn client(release: &str, classes: &Path) -> Result<Command> {
    let mut java = match release {
        "old" => reference::java_with_client(OLD_CLIENT, "broker/client", &[classes])?,
        _ => reference::java("broker/client", &[classes])?,
    };
    // Clients look for their queues each 20 s else.
    java.arg("-Drocketmq.client.rebalance.waitInterval=1000");
    Ok(java)
}

impl Cluster {
    fn start_broker(&mut self) -> Result<()> {
        // The one before has ended.
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

    /// Kills the broker while a client sends; the client knows what was acknowledged and reads it back.
    fn survive(&mut self, release: &str, classes: &Path) -> Result<()> {
        let mut java = client(release, classes)?;
        java.arg("Clients").args([&self.name_server.to_string(), release, "survive"]);
        let log = self.folder.join(format!("survive-{release}.log"));
        let mut client = Process::start("client", java, log.clone())?;
        let prints = |line: &str| fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|one| one == line));
        for acked in KILL_AT {
            client.wait_until("sends", WITHIN, || prints(&format!("acked {acked}")))?;
            self.start_broker()?;
        }
        client.wait_until("reads everything back", SURVIVED_WITHIN, || prints("passed survive"))
    }
}

/// Apache's tools print and exit with 0 whatever happens: their words decide.
fn administer(name_server: SocketAddr, log: &Path) -> Result<()> {
    for (command, words) in MQADMIN {
        let mut mqadmin = reference::java("broker/mqadmin", &[])?;
        mqadmin.arg("org.apache.rocketmq.tools.command.MQAdminStartup").args(command.split(' '));
        mqadmin.args(["-n", &name_server.to_string()]);
        let (printed, _) = shell::output(&mut mqadmin, log)?;
        for word in words {
            ensure!(printed.contains(word), "mqadmin {command} does not print {word:?}: {printed}");
        }
    }
    Ok(())
}
