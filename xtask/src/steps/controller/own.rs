//! Brokers of ours under controllers, without a program of Apache's: three with synchronous double write, whose master is killed while it
//! is sent to, killed and loses its disk, stopped for longer than its lease, and replaced as planned, and does not mind that the leading controller hangs; then two with
//! asynchronous replication, whose master is killed with a tail that its slave never got, and stopped. What was acknowledged with double
//! write is there, and pops, delays and transactions go on; the old master becomes a slave, its tail is cut, and the logs are the same byte by byte.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use remoting_proto::body::{EpochCache, Replica, Replicas};
use remoting_proto::requests::ElectMaster;
use remoting_proto::{Fields, RequestCode};

use super::group::{BROKER, Group, Maker};
use super::{Acked, NODES, TOPIC, address, has_topic, in_sync};
use crate::apache::CLUSTER;
use crate::plan::Context;
use crate::steps::replication::client::Client;
use crate::steps::replication::group::{compare, end, metric};
use crate::steps::replication::{Left, make_topics, wait};
use crate::workspace::clear;
use crate::{remoting, server, topics};

/// Messages that are acknowledged before and after each failure, and their bytes: several segments in all.
const MESSAGES: usize = 1000;
const BODY_BYTES: usize = 16 * 1024;
/// More than sockets hold that lie between a master and its slave.
const TAIL_BYTES: usize = 24 * 1024 * 1024;
const TAIL_BODY_BYTES: usize = 256 * 1024;
/// Rounds with `--full`: each fault once.
const FULL_ROUNDS: usize = 5;
/// Longer than a master's lease.
const HANGS_FOR: Duration = Duration::from_secs(10);

pub(super) fn run(context: &Context) -> Result<()> {
    let folder = context.workspace.own("controller-own")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    let rounds = if context.is_full { FULL_ROUNDS } else { 1 };
    let shown = double_write(&folder.join("double"), &gantry, rounds)
        .and_then(|()| parted_tail(&folder.join("single"), &gantry))
        .with_context(|| format!("data kept: {}", folder.display()));
    shown?;
    clear(&folder)
}

fn start(folder: &Path, gantry: &Path, nodes: &[&'static str], role: &'static str) -> Result<Group> {
    fs::create_dir_all(folder)?;
    let group = Group::start(folder, gantry, nodes, Maker::Gantry(role))?;
    topics::create(address(&group.master()?)?, TOPIC, "NORMAL")?;
    for replica in group.replicas()?.in_sync_replicas {
        wait("a broker has the topic", || has_topic(&replica, TOPIC))?;
    }
    Ok(group)
}

/// Rounds of faults, one after the other on the same data.
fn double_write(folder: &Path, gantry: &Path, rounds: usize) -> Result<()> {
    let mut group = start(folder, gantry, &NODES, "SYNC_MASTER")?;
    let mut acked = Acked { body_bytes: BODY_BYTES, ..Acked::default() };
    let master = group.master()?;
    acked.send(&master, MESSAGES)?;
    make_topics(address(&master)?)?;
    let mut left = Some(Left::make(&mut Client::open(address(&master)?)?)?);
    for round in 0..rounds {
        println!("round {round}");
        for fault in [killed as Fault, disk_lost, stopped, handed_over] {
            same_logs(&group)?;
            let master;
            (acked, master) = fault(&mut group, acked)?;
            wait("the old master is in sync again", || in_sync(&group, NODES.len()))?;
            acked.send(&master, MESSAGES)?;
            acked.are_at(&master)?;
            if let Some(left) = left.take() {
                let repeats = left.go_on(&mut Client::open(address(&master)?)?)?;
                ensure!(repeats == 0, "{repeats} messages came again");
            }
        }
        // The log has several segments by now.
        acked.body_bytes = 0;
        leader_hangs(&group, &mut acked)?;
    }
    same_logs(&group)?;
    metrics_are_true(&group)?;
    let expected = [
        ("role", "the process has started"),
        ("role", "the controllers say so"),
        ("elected", "it is the first"),
        ("elected", "the master is gone"),
        ("elected", "an operator wants it"),
        ("in_sync", "the master says so"),
        ("in_sync", "a slave has all"),
        ("fenced", "the controllers were not heard for too long"),
    ];
    group.has_told(&expected)
}

/// What happens to a master that is sent to; answers which broker is the master since.
type Fault = fn(&mut Group, Acked) -> Result<(Acked, Replica)>;

/// The master is killed while it is sent to, and started again.
fn killed(group: &mut Group, acked: Acked) -> Result<(Acked, Replica)> {
    lost(group, acked, false)
}

/// The same, and its disk is lost: it comes again as a new broker that has nothing.
fn disk_lost(group: &mut Group, acked: Acked) -> Result<(Acked, Replica)> {
    lost(group, acked, true)
}

fn lost(group: &mut Group, acked: Acked, is_disk_lost: bool) -> Result<(Acked, Replica)> {
    let old = group.master()?;
    let load = Load::start(&old, acked)?;
    load.wait_for(MESSAGES)?;
    group.kill_broker(&old)?;
    let mut acked = load.end()?;
    let master = replaced(group, &old, &mut acked)?;
    if is_disk_lost {
        fs::remove_dir_all(group.data(&old)?)?;
    }
    group.restart_broker(&old)?;
    Ok((acked, master))
}

/// An operator makes another broker the master while the one before is sent to.
fn handed_over(group: &mut Group, acked: Acked) -> Result<(Acked, Replica)> {
    let old = group.master()?;
    let load = Load::start(&old, acked)?;
    load.wait_for(MESSAGES)?;
    let next = group.replicas()?.in_sync_replicas.into_iter().find(|replica| replica.broker_id != old.broker_id);
    hand_over(group, &next.context("only the master is in sync")?)?;
    let mut acked = load.end()?;
    let master = replaced(group, &old, &mut acked)?;
    Ok((acked, master))
}

/// The master is stopped for longer than its lease while it is sent to, and then goes on.
fn stopped(group: &mut Group, acked: Acked) -> Result<(Acked, Replica)> {
    let old = group.master()?;
    let mut client = Client::open(address(&old)?)?;
    let load = Load::start(&old, acked)?;
    load.wait_for(MESSAGES)?;
    group.signal_broker(&old, "-STOP")?;
    let mut acked = load.end()?;
    let master = replaced(group, &old, &mut acked)?;
    // It is there when the old master goes on, which reads it before it can have heard of anything.
    let body = acked.body();
    let late = thread::spawn(move || client.send(TOPIC, 0, &body, &[]));
    group.signal_broker(&old, "-CONT")?;
    let late = late.join().ok().context("the sender panicked")?;
    ensure!(late.is_err(), "the old master answers {late:?}");
    println!("the old master answers: {:#}", late.expect_err("it is none"));
    Ok((acked, master))
}

/// The leading controller hangs: the master hears from another one before its lease is over.
fn leader_hangs(group: &Group, acked: &mut Acked) -> Result<()> {
    let (master, leader) = (group.master()?, group.leader().context("no controller leads")?);
    let mut client = Client::open(address(&master)?)?;
    group.signal_controller(leader, "-STOP")?;
    let began = Instant::now();
    while began.elapsed() < HANGS_FOR {
        acked.send_one(&mut client)?;
    }
    group.signal_controller(leader, "-CONT")?;
    wait("a controller leads", || Ok(group.master().is_ok()))?;
    ensure!(group.master()? == master, "the master was changed without need");
    Ok(())
}

/// What brokers show of themselves is what the controllers say.
fn metrics_are_true(group: &Group) -> Result<()> {
    let Replicas { master_broker_id, master_epoch, in_sync_replicas, .. } = group.replicas()?;
    for replica in &in_sync_replicas {
        let http = group.http(replica)?;
        let is_master = Some(replica.broker_id) == master_broker_id;
        let slaves = if is_master { in_sync_replicas.len() - 1 } else { 0 };
        let expected = [
            ("gantry_membership_epoch", master_epoch.to_string()),
            ("gantry_membership_in_sync", in_sync_replicas.len().to_string()),
            ("gantry_membership_leads", u8::from(is_master).to_string()),
            ("gantry_replication_master", u8::from(is_master).to_string()),
            ("gantry_replication_slaves_in_sync", slaves.to_string()),
            ("gantry_replication_following", u8::from(!is_master).to_string()),
        ];
        for (name, expected) in expected {
            wait("a broker shows what the controllers say", || Ok(metric(http, name)? == expected))
                .with_context(|| format!("{name} of broker {} is not {expected}", replica.broker_id))?;
        }
    }
    Ok(())
}

/// The master has far more than its slave when it is killed.
fn parted_tail(folder: &Path, gantry: &Path) -> Result<()> {
    let mut group = start(folder, gantry, &NODES[..2], "ASYNC_MASTER")?;
    let old = group.master()?;
    let replicas = group.replicas()?.in_sync_replicas;
    let slave =
        replicas.iter().find(|replica| replica.broker_id != old.broker_id).context("only the master is in sync")?;
    group.signal_broker(slave, "-STOP")?;
    let mut client = Client::open(address(&old)?)?;
    for _ in 0..TAIL_BYTES / TAIL_BODY_BYTES {
        client.send(TOPIC, 0, &vec![b'x'; TAIL_BODY_BYTES], &[])?;
    }
    let length = end(address(&old)?)?;
    group.kill_broker(&old)?;
    group.signal_broker(slave, "-CONT")?;
    let mut acked = Acked { body_bytes: BODY_BYTES, ..Acked::default() };
    let master = replaced(&group, &old, &mut acked)?;
    let begin = epochs(&master)?.epoch_list.last().context("it has an epoch")?.start_offset;
    ensure!(begin < length, "the slave had all {length} bytes of the master's log");
    group.restart_broker(&old)?;
    wait("the old master is in sync again", || in_sync(&group, 2))?;
    acked.send(&master, MESSAGES)?;
    same_logs(&group)?;
    println!("a tail of {} bytes is cut off", length - begin);
    group.has_told(&[("cut", "the master never had what is behind")])?;

    let (mut acked, master) = stopped(&mut group, acked)?;
    wait("the old master is in sync again", || in_sync(&group, 2))?;
    acked.send(&master, MESSAGES)?;
    same_logs(&group)
}

/// Waits until another broker is the master and acknowledges again.
fn replaced(group: &Group, old: &Replica, acked: &mut Acked) -> Result<Replica> {
    let began = Instant::now();
    wait("another broker is the master", || Ok(group.master().is_ok_and(|master| master.broker_id != old.broker_id)))?;
    let master = group.master()?;
    wait("the new master stores messages", || {
        let sent = Client::open(address(&master)?).and_then(|mut client| client.send(TOPIC, 0, &acked.body(), &[]));
        acked.next += 1;
        Ok(sent.is_ok())
    })?;
    println!("broker {} stands in for {} after {:?}", master.broker_id, old.broker_id, began.elapsed());
    Ok(master)
}

/// An operator makes a broker the master, as `mqadmin electMaster` does.
fn hand_over(group: &Group, to: &Replica) -> Result<()> {
    let header = ElectMaster {
        cluster_name: CLUSTER.to_owned(),
        broker_name: BROKER.to_owned(),
        broker_id: Some(to.broker_id),
        designate_elect: Some(true),
    };
    let leader = group.leader().context("no controller leads")?;
    let address = group.controllers[leader].address;
    remoting::call(address, RequestCode::ControllerElectMaster, header.to_fields(), Bytes::new()).map(drop)
}

fn epochs(broker: &Replica) -> Result<EpochCache> {
    let answer = remoting::call(address(broker)?, RequestCode::GetBrokerEpochCache, Fields::default(), Bytes::new())?;
    Ok(remoting_proto::from_slice(&answer.body)?)
}

/// All brokers in sync have the same log and have gone through the same epochs.
fn same_logs(group: &Group) -> Result<()> {
    let master = group.master()?;
    let ends = |replica: &Replica| Ok::<_, anyhow::Error>((end(address(&master)?)?, end(address(replica)?)?));
    for replica in group.replicas()?.in_sync_replicas {
        wait("the logs end at one place", || Ok(ends(&replica).is_ok_and(|(one, other)| one == other)))?;
        same_log(group, &master, &replica, end(address(&master)?)?)?;
    }
    Ok(())
}

/// A broker has the same bytes as its master up to there, and has gone through the same epochs.
pub(in crate::steps) fn same_log(group: &Group, master: &Replica, replica: &Replica, length: u64) -> Result<()> {
    compare(&group.data(master)?, &group.data(replica)?, length)?;
    let of_both = [epochs(master)?.epoch_list, epochs(replica)?.epoch_list];
    ensure!(of_both[0] == of_both[1], "the epochs are {of_both:?}");
    Ok(())
}

/// Senders to a broker, until it does not answer or refuses.
struct Load {
    sending: JoinHandle<Acked>,
    broker: SocketAddr,
    from: i64,
}

impl Load {
    fn start(to: &Replica, mut acked: Acked) -> Result<Self> {
        let broker = address(to)?;
        let (from, mut client) = (topics::messages(broker, TOPIC)?, Client::open(broker)?);
        let sending = thread::spawn(move || {
            while acked.send_one(&mut client).is_ok() {}
            acked
        });
        Ok(Self { sending, broker, from })
    }

    /// Until the broker has stored so many of them.
    fn wait_for(&self, count: usize) -> Result<()> {
        let until = self.from + i64::try_from(count)?;
        wait("the master is sent to", || Ok(topics::messages(self.broker, TOPIC)? >= until))
    }

    /// The broker has gone, or is no master any more.
    fn end(self) -> Result<Acked> {
        self.sending.join().ok().context("the sender panicked")
    }
}
