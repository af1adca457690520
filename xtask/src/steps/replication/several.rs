//! Three brokers of a name with synchronous double write to both slaves (`inSyncReplicas=3`), of which one must be there
//! (`minInSyncReplicas=2`). A slave that is lost is told to senders, and without any their messages are refused. Then both come back and the
//! master is killed while it is sent to: each slave has all that was answered by all three, and their logs are the same.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use remoting_proto::ResponseCode;

use super::client::{Client, Sent};
use super::group::{Group, Maker, slaves_that_keep_up};
use super::{ACKED_BEFORE_KILL, BODY_BYTES, POPPED, Sender, bodies, kill_while_sending, make_topics, wait};

const SETTINGS: &str = "inSyncReplicas=3\nminInSyncReplicas=2\n";
/// More than a segment.
const MESSAGES: usize = 1_500;

/// Half a minute.
pub(super) fn run(folder: &Path, gantry: &Path) -> Result<()> {
    let makers = [Maker::Gantry, Maker::Gantry];
    let mut group = Group::start_with(folder, gantry, "SYNC_MASTER", makers, SETTINGS.to_owned())?;
    group.start_second_slave()?;
    until_in_sync(&group, 2)?;
    make_topics(group.master())?;
    let client = Client::open(group.master())?;
    let mut sender = Sender { client, body_bytes: BODY_BYTES, next: 0, kept: BTreeSet::new() };
    sender.send(MESSAGES)?;
    ensure!(sender.kept.len() == MESSAGES, "{} of {MESSAGES} sends were answered by all three", sender.kept.len());

    group.kill_slave();
    until_in_sync(&group, 1)?;
    let code = send_one(&mut sender.client)?.code;
    ensure!(code == ResponseCode::SlaveNotAvailable, "with one of two slaves a send is answered {code:?}");
    group.kill_second_slave();
    until_in_sync(&group, 0)?;
    let refusal = send_one(&mut sender.client).err().context("a send without slaves is taken")?.to_string();
    ensure!(refusal.contains("messages are taken from 2 on"), "it is refused so: {refusal}");

    group.start_slave()?;
    group.start_second_slave()?;
    until_in_sync(&group, 2)?;
    let master = group.master();
    let sender = kill_while_sending(sender, master, || group.kill_master())?;
    let kept = sender.kept.len();
    ensure!(kept >= MESSAGES + ACKED_BEFORE_KILL, "only {kept} sends were answered by all three");
    for slave in group.slaves() {
        let found = bodies(&mut Client::open(slave)?)?;
        let lost = sender.kept.difference(&found).count();
        ensure!(lost == 0, "{lost} of {kept} messages are not at the slave {slave}");
    }
    let bytes = group.compare_slaves()?;
    println!("several: {kept} messages that three have are at both slaves, {bytes} bytes of their logs are the same");
    Ok(())
}

/// Waits until so many slaves keep up.
fn until_in_sync(group: &Group, slaves: i32) -> Result<()> {
    wait("another number of slaves keeps up", || Ok(slaves_that_keep_up(group.master())? == slaves))
}

/// Where no numbered message is.
fn send_one(client: &mut Client) -> Result<Sent> {
    client.send(POPPED, 0, b"one", &[])
}
