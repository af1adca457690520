//! `gantry nameserver`, two `gantry broker` and two `gantry proxy` as processes: the official clients' examples observe what they observe
//! on Apache's, what was popped or begun through a proxy that is killed is ended through another, and nothing that was acknowledged is
//! lost when brokers are killed, when one is added and one is drained, or when all proxies are restarted.

mod life;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::examples;
use super::proxy::{DEALS, HANDOVER, hand_over, python};
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::process::Process;
use crate::workspace::clear;
use crate::{server, topics};

/// Longest wait for a process to do its work.
const WITHIN: Duration = Duration::from_secs(120);
/// Clients that speak for the others: one that shares nothing with Apache's code, and the programs for the kills are its.
const SDKS: [&str; 2] = ["python", "go"];
const BROKERS: [&str; 2] = ["broker-a", "broker-b"];
const SURVIVE: &str = "survive";
/// Messages that are sent while the broker is killed.
const SURVIVE_MESSAGES: u32 = 600;
/// One broker after the other is killed when so many of them are acknowledged.
const KILL_AT: [u32; 3] = [100, 250, 400];

/// About a minute.
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
    show(context, &folder, &gantry, &log).with_context(|| format!("data kept: {}", folder.display()))?;
    clear(&folder)?;
    Ok(Done::Passed)
}

fn show(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let mut cluster = Cluster::start(folder, gantry, &BROKERS)?;
    for broker in cluster.broker_addresses() {
        create_topics(broker)?;
    }
    let (first, first_address) = cluster.proxy("first")?;
    let (second, second_address) = cluster.proxy("second")?;
    // The examples are clients of the proxy that lives on.
    std::thread::scope(|scope| {
        let observe = |sdk| scope.spawn(move || examples::observe(context, sdk, second_address, log));
        let mut running: Vec<_> = SDKS.map(observe).into();
        running.push(scope.spawn(|| hand_over(context, [first_address, second_address], first.id(), log)));
        running.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    drop(first);
    let (third, third_address) = cluster.proxy("third")?;
    let client = python(context, "survive.py");
    survive(&mut cluster, folder, client, [second_address, third_address])?;
    let client = python(context, "life.py");
    let proxies = [("second", second, second_address), ("third", third, third_address)];
    for proxy in life::show(&mut cluster, folder, client, proxies)? {
        proxy.stop()?;
    }
    cluster.stop()
}

/// What the examples and the kills use.
fn create_topics(broker: SocketAddr) -> Result<()> {
    SDKS.iter().try_for_each(|sdk| topics::create_for_examples(broker, sdk))?;
    topics::create(broker, HANDOVER, "NORMAL")?;
    topics::create(broker, DEALS, "TRANSACTION")?;
    topics::create(broker, SURVIVE, "NORMAL")
}

/// Kills brokers while a client sends and consumes through both proxies; the client knows what was acknowledged.
fn survive(cluster: &mut Cluster, folder: &Path, mut command: Command, proxies: [SocketAddr; 2]) -> Result<()> {
    command.args(proxies.map(|address| address.to_string()));
    command.args([SURVIVE, &format!("{SURVIVE}-group"), &SURVIVE_MESSAGES.to_string()]);
    let log = folder.join("survive.log");
    let mut client = Process::start("client", command, log.clone())?;
    let prints =
        |start: &str| fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|line| line.starts_with(start)));
    for (index, acked) in KILL_AT.into_iter().enumerate() {
        client.wait_until("sends", WITHIN, || prints(&format!("acked {acked}")))?;
        cluster.restart_broker(index % BROKERS.len())?;
    }
    client.wait_until("gets everything", WITHIN, || prints("passed"))
}
