//! `gantry proxy` in front of Apache's broker, which is registered at `gantry nameserver`: the official clients' examples pass,
//! what a slow consumer has is prolonged, and when a proxy is killed another goes on with what was popped and with the transactions that
//! were begun through it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::nameserver;
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell::{self, To};
use crate::workspace::clear;
use crate::{reference, server};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(180);
const CLUSTER: &str = "DefaultCluster";
/// What the examples need of Apache's broker that is off by default; and producers are asked after seconds instead of half a minute.
const BROKER_SETTINGS: &str = "enablePropertyFilter=true\ntimerWheelEnable=true\nrecallMessageEnable=true\n\
                               transactionTimeOut=3000\ntransactionCheckInterval=3000\n";
/// Clients that speak for the others: one that shares nothing with Apache's code, and the program for the handover is its.
const SDKS: [&str; 2] = ["python", "go"];
/// Topics of the handover.
pub(super) const HANDOVER: &str = "handover";
pub(super) const DEALS: &str = "handover-deals";
const PROLONGED: &str = "prolonged";

/// About three minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    if let Err(error) = reference::jars() {
        return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") });
    }
    let log = context.workspace.own("logs/proxy.log")?;
    // A log tells of one run.
    fs::write(&log, "")?;
    for sdk in SDKS {
        let mut setup = Command::new("./setup");
        if shell::run(setup.current_dir(example(context, sdk)), To::File(&log)).is_err() {
            let reason = shell::tail(&log, 1).pop().unwrap_or_default();
            return Ok(Done::Skipped { reason: format!("{reason} (all of it: {})", log.display()) });
        }
    }
    let folder = context.workspace.own("proxy")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    show(context, &folder, &gantry, &log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

fn example(context: &Context, sdk: &str) -> std::path::PathBuf {
    context.workspace.root.join("sdk-examples").join(sdk)
}

fn show(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let cluster = Cluster::start(folder, gantry, &[])?;
    let name_server = cluster.name_server();
    let conf = folder.join("broker.conf");
    fs::write(&conf, nameserver::broker_conf(folder, &name_server.to_string())? + BROKER_SETTINGS)?;
    let mut command = reference::java("proxy/broker", &[])?;
    command.arg("org.apache.rocketmq.broker.BrokerStartup").arg("-c").arg(&conf);
    let mut broker = Process::start("broker", command, folder.join("broker.log"))?;
    broker.wait_until("is registered", WITHIN, || nameserver::knows_broker(name_server).unwrap_or(false))?;
    create_topics(folder, name_server, log)?;

    let (first, first_address) = cluster.proxy("first")?;
    let (second, second_address) = cluster.proxy("second")?;
    // Beside all else: it takes two minutes.
    let mut prolonged = python(context, "prolonged.py");
    prolonged.args([&second_address.to_string(), PROLONGED]);
    let prolonged = Process::start("a slow consumer", prolonged, folder.join("prolonged.log"))?;
    // They wait most of the time.
    std::thread::scope(|scope| {
        let shown = SDKS.map(|sdk| scope.spawn(move || show_sdk(context, sdk, first_address, log)));
        shown.into_iter().try_for_each(|shown| shown.join().expect("it does not panic"))
    })?;
    hand_over(context, [first_address, second_address], first.id(), log)?;
    prolonged.finish(WITHIN)?;
    drop(first);
    second.stop()?;
    drop(broker);
    cluster.stop()
}

/// All features of an SDK's example, one after the other.
fn show_sdk(context: &Context, sdk: &str, proxy: SocketAddr, log: &Path) -> Result<()> {
    for (feature, _) in reference::FEATURES {
        let mut run = Command::new("./run");
        run.args([feature, "--endpoint", &proxy.to_string()]).current_dir(example(context, sdk));
        let (printed, has_succeeded) = shell::output(&mut run, log)?;
        ensure!(has_succeeded, "{sdk} {feature}: {printed} {}", log.display());
    }
    Ok(())
}

/// Pops and begins a transaction through the first proxy, whose process is killed; acknowledges and commits through the second.
pub(super) fn hand_over(context: &Context, proxies: [SocketAddr; 2], first: u32, log: &Path) -> Result<()> {
    let mut handover = python(context, "handover.py");
    handover.args(proxies.map(|address| address.to_string()));
    handover.args([&first.to_string(), HANDOVER, DEALS]);
    let (printed, has_succeeded) = shell::output(&mut handover, log)?;
    ensure!(has_succeeded, "handover: {printed} {}", log.display());
    Ok(())
}

/// A program of ours in the Python example's environment.
pub(super) fn python(context: &Context, program: &str) -> Command {
    let mut command = Command::new(example(context, "python").join(".venv/bin/python"));
    command.arg(context.workspace.root.join("tests/proxy").join(program));
    command
}

/// What the examples and the handover use, at our name server's broker.
fn create_topics(folder: &Path, name_server: SocketAddr, log: &Path) -> Result<()> {
    let (mut topics, mut groups) = (Vec::new(), Vec::new());
    let mut add = |name: &str, message_type: &str| {
        topics.push(json!({
            "topicName": name, "readQueueNums": 4, "writeQueueNums": 4, "perm": 6,
            "attributes": { "+message.type": message_type },
        }));
        groups.push(json!({ "groupName": format!("{name}-group"), "consumeMessageOrderly": message_type == "FIFO" }));
    };
    for sdk in SDKS {
        for (feature, message_type) in reference::FEATURES {
            add(&format!("example-{sdk}-{feature}"), message_type);
        }
    }
    add(HANDOVER, "NORMAL");
    add(DEALS, "TRANSACTION");
    add(PROLONGED, "NORMAL");
    for sdk in SDKS {
        groups.push(json!({ "groupName": format!("example-{sdk}-filter-sql-group") }));
    }
    for (command, name, list) in
        [("updateTopicList", "topics.json", topics), ("updateSubGroupList", "groups.json", groups)]
    {
        let file = folder.join(name);
        fs::write(&file, serde_json::to_vec(&list)?)?;
        let mut mqadmin = reference::java("proxy/mqadmin", &[])?;
        mqadmin.args(["org.apache.rocketmq.tools.command.MQAdminStartup", command]);
        mqadmin.args(["-n", &name_server.to_string(), "-c", CLUSTER, "-f"]).arg(&file);
        let (printed, has_succeeded) = shell::output(&mut mqadmin, log)?;
        ensure!(has_succeeded && printed.contains("success"), "mqadmin {command}: {printed} {}", log.display());
    }
    Ok(())
}
