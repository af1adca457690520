//! `gantry nameserver`, `gantry broker` and two `gantry proxy` as processes: the official clients' examples observe what they observe
//! on Apache's, what was popped through a proxy that is killed is acknowledged through the other, and nothing that was acknowledged is
//! lost when the broker is killed.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use remoting_proto::body::SubscriptionGroupConfig;
use remoting_proto::requests::UpdateAndCreateTopic;
use remoting_proto::{Dialect, Fields, RequestCode};

use super::examples;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell;
use crate::workspace::clear;
use crate::{reference, remoting, server};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(120);
const BROKER: &str = "broker-a";
/// Clients that speak for the others: one that shares nothing with Apache's code, and the programs for the kills are its.
const SDKS: [&str; 2] = ["python", "go"];
/// What the proxy does not serve yet.
const NOT_SERVED: &str = "transaction";
const HANDOVER: &str = "handover";
const SURVIVE: &str = "survive";
/// Messages that are sent while the broker is killed.
const SURVIVE_MESSAGES: u32 = 600;
/// The broker is killed when so many of them are acknowledged, each time.
const KILL_AT: [u32; 2] = [100, 350];

/// Processes of one run and where they are.
struct Cluster {
    folder: PathBuf,
    gantry: PathBuf,
    name_server: SocketAddr,
    broker_address: SocketAddr,
    broker: Option<Process>,
}

/// About two minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    for sdk in SDKS {
        if let skipped @ Done::Skipped { .. } = examples::prepare(context, sdk)? {
            return Ok(skipped);
        }
    }
    let log = context.workspace.own("logs/cluster.log")?;
    // A log tells of one run.
    fs::write(&log, "")?;
    let folder = context.workspace.own("cluster")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    show(context, &folder, gantry, &log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

fn show(context: &Context, folder: &Path, gantry: PathBuf, log: &Path) -> Result<()> {
    let name_server = server::free_address()?;
    let mut command = Command::new(&gantry);
    command.args(["nameserver", "--listen", &name_server.to_string(), "--data"]).arg(folder.join("nameserver"));
    let mut names = Process::start("gantry nameserver", command, folder.join("nameserver.log"))?;
    names.wait_until("answers", WITHIN, || remoting::brokers(name_server).is_ok())?;
    let broker_address = server::free_address()?;
    let mut cluster = Cluster { folder: folder.to_owned(), gantry, name_server, broker_address, broker: None };
    cluster.start_broker()?;
    cluster.create_topics()?;
    let (first, first_address) = cluster.proxy("first")?;
    let (second, second_address) = cluster.proxy("second")?;
    std::thread::scope(|scope| {
        let observe = |sdk| scope.spawn(move || examples::observe(context, sdk, first_address, NOT_SERVED, log));
        let running: Vec<_> = SDKS.map(observe).into();
        running.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    cluster.survive(python(context, "tests/cluster/survive.py"), [first_address, second_address])?;
    let mut handover = python(context, "tests/proxy/handover.py");
    handover.args([first_address.to_string(), second_address.to_string(), first.id().to_string()]);
    handover.args([HANDOVER, &format!("{HANDOVER}-group")]);
    let (printed, has_succeeded) = shell::output(&mut handover, log)?;
    ensure!(has_succeeded, "handover: {printed} {}", log.display());
    drop(first);
    second.stop()?;
    if let Some(broker) = cluster.broker.take() {
        broker.stop()?;
    }
    names.stop()
}

/// A program in the environment of the Python example.
fn python(context: &Context, program: &str) -> Command {
    let root = &context.workspace.root;
    let mut command = Command::new(root.join("sdk-examples/python/.venv/bin/python"));
    command.arg(root.join(program));
    command
}

impl Cluster {
    /// Starts the broker, on what the one before left; it is registered on return.
    fn start_broker(&mut self) -> Result<()> {
        // The one before is killed.
        self.broker = None;
        let conf = self.folder.join("broker.conf");
        let text = format!(
            "brokerClusterName=DefaultCluster\nbrokerName={BROKER}\nbrokerId=0\nnamesrvAddr={}\nflushDiskType=ASYNC_FLUSH\n\
             mappedFileSizeCommitLog=16777216\n\
             # The disk is filled by others.\ndiskMaxUsedSpaceRatio=99\ndiskSpaceWarningLevelRatio=100\nhaListenPort=0\n",
            self.name_server
        );
        fs::write(&conf, text)?;
        let mut command = Command::new(&self.gantry);
        command.args(["broker", "--strict-config", "-c"]).arg(&conf);
        command.args(["--listen", &self.broker_address.to_string(), "--data"]).arg(self.folder.join("data"));
        let mut broker = Process::start("gantry broker", command, self.folder.join("broker.log"))?;
        broker.wait_until("is registered", WITHIN, || {
            let brokers = remoting::brokers(self.name_server);
            brokers.is_ok_and(|brokers| brokers.broker_addr_table.contains_key(BROKER))
        })?;
        self.broker = Some(broker);
        Ok(())
    }

    /// Starts a proxy; it serves on return.
    fn proxy(&self, name: &str) -> Result<(Process, SocketAddr)> {
        let (grpc, http) = (server::free_address()?, server::free_address()?);
        let mut command = Command::new(&self.gantry);
        command.args(["proxy", "--nameserver", &self.name_server.to_string(), "--grpc", &grpc.to_string()]);
        command.args(["--http", &http.to_string(), "--data"]).arg(self.folder.join(name));
        let mut process = Process::start("gantry proxy", command, self.folder.join(format!("{name}.log")))?;
        process.wait_until("answers", WITHIN, || TcpStream::connect(grpc).is_ok())?;
        Ok((process, grpc))
    }

    /// What the examples and the kills use.
    fn create_topics(&self) -> Result<()> {
        for sdk in SDKS {
            for (feature, message_type) in reference::FEATURES {
                self.create(&format!("example-{sdk}-{feature}"), message_type)?;
            }
            self.create_group(&format!("example-{sdk}-filter-sql-group"), false)?;
        }
        self.create(HANDOVER, "NORMAL")?;
        self.create(SURVIVE, "NORMAL")
    }

    /// A topic, and a group of the same kind.
    fn create(&self, topic: &str, message_type: &str) -> Result<()> {
        let header = UpdateAndCreateTopic {
            topic: topic.to_owned(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            perm: 6,
            default_topic: None,
            topic_filter_type: None,
            topic_sys_flag: None,
            order: None,
            attributes: Some(format!("+message.type={message_type}")),
        };
        remoting::call(self.broker_address, RequestCode::UpdateAndCreateTopic, header.to_fields(), Bytes::new())?;
        self.create_group(&format!("{topic}-group"), message_type == "FIFO")
    }

    fn create_group(&self, group: &str, consume_message_orderly: bool) -> Result<()> {
        let group_name = group.to_owned();
        let config =
            SubscriptionGroupConfig { group_name, consume_message_orderly, ..SubscriptionGroupConfig::default() };
        let (code, body) =
            (RequestCode::UpdateAndCreateSubscriptionGroup, remoting_proto::to_vec(&config, Dialect::Standard));
        remoting::call(self.broker_address, code, Fields::default(), body.into()).map(drop)
    }

    /// Kills the broker while a client sends and consumes through both proxies; the client knows what was acknowledged.
    fn survive(&mut self, mut command: Command, proxies: [SocketAddr; 2]) -> Result<()> {
        command.args(proxies.map(|address| address.to_string()));
        command.args([SURVIVE, &format!("{SURVIVE}-group"), &SURVIVE_MESSAGES.to_string()]);
        let log = self.folder.join("survive.log");
        let mut client = Process::start("client", command, log.clone())?;
        let prints =
            |start: &str| fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|line| line.starts_with(start)));
        for acked in KILL_AT {
            client.wait_until("sends", WITHIN, || prints(&format!("acked {acked}")))?;
            self.start_broker()?;
        }
        client.wait_until("gets everything", WITHIN, || prints("passed"))
    }
}
