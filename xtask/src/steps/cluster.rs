//! Two `gantry nameserver`, two `gantry broker` and two `gantry proxy` as processes: the official clients' examples observe what they
//! observe on Apache's, what was popped or begun through a proxy that is killed is ended through another, sends go on and nothing that was
//! acknowledged is lost when any of the processes is killed, when a broker is added and one is drained, or when all proxies are restarted.
//! With `--full` all SDKs recover from kills no later than before Apache's.

mod kills;
mod life;
mod recovery;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::examples;
use super::proxy::{DEALS, HANDOVER, hand_over, python};
use crate::cluster::Cluster;
use crate::plan::{Context, Done};
use crate::workspace::clear;
use crate::{reference, server, topics};

/// Clients that speak for the others: one that shares nothing with Apache's code, and the programs for the kills are its.
const SDKS: [&str; 2] = ["python", "go"];
const BROKERS: [&str; 2] = ["broker-a", "broker-b"];
const NAME_SERVERS: usize = 2;

/// About two minutes; all of it a quarter of an hour more.
pub(super) fn run(context: &Context) -> Result<Done> {
    if context.is_full
        && let Err(error) = reference::jars()
    {
        return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") });
    }
    let sdks: &[&str] = if context.is_full { &reference::SDKS } else { &SDKS };
    for sdk in sdks {
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
    if context.is_full {
        let shown = recovery::show(context, &folder, &gantry);
        shown.with_context(|| format!("data of the last pair kept: {}", folder.display()))?;
    }
    clear(&folder)?;
    Ok(Done::Passed)
}

fn show(context: &Context, folder: &Path, gantry: &Path, log: &Path) -> Result<()> {
    let mut cluster = Cluster::start_with(folder, gantry, NAME_SERVERS, &BROKERS)?;
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
    let proxies = [("second", second, second_address), ("third", third, third_address)];
    let proxies = kills::show(context, &mut cluster, folder, proxies)?;
    let client = python(context, "life.py");
    for proxy in life::show(&mut cluster, folder, client, proxies)? {
        proxy.stop()?;
    }
    cluster.stop()
}

/// What the examples and the handover use.
fn create_topics(broker: SocketAddr) -> Result<()> {
    SDKS.iter().try_for_each(|sdk| topics::create_for_examples(broker, sdk))?;
    topics::create(broker, HANDOVER, "NORMAL")?;
    topics::create(broker, DEALS, "TRANSACTION")
}
