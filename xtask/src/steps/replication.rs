//! A master and its slave as processes, with asynchronous replication and with synchronous double write: the slave is killed and comes back,
//! both logs are the same byte by byte, then the master is killed while it is sent to and the slave is made the master by hand. Nothing that
//! was acknowledged under the role's promise is lost, and leases, delayed messages and transactions go on. Before that the layouts of the
//! set-up guides from their files (`layouts`), after it two slaves that are both waited for (`several`), a slave that is made whole again by its
//! master (`rebuild`), consumers that read from a slave (`reads`), or go on at one that stands in for its master (`acting`), and the same with a
//! slave or a master of Apache's (`apache`).

mod acting;
mod among;
mod apache;
pub(super) mod client;
pub(super) mod group;
mod layouts;
mod reads;
mod rebuild;
mod several;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use remoting_proto::ResponseCode;

use crate::plan::{Context, Done};
use crate::steps::java;
use crate::workspace::clear;
use crate::{server, topics};

use client::{COMMIT, Client, ROLL_BACK, Sent, now_ms};
use group::{Group, IMPATIENT, Maker, WITHIN, slaves_that_keep_up};

/// Role of the master, and whether all that was acknowledged to senders is promised to be at the slave.
const ROLES: [(&str, bool); 2] = [("ASYNC_MASTER", false), ("SYNC_MASTER", true)];
const PLAIN: &str = "orders";
const POPPED: &str = "jobs";
const LATE: &str = "late";
const DEALS: &str = "deals";
const QUEUES: i64 = 4;
/// Messages that are sent while the slave dies and comes back; ten times as many with `--full`.
const MESSAGES: usize = 3_000;
const BODY_BYTES: usize = 8 * 1024;
/// Messages that the master must acknowledge before it is killed.
const ACKED_BEFORE_KILL: usize = 300;
/// How far ahead [`Left`] reaches: longer than until the slave is made the master, and level 4 is half a minute.
const LONG: Times = Times { invisible_ms: 20_000, delay_ms: 40_000, delay_level: "4" };
/// Bodies of what is popped together, and whether it is acked: one behind another that is not.
const POPS: [(&str, bool); 4] = [("a", true), ("b", false), ("c", true), ("d", false)];
/// Messages that are on their way together; a multiple of [`QUEUES`].
const TOGETHER: usize = 100;
const POLL_EVERY: Duration = Duration::from_millis(200);

/// About two minutes.
pub(super) fn run(context: &Context) -> Result<Done> {
    let folder = context.workspace.own("replication")?;
    clear(&folder)?;
    let gantry = server::build(context)?;
    layouts::run(&context.workspace.root, &folder, &gantry)?;
    let messages = if context.is_full { MESSAGES * 10 } else { MESSAGES };
    for (role, is_double_write) in ROLES {
        let folder = folder.join(role);
        clear(&folder)?;
        let shown = show(&folder, &gantry, role, is_double_write, messages);
        shown.with_context(|| format!("{role}, data kept: {}", folder.display()))?;
    }
    clear(&folder)?;
    several::run(&folder, &gantry).with_context(|| format!("several, data kept: {}", folder.display()))?;
    clear(&folder)?;
    rebuild::run(&folder, &gantry).with_context(|| format!("rebuild, data kept: {}", folder.display()))?;
    clear(&folder)?;
    java::run(context, "replication", &[IMPATIENT, "Consume"], |programs| {
        reads::run(programs)?;
        acting::run(programs)?;
        apache::run(context, programs)
    })
}

fn show(folder: &Path, gantry: &Path, role: &str, is_double_write: bool, messages: usize) -> Result<()> {
    let mut group = Group::start(folder, gantry, role, [Maker::Gantry, Maker::Gantry])?;
    make_topics(group.master())?;
    let mut client = Client::open(group.master())?;
    let left = Left::make(&mut client)?;
    let mut sender = Sender { client, body_bytes: BODY_BYTES, next: 0, kept: BTreeSet::new() };
    sender.send(messages / 3)?;
    group.kill_slave();
    sender.send(messages / 3)?;
    group.start_slave()?;
    sender.send(messages / 3)?;
    let bytes = group.compare_logs()?;
    ensure!(slaves_that_keep_up(group.master())? == 1, "the master does not know its slave");
    println!("{role}: {} messages, {bytes} bytes of log are the same at the slave", sender.next);
    // All of them are at the slave now, whatever their senders were told.
    let mut promised: BTreeSet<usize> = (0..sender.next).collect();

    let master = group.master();
    let sender = kill_while_sending(sender, master, || group.kill_master())?;
    if is_double_write {
        ensure!(sender.kept.len() >= ACKED_BEFORE_KILL, "only {} sends were answered by both", sender.kept.len());
        promised.extend(sender.kept);
    }
    let mut client = Client::open(group.promote()?)?;
    let found = bodies(&mut client)?;
    let lost: Vec<_> = promised.difference(&found).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} promised messages are lost, first {:?}",
        lost.len(),
        promised.len(),
        lost.first()
    );
    println!("{role}: {} promised messages are at the new master, {} in all", promised.len(), found.len());
    let repeats = left.go_on(&mut client)?;
    ensure!(repeats == 0, "{repeats} messages came again");
    Ok(())
}

/// Kills a master while it is sent to; answers who has sent, once it has noticed.
fn kill_while_sending(mut sender: Sender, master: SocketAddr, kill: impl FnOnce()) -> Result<Sender> {
    let killed_at = i64::try_from(sender.next + ACKED_BEFORE_KILL)?;
    let sending = thread::spawn(move || {
        // Until its broker is gone.
        while sender.send(1).is_ok() {}
        sender
    });
    wait("the master is sent to", || Ok(topics::messages(master, PLAIN)? >= killed_at))?;
    kill();
    sending.join().ok().context("the sender panicked")
}

/// At a master.
pub(super) fn make_topics(master: SocketAddr) -> Result<()> {
    for (topic, kind) in [(PLAIN, "NORMAL"), (POPPED, "NORMAL"), (LATE, "DELAY"), (DEALS, "TRANSACTION")] {
        topics::create(master, topic, kind)?;
    }
    topics::create_group(master, client::GROUP, false)
}

/// How long what is left has until it goes on by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) invisible_ms: i64,
    pub(super) delay_ms: i64,
    pub(super) delay_level: &'static str,
}

/// What the master leaves unfinished.
pub(super) struct Left {
    /// Begins the bodies, so that what was left before is told from it.
    name: String,
    times: Times,
    due_ms: i64,
    half: Sent,
    /// Whether what was committed has not expired.
    has_front: bool,
}

impl Left {
    /// At a master with the topics.
    pub(super) fn make(client: &mut Client) -> Result<Self> {
        Self::make_as("left ", LONG, client)
    }

    /// The same, as often as names differ.
    pub(super) fn make_as(name: &str, times: Times, client: &mut Client) -> Result<Self> {
        let body = |text: &str| format!("{name}{text}");
        for (text, _) in POPS {
            client.send(POPPED, 0, body(text).as_bytes(), &[])?;
        }
        let is_ours = |found: &&[u8]| found.starts_with(name.as_bytes());
        // Apache's broker makes them readable after it has answered.
        wait("all can be read", || {
            let found = client.pull_all(POPPED, 0)?;
            Ok(found.iter().map(Vec::as_slice).filter(is_ours).count() == POPS.len())
        })?;
        let mut popped = client.pop(POPPED, 0, times.invisible_ms)?;
        popped.retain(|message| is_ours(&&*message.body));
        ensure!(popped.len() == POPS.len(), "{} of {} messages were popped", popped.len(), POPS.len());
        for (text, _) in POPS.iter().filter(|(_, is_acked)| *is_acked) {
            let acked = popped.iter().find(|message| message.body == body(text).as_bytes());
            client.ack(POPPED, acked.context("it was popped")?)?;
        }
        let due_ms = now_ms() + times.delay_ms;
        client.send(LATE, 0, body("late").as_bytes(), &[("TIMER_DELIVER_MS", &due_ms.to_string())])?;
        client.send(LATE, 1, body("level").as_bytes(), &[("DELAY", times.delay_level)])?;
        let half = client.send_half(DEALS, &body("deal"))?;
        for (text, end) in [("committed", COMMIT), ("rolled back", ROLL_BACK)] {
            let half = client.send_half(DEALS, &body(text))?;
            client.end(DEALS, &half, end)?;
        }
        Ok(Self { name: name.to_owned(), times, due_ms, half, has_front: true })
    }

    /// The same, once the part of the log has gone in which it was made.
    fn without_front(self) -> Self {
        Self { has_front: false, ..self }
    }

    /// All of it ends as it would have at the old master; answers how many messages came that had come there.
    pub(super) fn go_on(self, client: &mut Client) -> Result<usize> {
        let unacked = POPS.iter().filter(|(_, is_acked)| !is_acked).map(|(text, _)| self.body(text));
        let unacked: Vec<_> = unacked.collect();
        let mut popped = Vec::new();
        wait("what was not acked comes again", || {
            popped.extend(client.pop(POPPED, 0, self.times.invisible_ms * 10)?);
            popped.retain(|message| self.is_ours(&message.body));
            Ok(unacked.iter().all(|body| popped.iter().any(|message| message.body == *body)))
        })?;
        let mut repeats = popped.len() - unacked.len();
        for message in &popped {
            client.ack(POPPED, message)?;
        }
        client.end(DEALS, &self.half, COMMIT)?;
        let mut deals = client.pull_all(DEALS, 0)?;
        deals.retain(|body| self.is_ours(body));
        let expected = if self.has_front { &["committed", "deal"][..] } else { &["deal"] };
        ensure!(
            deals.iter().eq(expected.iter().map(|text| self.body(text)).collect::<Vec<_>>().iter()),
            "of the transactions there is {deals:?}"
        );
        for (queue, due_ms) in [(0, self.due_ms), (1, i64::MIN)] {
            let mut came = Vec::new();
            wait("the delayed message comes", || {
                came = client.pull_records(LATE, queue)?;
                came.retain(|record| self.is_ours(&record.body));
                Ok(!came.is_empty())
            })?;
            ensure!(came.iter().all(|record| record.stored_at_ms >= due_ms), "before {due_ms} came {came:?}");
            repeats += came.len() - 1;
        }
        Ok(repeats)
    }

    fn body(&self, text: &str) -> Vec<u8> {
        format!("{}{text}", self.name).into_bytes()
    }

    fn is_ours(&self, body: &[u8]) -> bool {
        body.starts_with(self.name.as_bytes())
    }
}

/// Sends numbered messages.
struct Sender {
    client: Client,
    body_bytes: usize,
    next: usize,
    /// Those of which the sender was told that slaves have them too, where the master waits for them.
    kept: BTreeSet<usize>,
}

impl Sender {
    fn send(&mut self, count: usize) -> Result<()> {
        let end = self.next + count;
        while self.next < end {
            let numbers = self.next..end.min(self.next + TOGETHER);
            let messages = numbers.clone().zip((0..QUEUES).cycle()).map(|(number, queue)| (queue, self.body(number)));
            let sent = self.client.send_together(PLAIN, messages.collect())?;
            let kept = numbers.clone().zip(sent).filter(|(_, sent)| sent.code == ResponseCode::Success);
            self.kept.extend(kept.map(|(number, _)| number));
            self.next = numbers.end;
        }
        Ok(())
    }

    fn body(&self, number: usize) -> Vec<u8> {
        let mut body = number.to_string().into_bytes();
        body.resize(self.body_bytes, b' ');
        body
    }
}

/// The numbers of all messages that a broker has.
fn bodies(client: &mut Client) -> Result<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    for queue in 0..QUEUES {
        for body in client.pull_all(PLAIN, queue)? {
            found.insert(String::from_utf8(body)?.trim_end().parse()?);
        }
    }
    Ok(found)
}

/// Waits until something is the case.
pub(super) fn wait(what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is()? {
        ensure!(began.elapsed() < WITHIN, "{what}: not in time");
        thread::sleep(POLL_EVERY);
    }
    Ok(())
}
