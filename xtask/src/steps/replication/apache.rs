//! A slave of Apache's behind a master of Gantry's, and the reverse: both logs are the same byte by byte, what is not in them is at the slave
//! too, `mqadmin` shows both, and the slave, once its master is lost and it is made the master by hand, has all of it. What comes again there
//! is counted. The programs are those in `tests/replication/java`. `docs/migrate.md` tells an operator the same.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use remoting_proto::body::ConsumerOffsets;
use remoting_proto::{Fields, RequestCode};

use super::among::Among;
use super::client::{Client, GROUP};
use super::group::{BROKER, Group, Maker};
use super::{Left, PLAIN, QUEUES, Sender, bodies, make_topics, wait};
use crate::plan::Context;
use crate::shell::{self, To};
use crate::steps::java::Programs;
use crate::steps::mqadmin;
use crate::{reference, remoting, topics};

/// Messages that are sent, with a body of so many bytes: several segments. With `--full` a million small ones.
const MESSAGES: usize = 1_500;
const BODY_BYTES: usize = 8 * 1024;
const MESSAGES_FULL: usize = 1_000_000;
const BODY_BYTES_FULL: usize = 100;
/// How often there is something else among them.
const ROUNDS: usize = 4;
const ROUNDS_FULL: usize = 100;
/// Where the group goes on in each queue.
const COMMITTED: i64 = 10;
/// Messages that a promoted slave of Apache's delivers again that were finished before: one that was acked behind another that was not, as
/// Apache has one offset for both; and those two that waited for a time, if they came right before the master was killed.
const REPEATS_OF_APACHE: RangeInclusive<usize> = 1..=3;
/// The same of ours: two that were not acked, if Apache moved them to the retry topic right before it was killed and had not noted so yet.
const REPEATS_OF_GANTRY: RangeInclusive<usize> = 0..=2;
/// Delayed messages among the many that a promoted slave delivers again that had come.
const LATE_AGAIN: RangeInclusive<usize> = 0..=2;

/// Both, side by side: about a minute; with `--full` a million messages each.
pub(super) fn run(context: &Context, programs: &Programs) -> Result<()> {
    // Its own start script's class asks each minute.
    let classes = (!context.is_full).then(|| programs.classes.clone());
    let apache = || Maker::Apache { classes: classes.clone() };
    let pairs = [[Maker::Gantry, apache()], [apache(), Maker::Gantry]];
    shell::side_by_side(pairs, |pair| show(context, programs, pair)).map(drop)
}

fn show(context: &Context, programs: &Programs, makers: [Maker; 2]) -> Result<()> {
    let is_apache_slave = makers[0] == Maker::Gantry;
    let name = if is_apache_slave { "apache-behind-gantry" } else { "gantry-behind-apache" };
    let folder = programs.folder.join(name);
    fs::create_dir_all(&folder)?;
    let (log, classes) = (programs.log.with_file_name(format!("replication-{name}.log")), programs.classes.clone());
    fs::write(&log, "")?;
    let pair = Pair {
        context,
        name,
        is_apache_slave,
        programs: Programs { folder, log, classes, gantry: programs.gantry.clone() },
    };
    pair.show(makers).with_context(|| name)
}

struct Pair<'a> {
    context: &'a Context,
    name: &'a str,
    is_apache_slave: bool,
    programs: Programs,
}

impl Pair<'_> {
    fn show(&self, makers: [Maker; 2]) -> Result<()> {
        let (messages, body_bytes) =
            if self.context.is_full { (MESSAGES_FULL, BODY_BYTES_FULL) } else { (MESSAGES, BODY_BYTES) };
        let mut group = Group::start(&self.programs.folder, &self.programs.gantry, "ASYNC_MASTER", makers)?;
        make_topics(group.master())?;
        let rounds = if self.context.is_full { ROUNDS_FULL } else { ROUNDS };
        let mut among = Among::start(group.master(), messages / rounds)?;
        let client = Client::open(group.master())?;
        let mut sender = Sender { client, body_bytes, next: 0, kept: BTreeSet::new() };
        let began = Instant::now();
        among.send(&mut sender, messages / 2)?;
        if !self.is_apache_slave {
            group.kill_slave();
        }
        among.send(&mut sender, messages / 4)?;
        if !self.is_apache_slave {
            group.start_slave()?;
        }
        among.send(&mut sender, messages / 4)?;
        println!("{}: {messages} messages sent in {:.1?}", self.name, began.elapsed());
        let left = Left::make(&mut sender.client)?;
        for queue in 0..QUEUES {
            sender.client.commit_offset(PLAIN, queue, COMMITTED)?;
        }
        wait("the slave knows where the group is", || self.is_told(&group))?;
        let bytes = group.compare_logs()?;
        println!("{}: {messages} messages, {bytes} bytes of log are the same at both", self.name);
        self.look(&group)?;

        group.kill_master();
        if self.is_apache_slave {
            // The master is gone; a slave of Apache's serves who reads.
            self.consume(&group, "others", messages)?;
        }
        let mut client = Client::open(group.promote()?)?;
        let found = bodies(&mut client)?;
        ensure!(found.iter().copied().eq(0..messages), "{} of {messages} messages are there", found.len());
        let committed = topics::finished(group.slave(), PLAIN, GROUP)?;
        ensure!(committed == COMMITTED * QUEUES, "the group is at {committed} in all, not {}", COMMITTED * QUEUES);
        self.consume(&group, GROUP, messages - usize::try_from(committed)?)?;
        let late_again = among.are_ended(&mut client)?;
        ensure!(LATE_AGAIN.contains(&late_again), "{late_again} delayed messages were delivered again");
        let repeats = left.go_on(&mut client)?;
        println!("{}: all are at the new master, {repeats} of what was delivered came again", self.name);
        let expected = if self.is_apache_slave { REPEATS_OF_APACHE } else { REPEATS_OF_GANTRY };
        ensure!(expected.contains(&repeats), "{repeats} messages came again, not {expected:?}");
        Ok(())
    }

    /// Whether the slave has been told where the group is: asked, one of Apache's; of ours its file is looked at, which it answers
    /// nobody from.
    fn is_told(&self, group: &Group) -> Result<bool> {
        let table = if self.is_apache_slave {
            remoting::call(group.slave(), RequestCode::GetAllConsumerOffset, Fields::default(), bytes::Bytes::new())?
                .body
                .to_vec()
        } else {
            fs::read(group.file_of_slave("config/consumerOffset.json")).unwrap_or_else(|_| b"{}".to_vec())
        };
        let offsets: ConsumerOffsets = remoting_proto::from_slice(&table)?;
        let of_group = offsets.offset_table.get(&format!("{PLAIN}@{GROUP}"));
        let is_there = |queue| of_group.and_then(|queues| queues.get(&queue)) == Some(&COMMITTED.unsigned_abs());
        Ok((0..u32::try_from(QUEUES)?).all(is_there))
    }

    /// What operators are shown of both.
    fn look(&self, group: &Group) -> Result<()> {
        let (master, slave) = (group.master().to_string(), group.slave().to_string());
        let commands = ["clusterList".to_owned(), format!("haStatus -b {master}"), format!("haStatus -b {slave}")];
        let commands = [&*commands[0], &*commands[1], &*commands[2]];
        let printed = mqadmin::print(self.context, &self.programs, group.name_server(), &commands)?;
        fs::write(self.programs.folder.join("printed"), &printed)?;
        let blocks = mqadmin::blocks(&printed);
        let has = |command: &str, words: &str| {
            let is_there = blocks.get(command).is_some_and(|lines| lines.iter().any(|line| line.contains(words)));
            ensure!(is_there, "{command} does not say {words:?}, see the file printed");
            Ok(())
        };
        for words in [BROKER, &master, &slave] {
            has(commands[0], words)?;
        }
        has(commands[1], "#InSyncSlaveNum\t1")?;
        has(commands[2], "#MasterAddr\t127.0.0.1:")
    }

    /// A client of 4.x consumes so many messages.
    fn consume(&self, group: &Group, consumer_group: &str, count: usize) -> Result<()> {
        let mut java = reference::java(&format!("replication/{}", self.name), &[Path::new(&self.programs.classes)])?;
        java.arg("Consume").args([&group.name_server().to_string(), PLAIN, consumer_group, &count.to_string()]);
        shell::run(&mut java, To::File(&self.programs.log))
    }
}
