//! A cluster that changes while official clients send and receive: a broker comes, one is drained and goes, proxies are restarted in turn.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cluster::Cluster;
use crate::process::Process;
use crate::topics;

/// Longest wait for proxies to see what has changed, or for the clients.
const WITHIN: Duration = Duration::from_secs(150);
const TOPIC: &str = "life";
const ADDED: &str = "broker-c";
/// The broker that is drained.
const DRAINED: usize = 0;
/// To read only.
const READ: i64 = 4;
/// Sends after proxies have seen a change, that show what they have seen.
const SENDS: usize = 40;

/// A proxy's name, process and address.
pub(super) type Proxy = (&'static str, Process, SocketAddr);

/// The producer is a client of the first proxy, the consumer of the second.
pub(super) fn show(
    cluster: &mut Cluster,
    folder: &Path,
    mut command: Command,
    proxies: [Proxy; 2],
) -> Result<[Process; 2]> {
    for broker in cluster.broker_addresses() {
        topics::create(broker, TOPIC, "NORMAL")?;
    }
    let [producers, consumers] = proxies.each_ref().map(|(_, _, address)| address.to_string());
    let (log, end) = (folder.join("life.log"), folder.join("life.end"));
    command.args([producers, consumers, TOPIC.to_owned()]).arg(&end);
    let mut client = Process::start("official clients", command, log.clone())?;
    let acked = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("acked ")).count()
    };
    client.wait_until("send", WITHIN, || acked() > 0)?;

    let added = cluster.add_broker(ADDED)?;
    let added = cluster.broker_addresses()[added];
    topics::create(added, TOPIC, "NORMAL")?;
    client
        .wait_until("send to a new broker", WITHIN, || topics::messages(added, TOPIC).is_ok_and(|count| count > 0))?;

    let drained = cluster.broker_addresses()[DRAINED];
    topics::create_with_permission(drained, TOPIC, "NORMAL", READ)?;
    let taken = || topics::messages(drained, TOPIC);
    drain(&mut client, acked, taken)?;
    let is_empty = || {
        let finished = topics::finished(drained, TOPIC, &format!("{TOPIC}-group"));
        finished.is_ok_and(|finished| taken().is_ok_and(|taken| finished == taken))
    };
    client.wait_until("consume what a drained broker has", WITHIN, is_empty)?;
    cluster.remove_broker(DRAINED)?;

    let restarted = proxies.map(|(name, process, address)| {
        let process = cluster.restart_proxy(name, process, address)?;
        let before = acked();
        client.wait_until("send when a proxy is there again", WITHIN, || acked() > before + SENDS)?;
        Ok(process)
    });
    fs::write(&end, "")?;
    client.finish(WITHIN)?;
    let [first, second]: [Result<Process>; 2] = restarted;
    Ok([first?, second?])
}

/// Returns when no message goes to the broker any more, though messages are sent.
fn drain(client: &mut Process, acked: impl Fn() -> usize, taken: impl Fn() -> Result<i64>) -> Result<()> {
    // Proxies look every 20 s; each round shows whether they have.
    for _ in 0..20 {
        let (before, sent) = (taken()?, acked());
        client.wait_until("send while a broker is drained", WITHIN, || acked() > sent + SENDS)?;
        if taken()? == before {
            return Ok(());
        }
    }
    ensure!(false, "a broker that may not be written to takes messages all the same");
    Ok(())
}
