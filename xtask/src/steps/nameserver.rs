//! `gantry nameserver` beside Apache's: one broker of Apache's registers with both, `mqadmin` is asked the same of both and must
//! print the same, and Apache's Remoting client finds its broker through either; through ours also one of 4.9.3, and one that writes
//! binary headers over TLS. A slave of Apache's without its master is shown by both as one that stands in for it. Then the broker is killed,
//! and both forget it.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use remoting_proto::body::TopicRouteData;
use remoting_proto::requests::GetRouteInfo;
use remoting_proto::{Fields, RequestCode};

use super::java::{self, Programs};
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::{apache, reference, remoting, server, shell};

/// Longest wait for a process to do its work, or for a name server to know something.
const WITHIN: Duration = Duration::from_secs(120);

const BROKER: &str = "broker-a";
/// The name of a slave whose master is away.
const SLAVE: &str = "broker-s";
/// A client of before 4.9.4: it is answered in fastjson's dialect.
const OLD_CLIENT: &str = "4.9.3";

/// What both are asked, in this order. Whatever is changed on one is changed on the other before the next.
const STEPS: [&str; 31] = [
    "await SELF_TEST_TOPIC",
    "mqadmin clusterList",
    "mqadmin topicList",
    "mqadmin topicList -c",
    "mqadmin updateTopic -c DefaultCluster -t compared -r 4 -w 4",
    "await compared",
    "mqadmin topicRoute -t compared",
    "mqadmin topicRoute -l -t compared",
    "mqadmin topicRoute -t missing",
    "mqadmin topicClusterList -t compared",
    "mqadmin topicStatus -t compared",
    "roundtrip compared",
    "mqadmin updateOrderConf -m put -t compared -v broker-a:4",
    "mqadmin updateOrderConf -m get -t compared",
    "mqadmin updateOrderConf -m delete -t compared",
    "mqadmin updateOrderConf -m get -t compared",
    "mqadmin updateKvConfig -s space -k key -v value",
    "mqadmin deleteKvConfig -s space -k key",
    "mqadmin wipeWritePerm -b broker-a",
    "mqadmin topicRoute -t compared",
    "mqadmin addWritePerm -b broker-a",
    "mqadmin topicRoute -t compared",
    "mqadmin updateNamesrvConfig -k orderMessageEnable -v true",
    "mqadmin updateNamesrvConfig -k kvConfigPath -v elsewhere",
    "mqadmin updateOrderConf -m put -t compared -v broker-a:4",
    "mqadmin topicRoute -t compared",
    "mqadmin updateTopic -c DefaultCluster -t gone -r 1 -w 1",
    "await gone",
    "mqadmin deleteTopic -c DefaultCluster -t gone",
    "mqadmin topicRoute -t gone",
    "mqadmin topicList",
];

/// About a minute.
pub(super) fn run(context: &Context) -> Result<Done> {
    java::run(context, "nameserver", &["Ask", "Roundtrip"], compare_both)
}

fn compare_both(Programs { folder, classes, log, gantry }: &Programs) -> Result<()> {
    let ours = server::free_address()?;
    let mut nameserver = Command::new(gantry);
    nameserver.args(["nameserver", "--listen", &ours.to_string(), "--data"]).arg(folder.join("data"));
    let mut nameserver = Process::start("gantry", nameserver, folder.join("gantry.log"))?;
    nameserver.wait_until("answers", WITHIN, || remoting::brokers(ours).is_ok())?;

    let (_namesrv, apaches) = apache::name_server(folder)?;
    let (broker, _) = apache::broker(folder, BROKER, &[ours, apaches], "")?;

    let mut ask = reference::java("nameserver/ask", &[classes])?;
    ask.arg("Ask").args([ours.to_string(), apaches.to_string()]).args(STEPS);
    let (printed, has_succeeded) = shell::output(&mut ask, log)?;
    fs::write(folder.join("printed"), &printed)?;
    ensure!(has_succeeded, "Ask failed: {} and {}", log.display(), folder.join("printed").display());
    compare(&printed, &ours.to_string(), &apaches.to_string())?;

    let old = reference::java_with_client(OLD_CLIENT, "nameserver/client", &[classes])?;
    round_trip(old, ours, log).with_context(|| format!("client {OLD_CLIENT}"))?;
    let mut binary = reference::java("nameserver/client", &[classes])?;
    binary.args(["-Drocketmq.serialize.type=ROCKETMQ", "-Dtls.enable=true"]);
    round_trip(binary, ours, log).context("client with binary headers over TLS")?;

    show_acting(folder, ours, apaches)?;

    drop(broker);
    for name_server in [ours, apaches] {
        nameserver.wait_until("forgets a killed broker", WITHIN, || {
            remoting::brokers(name_server).is_ok_and(|known| !known.broker_addr_table.contains_key(BROKER))
        })?;
    }
    nameserver.stop()
}

/// A slave alone stands in for its master where that is asked for: both show it as the master, with the right to read only.
fn show_acting(folder: &Path, ours: SocketAddr, apaches: SocketAddr) -> Result<()> {
    for name_server in [ours, apaches] {
        let setting = Bytes::from_static(b"supportActingMaster=true");
        remoting::call(name_server, RequestCode::UpdateNamesrvConfig, Fields::default(), setting)?;
    }
    let settings = "brokerId=1\nbrokerRole=SLAVE\nenableSlaveActingMaster=true\n";
    let (_slave, address) = apache::broker(folder, SLAVE, &[ours, apaches], settings)?;
    // A broker has a topic of its own name.
    let [of_ours, of_apaches] = [route(ours, SLAVE)?, route(apaches, SLAVE)?];
    ensure!(of_ours == of_apaches, "ours {of_ours:?}, Apache's {of_apaches:?}");
    let [broker] = &of_ours.broker_datas[..] else { anyhow::bail!("{of_ours:?}") };
    ensure!(broker.broker_addrs == [(0, address.to_string())].into(), "{broker:?}");
    let [queues] = &of_ours.queue_datas[..] else { anyhow::bail!("{of_ours:?}") };
    ensure!(queues.perm.is_readable() && !queues.perm.is_writable(), "{queues:?}");
    Ok(())
}

fn route(name_server: SocketAddr, topic: &str) -> Result<TopicRouteData> {
    let header = GetRouteInfo {
        topic: topic.to_owned(),
        accept_standard_json_only: Some(true),
        zone_mode: None,
        zone_name: None,
    };
    let answer = remoting::call(name_server, RequestCode::GetRouteInfoByTopic, header.to_fields(), Bytes::new())?;
    Ok(remoting_proto::from_slice(&answer.body)?)
}

fn round_trip(mut java: Command, name_server: SocketAddr, log: &Path) -> Result<()> {
    java.args(["Roundtrip", &name_server.to_string(), "compared"]);
    let (printed, has_succeeded) = shell::output(&mut java, log)?;
    ensure!(has_succeeded && printed.contains("received all"), "no round trip: {printed} {}", log.display());
    Ok(())
}

/// Each step's output must be there for both name servers and be the same.
fn compare(printed: &str, ours: &str, apaches: &str) -> Result<()> {
    let mut blocks = VecDeque::from(blocks(printed));
    for step in STEPS {
        let [of_ours, of_apaches] = [("ours", ours), ("apaches", apaches)].map(|(name, address)| {
            let (mark, lines) = blocks.pop_front().unwrap_or_default();
            let is_asked = mark == format!("begin {name} {step}");
            is_asked.then(|| normalised(step, &lines, address))
        });
        let of_ours = of_ours.with_context(|| format!("{step} was not done on ours"))?;
        let of_apaches = of_apaches.with_context(|| format!("{step} was not done on Apache's"))?;
        ensure!(of_ours == of_apaches, "{step}: ours\n{}\nand Apache's\n{}", of_ours.join("\n"), of_apaches.join("\n"));
        ensure!(!step.starts_with("roundtrip") || of_ours == ["received all"], "{step}: {}", of_ours.join("\n"));
        ensure!(!step.starts_with("mqadmin") || !of_ours.is_empty(), "{step} prints nothing");
    }
    Ok(())
}

/// Marks and the lines up to their ends.
fn blocks(printed: &str) -> Vec<(String, Vec<String>)> {
    let mut blocks: Vec<(String, Vec<String>)> = Vec::new();
    for line in printed.lines() {
        if line.starts_with("begin ") {
            blocks.push((line.to_owned(), Vec::new()));
        } else if let Some((_, lines)) = blocks.last_mut()
            && line != "end"
            && !line.trim().is_empty()
        {
            lines.push(line.to_owned());
        }
    }
    blocks
}

/// What does not depend on when and of whom it was asked: without the name server's address, and of `clusterList`, whose other
/// columns are the broker's load, only the first five. Topics are listed as a Java hash set has them, which depends on the order
/// in which they came, so they are sorted.
fn normalised(step: &str, lines: &[String], address: &str) -> Vec<String> {
    let of_line = |line: &String| {
        let line = line.replace(address, "NAMESERVER");
        if step == "mqadmin clusterList" {
            line.split_whitespace().take(5).collect::<Vec<_>>().join(" ")
        } else {
            line.trim_end().to_owned()
        }
    };
    let mut lines: Vec<_> = lines.iter().map(of_line).collect();
    if step.starts_with("mqadmin topicList") {
        lines.sort();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(of: impl Fn(&str, &str) -> String) -> String {
        let both =
            |step: &str| ["ours", "apaches"].map(|name| format!("begin {name} {step}\n{}\nend\n", of(name, step)));
        STEPS.iter().flat_map(|step| both(step)).collect()
    }

    fn same(name: &str, step: &str) -> String {
        let address = if name == "ours" { "1.1.1.1:1" } else { "2.2.2.2:2" };
        if step.starts_with("roundtrip") { "received all".to_owned() } else { format!("said by {address}\n  {step}") }
    }

    fn judged(printed: &str) -> Result<()> {
        compare(printed, "1.1.1.1:1", "2.2.2.2:2")
    }

    #[test]
    fn the_same_words_of_both_are_taken_and_others_are_not() {
        judged(&printed(same)).expect("the same");
        let differs =
            |name: &str, step: &str| same(name, step) + if name == "ours" && step.contains("wipe") { " 1" } else { "" };
        assert!(judged(&printed(differs)).expect_err("differs").to_string().contains("wipeWritePerm"));
        let lost = |name: &str, step: &str| same(name, step).replace("received all", "received 7 of 8");
        assert!(judged(&printed(lost)).is_err());
        assert!(judged(&printed(|_, _| String::new())).is_err());
        let whole = printed(same);
        let cut = whole.rfind("begin apaches").expect("there");
        assert!(judged(&whole[..cut]).is_err());
    }

    #[test]
    fn the_load_of_a_broker_may_differ() {
        let differs = |name: &str, step: &str| match step {
            "mqadmin clusterList" => format!("C broker-a 0 1.2.3.4:5 V5_5_0 {name}"),
            _ => same(name, step),
        };
        judged(&printed(differs)).expect("only its load differs");
    }
}
