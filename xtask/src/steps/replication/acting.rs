//! Consumers of 4.x, by Apache's client of 4.9.3 and of 5.5.0, that go on while their master is away: one consumes at the slave that stands in
//! for it, in order and so with locks on its queues, and commits there. A delayed message comes in time by another broker. When the master is
//! back it begins where the slave's groups are, before any client can reach it, and does not deliver that message again.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::client::{Client, GROUP, now_ms};
use super::group::{Group, Maker, WITHIN, said};
use super::layouts::Broker;
use super::reads::Consumer;
use super::{LATE, PLAIN, QUEUES, Sender, wait};
use crate::steps::java::Programs;
use crate::{shell, topics};

const ROLE: &str = "ASYNC_MASTER";
const SETTINGS: &str = "enableSlaveActingMaster=true\nenableRemoteEscape=true\n";
/// Sent twice while the master is there, and once more when it is back.
const MESSAGES: usize = 1_000;
/// So long that the log has several segments.
const BODY_BYTES: usize = 16 * 1024;
/// A master of another name, to which messages can escape.
const OTHER: &str = "brokerClusterName=DefaultCluster\nbrokerName=broker-b\nbrokerId=0\nbrokerRole=ASYNC_MASTER\n";
/// Until the slave stands in.
const DELAY_MS: i64 = 10_000;
/// How late a delayed message may be on a machine that is busy with something else.
const LATE_MAX_MS: i64 = 10_000;
/// A consumer is to pause so long for each message, and to consume in order.
const IN_ORDER: [&str; 2] = ["0", "ORDERLY"];

/// Both clients side by side: half a minute.
pub(super) fn run(programs: &Programs) -> Result<()> {
    shell::side_by_side(["old", "new"], |release| show(programs, release).with_context(|| release)).map(drop)
}

fn show(programs: &Programs, release: &'static str) -> Result<()> {
    let folder = programs.folder.join(format!("acting-{release}"));
    fs::create_dir_all(&folder)?;
    let makers = [Maker::Gantry, Maker::Gantry];
    let mut group = Group::start_with(&folder, &programs.gantry, ROLE, makers, SETTINGS.to_owned())?;
    topics::create(group.master(), PLAIN, "NORMAL")?;
    topics::create_group(group.master(), GROUP, false)?;
    let other_file = folder.join("broker-b.conf");
    fs::write(&other_file, OTHER)?;
    let other = Broker::start(other_file, &folder, &programs.gantry, group.name_server())?;
    for broker in [group.master(), other.address] {
        topics::create(broker, LATE, "DELAY")?;
    }
    let client = Client::open(group.master())?;
    let mut sender = Sender { client, body_bytes: BODY_BYTES, next: 0, kept: Default::default() };
    let consumer = Consumer { programs, release, name_server: group.name_server(), folder };
    // They end only with what was sent by then, and none of it twice.
    let consume = |from: usize, more: &[&str]| -> Result<()> {
        consumer.start_with(GROUP, MESSAGES, more)?.finish(WITHIN)?;
        let printed = fs::read_to_string(consumer.log(GROUP))?;
        let expected = format!("{MESSAGES} different from {from} on, 0 again");
        ensure!(printed.contains(&expected), "not {expected}: {printed}");
        Ok(())
    };
    sender.send(MESSAGES)?;
    consume(0, &[])?;
    sender.send(MESSAGES)?;
    let due_ms = now_ms() + DELAY_MS;
    sender.client.send(LATE, 0, b"late", &[("UNIQ_KEY", "LATE"), ("TIMER_DELIVER_MS", &due_ms.to_string())])?;
    group.compare_logs()?;
    ensure!(said(group.slave(), "brokerActive")? == "false", "the slave stands in for a master that is there");

    group.kill_master();
    wait("the slave stands in", || Ok(said(group.slave(), "brokerActive")? == "true"))?;
    wait("the delayed message comes by the other broker", || Ok(!all(other.address, LATE)?.is_empty()))?;
    let late_ms = now_ms() - due_ms;
    ensure!((0..LATE_MAX_MS).contains(&late_ms), "the delayed message is {late_ms} ms late");
    consume(MESSAGES, &IN_ORDER)?;
    let whole = i64::try_from(2 * MESSAGES)?;
    wait("the slave was told", || Ok(topics::finished(group.slave(), PLAIN, GROUP)? == whole))?;

    group.start_master(ROLE)?;
    let at_master = topics::finished(group.master(), PLAIN, GROUP)?;
    ensure!(at_master == whole, "the group is at {at_master} of {whole} when its master is known again");
    sender.client = Client::open(group.master())?;
    sender.client.send(LATE, 0, b"next", &[("TIMER_DELAY_MS", "1000")])?;
    wait("the next delayed message comes", || Ok(all(group.master(), LATE)?.contains(&b"next".to_vec())))?;
    let here_and_there = (all(group.master(), LATE)?, all(other.address, LATE)?);
    ensure!(here_and_there == (vec![b"next".to_vec()], vec![b"late".to_vec()]), "{here_and_there:?}");
    sender.send(MESSAGES)?;
    consume(2 * MESSAGES, &[])?;
    group.compare_logs()?;
    println!(
        "{release} client: {MESSAGES} messages consumed in order while the master was away, none of them again, a delayed one \
         {late_ms} ms late"
    );
    Ok(())
}

/// The bodies that a broker has of a topic.
fn all(broker: SocketAddr, topic: &str) -> Result<Vec<Vec<u8>>> {
    let mut client = Client::open(broker)?;
    let queues = (0..QUEUES).map(|queue| client.pull_all(topic, queue)).collect::<Result<Vec<_>>>()?;
    Ok(queues.into_iter().flatten().collect())
}
