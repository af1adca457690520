//! `gantry nameserver` and `gantry broker` as processes, and the Remoting clients against them, Java's of 4.9.3 and 5.5.0 and Go's: all
//! ways of sending, pulling, pushing, consuming in order, delays, transactions, requests, traces, and a broker that is killed while it is
//! sent to. Then Apache's `mqadmin`. With `--full` Go's clients see the same at Apache's broker.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::java::{self, Programs};
use super::{go, mqadmin, proxy};
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::shell::side_by_side;
use crate::{apache, reference, shell};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(120);
/// Longest wait for a client that sends over a broker's death and reads everything back.
const SURVIVED_WITHIN: Duration = Duration::from_secs(240);
const BROKER: &str = "broker-a";
const OLD_CLIENT: &str = "4.9.3";
/// What clients of each release do.
const SCENARIOS: [&str; 11] = [
    "send",
    "litepull",
    "clustering",
    "broadcasting",
    "later",
    "orderly",
    "delay",
    "transaction",
    "reply",
    "trace",
    "consumertrace",
];
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

/// What these clients need of Apache's broker that is off by default.
pub(super) const APACHE_SETTINGS: &str = "autoCreateTopicEnable=true\n";

/// About a minute and a half.
pub(super) fn run(context: &Context) -> Result<Done> {
    let go = match go::build(context, "broker")? {
        Ok(go) => go,
        Err(skipped) => return Ok(skipped),
    };
    let serve = |programs: &Programs| serve_clients(context, programs, &go);
    java::run(context, "broker", &["Clients", "PopClient"], serve)
}

fn serve_clients(context: &Context, programs: &Programs, go: &Path) -> Result<()> {
    let Programs { folder, classes, log, gantry } = programs;
    let cluster = Cluster::start(folder, gantry, &[BROKER])?;
    let name_server = cluster.name_server();
    let broker = cluster.broker_addresses().first().context("one broker")?.to_string();
    // They wait most of the time.
    let names = name_server.to_string();
    let clients =
        |release| show_java(direct(release, classes)?, &[&["Clients", &names, release], &SCENARIOS[..]].concat(), log);
    let shows: [&(dyn Fn() -> Result<()> + Sync); 4] = [
        &|| show_all_of_go(go, name_server, folder, log, context.is_full),
        &|| clients("new"),
        &|| clients("old"),
        // A push consumer that the broker tells to pop.
        &|| show_java(client("new", classes)?, &["PopClient", &names, &broker], log),
    ];
    side_by_side(shows, |show| show())?;
    let shows: [&(dyn Fn() -> Result<()> + Sync); 3] =
        [&|| survive(folder, gantry, "new", classes), &|| survive(folder, gantry, "old", classes), &|| {
            administer(context, programs, name_server)
        }];
    side_by_side(shows, |show| show())?;
    cluster.stop()
}

/// A program of Java's with what it is told: its name first.
pub(super) fn show_java(mut java: Command, arguments: &[&str], log: &Path) -> Result<()> {
    java.args(arguments);
    let (printed, has_succeeded) = shell::output(&mut java, log)?;
    ensure!(has_succeeded, "{}: {} {printed}", arguments.join(" "), log.display());
    Ok(())
}

fn show_all_of_go(go: &Path, name_server: SocketAddr, folder: &Path, log: &Path, is_full: bool) -> Result<()> {
    let seen = show_go(go, name_server, folder, log)?;
    if is_full {
        let at_apache = show_go_at_apache(go, folder, log)?;
        ensure!(seen == at_apache, "Go's clients see\n{seen}at Apache's broker\n{at_apache}");
    }
    Ok(())
}

/// What Go's clients see.
pub(super) fn show_go(go: &Path, name_server: SocketAddr, folder: &Path, log: &Path) -> Result<String> {
    let mut go = Command::new(go);
    // Where members of a broadcast keep their places.
    go.arg(name_server.to_string()).env("rocketmq.client.localOffsetStoreDir", folder.join("go-offsets"));
    let (printed, has_succeeded) = shell::output(&mut go, log)?;
    ensure!(has_succeeded, "Go's clients: {} {printed}", log.display());
    Ok(printed)
}

fn show_go_at_apache(go: &Path, folder: &Path, log: &Path) -> Result<String> {
    let folder = folder.join("apache");
    fs::create_dir(&folder)?;
    let (_names, name_server) = apache::name_server(&folder)?;
    let settings = format!("{}{APACHE_SETTINGS}", proxy::BROKER_SETTINGS);
    let _broker = apache::broker(&folder, BROKER, &[name_server], &settings)?;
    show_go(go, name_server, &folder, log)
}

/// Java with a release of the client, `old` or `new`.
pub(super) fn client(release: &str, classes: &Path) -> Result<Command> {
    let mut java = match release {
        "old" => reference::java_with_client(OLD_CLIENT, "broker/client", &[classes])?,
        _ => reference::java("broker/client", &[classes])?,
    };
    // Clients look for their queues each 20 s else.
    java.arg("-Drocketmq.client.rebalance.waitInterval=1000");
    Ok(java)
}

/// The same; the old one sends as early ones do by default: to the port two below a broker's.
fn direct(release: &str, classes: &Path) -> Result<Command> {
    let mut java = client(release, classes)?;
    if release == "old" {
        java.arg("-Dcom.rocketmq.sendMessageWithVIPChannel=true");
    }
    Ok(java)
}

/// Kills a broker while a client sends; the client knows what was acknowledged and reads it back.
fn survive(folder: &Path, gantry: &Path, release: &str, classes: &Path) -> Result<()> {
    let folder = folder.join(format!("survive-{release}"));
    fs::create_dir(&folder)?;
    let mut cluster = Cluster::start(&folder, gantry, &[BROKER])?;
    let mut java = direct(release, classes)?;
    java.arg("Clients").args([&cluster.name_server().to_string(), release, "survive"]);
    let log = folder.join("client.log");
    let mut client = Process::start("client", java, log.clone())?;
    let prints = |line: &str| fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|one| one == line));
    for acked in KILL_AT {
        client.wait_until("sends", WITHIN, || prints(&format!("acked {acked}")))?;
        cluster.restart_broker(0)?;
    }
    client.wait_until("reads everything back", SURVIVED_WITHIN, || prints("passed survive"))?;
    cluster.stop()
}

/// Apache's tools print and exit with 0 whatever happens: their words decide.
fn administer(context: &Context, programs: &Programs, name_server: SocketAddr) -> Result<()> {
    let printed = mqadmin::print(context, programs, name_server, &MQADMIN.map(|(command, _)| command))?;
    let blocks = mqadmin::blocks(&printed);
    for (command, words) in MQADMIN {
        let of_command = blocks.get(command).with_context(|| format!("mqadmin {command} was not run"))?.join("\n");
        for word in words {
            ensure!(of_command.contains(word), "mqadmin {command} does not print {word:?}: {of_command}");
        }
    }
    Ok(())
}
