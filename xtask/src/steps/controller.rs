//! Brokers of ours (`own`), and of Apache's in controller mode, with three controllers of ours: the leading controller is killed, then the
//! master, then all controllers. Another broker in sync is the master then, and has all that was acknowledged. Apache's `mqadmin` asks and
//! changes the same, `gantry admin` shows it.

pub(super) mod group;
pub(super) mod own;
mod shown;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use remoting_proto::body::{Replica, Replicas};
use remoting_proto::requests::TopicName;
use remoting_proto::{RequestCode, ResponseCode};

use super::java::{self, Programs};
use super::mqadmin;
use super::replication::client::Client;
use super::replication::wait;
use crate::apache::CLUSTER;
use crate::plan::{Context, Done};
use crate::{remoting, topics};

use group::{BROKER, GROUP, Group, Maker};

/// Folders of the brokers; the third one with `--full` only.
const NODES: [&str; 3] = ["one", "two", "three"];
const TOPIC: &str = "orders";
const QUEUES: i64 = 4;
/// Messages that are sent between two failures; ten times as many with `--full`.
const MESSAGES: usize = 300;

/// About five minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    own::run(context)?;
    java::run(context, "controller", &[], |programs| {
        for maker in [Maker::Gantry("SYNC_MASTER"), Maker::Apache] {
            show(context, programs, maker).with_context(|| format!("brokers of {}", maker.name()))?;
        }
        Ok(())
    })
}

fn show(context: &Context, programs: &Programs, maker: Maker) -> Result<()> {
    let (nodes, messages) = if context.is_full { (&NODES[..], MESSAGES * 10) } else { (&NODES[..2], MESSAGES) };
    let folder = programs.folder.join(maker.name());
    fs::create_dir_all(&folder)?;
    let mut group = Group::start(&folder, &programs.gantry, nodes, maker)?;
    let master = group.master()?;
    ensure!(master.broker_id == 1, "the first broker is not the master: {master:?}");
    topics::create(address(&master)?, TOPIC, "NORMAL")?;
    // A slave asks for topics every ten seconds.
    for replica in group.replicas()?.in_sync_replicas {
        wait("a broker has the topic", || has_topic(&replica, TOPIC))?;
    }
    let mut acked = Acked::default();
    acked.send(&master, messages)?;

    leader_killed(&mut group)?;
    ensure!(group.master()? == master, "the master was changed without need");
    acked.send(&master, messages)?;

    let master = master_killed(&mut group)?;
    acked.send(&master, messages)?;
    acked.are_at(&master)?;
    wait("the old master is in sync again", || in_sync(&group, nodes.len()))?;
    all_killed(&mut group)?;

    let replicas = group.replicas()?;
    shown::check(&programs.gantry, &group)?;
    commands(context, programs, &mut group)?;
    let master = group.master()?;
    ensure!(Some(master.broker_id) != replicas.master_broker_id, "electMaster has changed nothing");
    acked.are_at(&master)
}

/// Another controller leads, and knows the same.
fn leader_killed(group: &mut Group) -> Result<()> {
    let before = group.replicas()?;
    let leader = group.leader().context("no controller leads")?;
    group.kill_controller(leader);
    wait("another controller leads", || Ok(group.leader().is_some()))?;
    ensure!(group.replicas()? == before, "before {before:?}, after {:?}", group.replicas());
    group.start_controller(leader)?;
    // Until it hears of the other one it says that it leads.
    wait("it knows who leads", || Ok(group.replicas().is_ok()))
}

/// Another broker that was in sync is the master in a later epoch; the old one runs again, and is not waited for.
fn master_killed(group: &mut Group) -> Result<Replica> {
    let (before, old) = (group.replicas()?, group.master()?);
    group.kill_broker(&old)?;
    wait("another broker is the master", || Ok(group.master().is_ok_and(|master| master.broker_id != old.broker_id)))?;
    let (after, master) = (group.replicas()?, group.master()?);
    let was_in_sync = before.in_sync_replicas.iter().any(|replica| replica.broker_id == master.broker_id);
    ensure!(was_in_sync, "elected {master:?}, in sync were {before:?}");
    ensure!(after.master_epoch > before.master_epoch, "before {before:?}, after {after:?}");
    println!("master {} killed, {} is the master in epoch {}", old.broker_id, master.broker_id, after.master_epoch);
    group.restart_broker(&old)?;
    Ok(master)
}

/// What the controllers have answered is there again.
fn all_killed(group: &mut Group) -> Result<()> {
    let before = group.replicas()?;
    for index in 0..group.controllers.len() {
        group.kill_controller(index);
    }
    for index in 0..group.controllers.len() {
        group.start_controller(index)?;
    }
    wait("a controller leads again", || Ok(group.replicas().is_ok_and(|after| is_same(&before, &after))))?;
    // It is beside a controller; brokers register every ten seconds.
    wait("the name server knows the brokers again", || Ok(remoting::knows_broker(group.name_server(), BROKER)))
}

/// Whether nothing was decided between two looks; who lives is not decided.
fn is_same(before: &Replicas, after: &Replicas) -> bool {
    before.master_broker_id == after.master_broker_id
        && before.master_epoch == after.master_epoch
        && ids(&before.in_sync_replicas) == ids(&after.in_sync_replicas)
}

/// Apache's `mqadmin` asks a controller that does not lead, changes the master and forgets a broker.
fn commands(context: &Context, programs: &Programs, group: &mut Group) -> Result<()> {
    let leader = group.leader().context("no controller leads")?;
    let asked = group.controllers[(leader + 1) % group.controllers.len()].address;
    let (before, old) = (group.replicas()?, group.master()?);
    let next = before.in_sync_replicas.iter().find(|replica| replica.broker_id != old.broker_id);
    let next = next.context("only the master is in sync")?.clone();
    let metadata = format!("getControllerMetaData -a {asked}");
    let in_sync_before = format!("getSyncStateSet -a {asked} -b {BROKER}");
    let epochs = format!("getBrokerEpoch -b {BROKER}");
    let elect = format!("electMaster -a {asked} -b {} -bn {BROKER} -c {CLUSTER}", next.broker_id);
    let configure = format!("updateControllerConfig -a {asked} -k scanNotActiveBrokerInterval -v 1500");
    let configured = format!("getControllerConfig -a {asked}");
    let alive = format!("cleanBrokerMetadata -a {asked} -b {} -bn {BROKER} -c {CLUSTER}", next.broker_id);
    let asked_for = [&*metadata, &in_sync_before, &epochs, &configure, &configured, &alive, &elect];
    let printed = mqadmin::print(context, programs, group.name_server(), &asked_for)?;
    let has = |command: &str, words: &[String]| has(&printed, command, words);
    let leading = &group.controllers[leader];
    has(
        &metadata,
        &[
            format!("#ControllerGroup\t{GROUP}"),
            format!("#ControllerLeaderId\t{}", leading.id),
            format!("#ControllerLeaderAddress\t{}", leading.address),
            format!("#Peer:\tn0:{}", group.controllers[0].address),
            format!("#Peer:\tn2:{}", group.controllers[2].address),
        ],
    )?;
    has(
        &in_sync_before,
        &[
            format!("#MasterBrokerId\t{}", old.broker_id),
            format!("#MasterAddr\t{}", old.broker_address),
            format!("#MasterEpoch\t{}", before.master_epoch),
            format!("#SyncStateSetEpoch\t{}", before.sync_state_set_epoch),
            format!("#SyncStateSetNums\t{}", before.in_sync_replicas.len()),
        ],
    )?;
    has(&epochs, &["epoch=1".to_owned(), format!("epoch={}", before.master_epoch)])?;
    has(&configured, &[format!("{:<50}=  1500", "scanNotActiveBrokerInterval"), "controllerDLegerPeers".to_owned()])?;
    has(&alive, &[format!("CODE: {}", ResponseCode::ControllerInvalidCleanBrokerMetadata.number())])?;
    has(
        &elect,
        &[
            format!("#BrokerMasterAddr\t{}", next.broker_address),
            format!("#MasterEpoch\t{}", before.master_epoch + 1),
            format!("#SyncStateSetEpoch\t{}", before.sync_state_set_epoch + 1),
        ],
    )?;
    forgotten(context, programs, group, asked, &old)
}

/// A broker that is gone for good is forgotten, and the others go on.
fn forgotten(
    context: &Context,
    programs: &Programs,
    group: &mut Group,
    asked: SocketAddr,
    gone: &Replica,
) -> Result<()> {
    group.kill_broker(gone)?;
    wait("it is not alive", || {
        Ok(group
            .replicas()?
            .not_in_sync_replicas
            .iter()
            .any(|replica| replica.broker_id == gone.broker_id && !replica.alive))
    })?;
    let clean = format!("cleanBrokerMetadata -a {asked} -b {} -bn {BROKER} -c {CLUSTER}", gone.broker_id);
    let printed = mqadmin::print(context, programs, group.name_server(), &[&clean])?;
    has(&printed, &clean, &[format!("clear broker {BROKER} metadata from controller success")])?;
    let Replicas { in_sync_replicas, not_in_sync_replicas, .. } = group.replicas()?;
    let left = [ids(&in_sync_replicas), ids(&not_in_sync_replicas)].concat();
    ensure!(!left.contains(&gone.broker_id), "{} is still known: {left:?}", gone.broker_id);
    Ok(())
}

/// A command printed these words.
fn has(printed: &str, command: &str, words: &[String]) -> Result<()> {
    let blocks = mqadmin::blocks(printed);
    let text = blocks.get(command).with_context(|| format!("{command} was not run"))?.join("\n");
    for word in words {
        ensure!(text.contains(word), "{command} does not print {word:?}: {text}");
    }
    Ok(())
}

fn ids(replicas: &[Replica]) -> Vec<i64> {
    let mut ids: Vec<_> = replicas.iter().map(|replica| replica.broker_id).collect();
    ids.sort_unstable();
    ids
}

fn in_sync(group: &Group, brokers: usize) -> Result<bool> {
    Ok(group.replicas().is_ok_and(|replicas| replicas.in_sync_replicas.len() == brokers))
}

pub(super) fn address(replica: &Replica) -> Result<SocketAddr> {
    Ok(replica.broker_address.parse()?)
}

pub(super) fn has_topic(replica: &Replica, topic: &str) -> Result<bool> {
    let header = TopicName { topic: topic.to_owned() };
    let asked = remoting::call(address(replica)?, RequestCode::GetTopicConfig, header.to_fields(), Bytes::new());
    Ok(asked.is_ok())
}

/// The numbers of messages that all brokers in sync had when their sends were answered.
#[derive(Default)]
struct Acked {
    numbers: BTreeSet<usize>,
    next: usize,
    /// Bodies are so long, or as short as their numbers.
    body_bytes: usize,
}

impl Acked {
    /// Sends until so many are answered with success: a new master may not be ready yet, and refuses or only counts itself.
    fn send(&mut self, to: &Replica, count: usize) -> Result<()> {
        let mut client = None;
        let wanted = self.numbers.len() + count;
        wait("messages are acknowledged", || {
            while self.numbers.len() < wanted {
                let open = match client.take() {
                    Some(open) => Ok(open),
                    None => Client::open(address(to)?),
                };
                let Ok(mut open) = open else { return Ok(false) };
                if self.send_one(&mut open).is_err() {
                    return Ok(false);
                }
                client = Some(open);
            }
            Ok(true)
        })
    }

    /// Sends one; an error says that it was not stored, or that nobody knows.
    fn send_one(&mut self, client: &mut Client) -> Result<()> {
        let (number, queue) = (self.next, i64::try_from(self.next)? % QUEUES);
        let body = self.body();
        self.next += 1;
        if client.send(TOPIC, queue, &body, &[])?.code == ResponseCode::Success {
            self.numbers.insert(number);
        }
        Ok(())
    }

    /// Of the next one.
    fn body(&self) -> Vec<u8> {
        format!("{:<1$}", self.next, self.body_bytes).into_bytes()
    }

    /// All of them are at a broker.
    fn are_at(&self, broker: &Replica) -> Result<()> {
        let mut client = Client::open(address(broker)?)?;
        let mut found = BTreeSet::new();
        for queue in 0..QUEUES {
            for body in client.pull_all(TOPIC, queue)? {
                found.insert(String::from_utf8(body)?.trim_end().parse::<usize>()?);
            }
        }
        let lost: Vec<_> = self.numbers.difference(&found).collect();
        ensure!(
            lost.is_empty(),
            "{} of {} acknowledged messages are lost, first {:?}",
            lost.len(),
            self.numbers.len(),
            lost.first()
        );
        println!("{} acknowledged messages are at broker {}", self.numbers.len(), broker.broker_id);
        Ok(())
    }
}
