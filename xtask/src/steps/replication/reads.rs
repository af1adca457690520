//! Consumers of 4.x, by Apache's client of 4.9.3 and of 5.5.0, that read from a slave: sent there because they are far behind; reading on
//! while their master is killed; begun while it is away, where their group is by what the slave knows.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::client::{Client, GROUP};
use super::group::{Group, Maker, WITHIN, number};
use super::{PLAIN, Sender, wait};
use crate::process::Process;
use crate::steps::broker;
use crate::steps::java::Programs;
use crate::{shell, topics};

/// Sent twice; of these a client has at most 1,000 of each of the four queues at hand.
const MESSAGES: usize = 5_000;
/// So long that each half has more than a segment.
const BODY_BYTES: usize = 2 * 1024;
/// How long one message takes who is still reading when the master is killed.
const PAUSE_MS: &str = "5";
/// A second reader of the topic.
const OTHERS: &str = "others";

/// Both clients side by side: half a minute.
pub(super) fn run(programs: &Programs) -> Result<()> {
    shell::side_by_side(["old", "new"], |release| show(programs, release).with_context(|| release)).map(drop)
}

fn show(programs: &Programs, release: &'static str) -> Result<()> {
    let folder = programs.folder.join(format!("reads-{release}"));
    fs::create_dir_all(&folder)?;
    let mut group = Group::start(&folder, &programs.gantry, "ASYNC_MASTER", [Maker::Gantry, Maker::Gantry])?;
    topics::create(group.master(), PLAIN, "NORMAL")?;
    for name in [GROUP, OTHERS] {
        topics::create_group(group.master(), name, false)?;
    }
    let client = Client::open(group.master())?;
    let mut sender = Sender { client, body_bytes: BODY_BYTES, next: 0, kept: Default::default() };
    sender.send(MESSAGES)?;
    group.compare_logs()?;
    let consumer = Consumer { programs, release, name_server: group.name_server(), folder };

    consumer.start(GROUP, MESSAGES, "0")?.finish(WITHIN)?;
    let at_slave = read(group.slave())?;
    ensure!(at_slave > MESSAGES / 2, "the slave was read for {at_slave} of {MESSAGES} messages");
    wait("the slave knows where the group is", || {
        Ok(topics::finished(group.slave(), PLAIN, GROUP)? == i64::try_from(MESSAGES)?)
    })?;
    sender.send(MESSAGES)?;
    group.compare_logs()?;

    let others = consumer.start(OTHERS, 2 * MESSAGES, PAUSE_MS)?;
    wait("the slave is read again", || Ok(read(group.slave())? > at_slave))?;
    group.kill_master();
    let before = read(group.slave())? - at_slave;
    others.finish(WITHIN)?;
    let after = read(group.slave())? - at_slave;
    ensure!(after > before, "all of it was read before the master was killed");
    consumer.start(GROUP, MESSAGES, "0")?.finish(WITHIN)?;
    let printed = fs::read_to_string(consumer.log(GROUP))?;
    let expected = format!("{MESSAGES} different from {MESSAGES} on");
    ensure!(printed.contains(&expected), "not {expected}: {printed}");
    println!(
        "{release} client: {at_slave} of {MESSAGES} messages come from the slave, {} after the master's end",
        after - before
    );
    Ok(())
}

/// Starts consumers of one release.
pub(super) struct Consumer<'a> {
    pub(super) programs: &'a Programs,
    pub(super) release: &'static str,
    pub(super) name_server: SocketAddr,
    pub(super) folder: PathBuf,
}

impl Consumer<'_> {
    /// Begins to consume so many messages.
    fn start(&self, group: &str, count: usize, pause_ms: &str) -> Result<Process> {
        self.start_with(group, count, &[pause_ms])
    }

    /// The same, with what else the program is told.
    pub(super) fn start_with(&self, group: &str, count: usize, more: &[&str]) -> Result<Process> {
        let mut java: Command = broker::client(self.release, &self.programs.classes)?;
        java.arg("Consume").args([&self.name_server.to_string(), PLAIN, group, &count.to_string()]).args(more);
        Process::start("a consumer", java, self.log(group))
    }

    /// What it prints.
    pub(super) fn log(&self, group: &str) -> PathBuf {
        self.folder.join(format!("{group}.log"))
    }
}

/// How many messages a broker was read for.
fn read(broker: SocketAddr) -> Result<usize> {
    Ok(usize::try_from(number(broker, "msgGetTotalTodayNow")?)?)
}
