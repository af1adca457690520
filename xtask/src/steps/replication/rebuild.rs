//! A slave is made whole again while its master goes on: first one whose log ends before the master's begins, then one whose disk is lost,
//! then one of whose log a segment is lost and another one damaged.
//! What the master's front had that is not finished is in neither's log where it was first. Then the master is lost, and the slave is made
//! the master by hand: it has all that was acknowledged and has not expired, and goes on with what was not finished.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, ensure};
use bytes::Bytes;
use remoting_proto::{Fields, RequestCode};

use super::client::{Client, GROUP, now_ms};
use super::group::{Group, Maker, SEGMENT_BYTES, end, number, slaves_that_keep_up};
use super::{BODY_BYTES, Left, PLAIN, QUEUES, Sender, bodies, kill_while_sending, make_topics, wait};
use crate::{remoting, topics};

/// More than a segment.
const MESSAGES: usize = 1_500;
/// Where the group goes on in each queue.
const COMMITTED: i64 = 10;
const HOUR_MS: i64 = 3_600_000;

/// A minute.
pub(super) fn run(folder: &Path, gantry: &Path) -> Result<()> {
    // The front goes when it is asked for, and not by the hour.
    let far = (now_ms() / HOUR_MS + 12) % 24;
    let settings = format!("fileReservedTime=1s\ndeleteWhen={far:02}\n");
    let mut group = Group::start_with(folder, gantry, "SYNC_MASTER", [Maker::Gantry, Maker::Gantry], settings)?;
    make_topics(group.master())?;
    let mut client = Client::open(group.master())?;
    let left = Left::make(&mut client)?;
    let mut sender = Sender { client, body_bytes: BODY_BYTES, next: 0, kept: BTreeSet::new() };
    sender.send(MESSAGES)?;
    for queue in 0..QUEUES {
        sender.client.commit_offset(PLAIN, queue, COMMITTED)?;
    }
    group.compare_logs()?;

    group.kill_slave();
    let ended_at = end(group.master())?;
    sender.send(MESSAGES)?;
    let begins_at = let_front_go(group.master())?;
    ensure!(
        ended_at < begins_at,
        "the master's log begins at {begins_at}, where the slave's has not ended: {ended_at}"
    );
    sender.send(MESSAGES)?;
    group.start_slave()?;
    sender.send(MESSAGES)?;
    let bytes = group.compare_logs()? - begins_at;
    println!("rebuild: a slave that ended at {ended_at} has the master's log from {begins_at} on, {bytes} bytes");

    group.lose_slave()?;
    sender.send(MESSAGES)?;
    group.start_slave()?;
    sender.send(MESSAGES)?;
    let bytes = group.compare_logs()? - begins_at;
    println!("rebuild: a slave that has lost its disk has {bytes} bytes of log again");

    group.stop_slave()?;
    group.damage_slave()?;
    sender.send(MESSAGES)?;
    group.start_slave()?;
    // The one is missed by the start, the other one found a while after it.
    wait("the damaged segments are got again", || Ok(group.compare_logs().is_ok()))?;
    println!("rebuild: a slave has the segment that it had lost, and the one that was damaged");
    wait("the slave keeps up", || Ok(slaves_that_keep_up(group.master())? == 1))?;

    let mut promised = bodies(&mut sender.client)?;
    // Of what was kept before a part has expired.
    sender.kept.clear();
    let master = group.master();
    let sender = kill_while_sending(sender, master, || group.kill_master())?;
    promised.extend(sender.kept);
    let mut client = Client::open(group.promote()?)?;
    let found = bodies(&mut client)?;
    let lost: Vec<_> = promised.difference(&found).collect();
    ensure!(lost.is_empty(), "{} of {} messages are lost, first {:?}", lost.len(), promised.len(), lost.first());
    let committed = topics::finished(group.slave(), PLAIN, GROUP)?;
    ensure!(committed == COMMITTED * QUEUES, "the group is at {committed} in all");
    let repeats = left.without_front().go_on(&mut client)?;
    ensure!(repeats == 0, "{repeats} messages came again");
    println!("rebuild: {} promised messages and all that was not finished are at the new master", promised.len());
    Ok(())
}

/// Lets all segments of a broker's log go but the last; answers where it begins then.
fn let_front_go(broker: SocketAddr) -> Result<u64> {
    let ask = || remoting::call(broker, RequestCode::DeleteExpiredCommitLog, Fields::default(), Bytes::new());
    let ends_at = end(broker)?;
    wait("the front goes", || {
        ask()?;
        Ok(number(broker, "commitLogMinOffset")? + SEGMENT_BYTES > ends_at)
    })?;
    // Until nothing more may go it would go on.
    ask()?;
    number(broker, "commitLogMinOffset")
}
