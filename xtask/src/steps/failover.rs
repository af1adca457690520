//! A master is lost under load, with each broker on a machine of its own (`tests/failover/network`): three brokers of ours with synchronous double
//! write under three controllers, before a proxy, with official clients that send, receive and acknowledge all the time. The master is
//! killed, parted (both ways, or one), stopped for 30 s, or killed and its disk erased, round after round on the same group. Nothing that was acknowledged
//! is lost, un-acked pops, delayed messages and transactions go on at the new master, and the logs are the same; how long no send was
//! accepted is shown. With `--full` a hundred rounds, and beside them ten of Apache's brokers, proxy and controller, judged by nobody.

mod group;
mod kept;
mod load;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use remoting_proto::body::Replica;

use self::group::Machines;
use self::kept::{Fault, Kept, Round};
use self::load::Load;
use super::controller::group::Maker;
use super::controller::own::same_log;
use super::controller::{address, has_topic};
use super::examples;
use super::replication::client::Client;
use super::replication::group::end;
use super::replication::{Left, Times, make_topics, wait};
use crate::plan::{Context, Done};
use crate::workspace::clear;
use crate::{netns, reference, server, topics};

const GANTRY: Maker = Maker::Gantry("SYNC_MASTER");
/// Clients that send, receive and acknowledge.
const SDKS: [&str; 3] = ["go", "python", "java"];
/// Rounds with `--full`; else each fault once.
const FULL_ROUNDS: usize = 100;
const APACHE_ROUNDS: usize = 10;
/// How long a master is stopped.
const STOPPED_FOR: Duration = Duration::from_secs(30);
/// What is left un-acked or to come has so long, which the fault is not behind. Level 2 is 5 s.
const SHORT: Times = Times { invisible_ms: 6_000, delay_ms: 6_000, delay_level: "2" };
/// More than a segment of the log, which has several then.
const FILLER: &str = "filler";
const FILLER_BYTES: usize = 256 * 1024;
const FILLER_MESSAGES: usize = 80;

/// About two and a half minutes; all of it more than an hour.
pub(super) fn run(context: &Context) -> Result<Done> {
    for sdk in SDKS {
        if let skipped @ Done::Skipped { .. } = examples::prepare(context, sdk)? {
            return Ok(skipped);
        }
    }
    if context.is_full
        && let Err(error) = reference::jars()
    {
        return Ok(Done::Skipped { reason: format!("Apache's jars cannot be had: {error:#}") });
    }
    let (programs, log) = (context.workspace.root.join("tests/failover"), context.workspace.own("logs/failover.log")?);
    if let skipped @ Done::Skipped { .. } = netns::set_up(&programs, &log)? {
        return Ok(skipped);
    }
    let folder = context.workspace.own("failover")?;
    let gantry = server::build(context)?;
    let mut kept = Kept::begin(context)?;
    let ours = if context.is_full { FULL_ROUNDS } else { Fault::ALL.len() };
    let theirs = if context.is_full { APACHE_ROUNDS } else { 0 };
    for (maker, count) in [(GANTRY, ours), (Maker::ApacheAlone, theirs)] {
        while kept.rounds(maker).len() < count {
            clear(&folder)?;
            let place = Place { programs: &programs, log: &log, folder: &folder, gantry: &gantry };
            let shown = show(context, place, maker, count, &mut kept);
            shown.with_context(|| format!("{}, data kept: {}", maker.name(), folder.display()))?;
        }
    }
    kept.print();
    ensure!(kept.are_whole(GANTRY), "something is lost or did not go on");
    kept.forget()?;
    clear(&folder)?;
    Ok(Done::Passed)
}

/// What a group is started with.
#[derive(Clone, Copy)]
struct Place<'a> {
    programs: &'a Path,
    log: &'a Path,
    folder: &'a Path,
    gantry: &'a Path,
}

/// The rounds that are missing, on a new group; of Apache's up to one that does not end.
fn show(context: &Context, place: Place<'_>, maker: Maker, count: usize, kept: &mut Kept) -> Result<()> {
    let mut machines = Machines::start(place, maker)?;
    prepare(&machines)?;
    let endpoint = machines.endpoint().to_string();
    let mut load = Load::start(context, place.folder, &machines.network, &endpoint)?;
    load.is_settled()?;
    while kept.rounds(maker).len() < count {
        let number = kept.rounds(maker).len();
        let (fault, began) = (Fault::ALL[number % Fault::ALL.len()], Instant::now());
        let mut first_ms = BySdk::new();
        let round = lose(&mut machines, &mut load, number, fault).and_then(|lost| {
            first_ms.clone_from(&lost.first_ms);
            heal(&mut machines, &mut load, fault, lost)
        });
        let round = round.with_context(|| format!("round {number}: {fault}"));
        let has_ended = round.is_ok();
        let round = match (round, maker) {
            (Err(error), Maker::ApacheAlone) => Round { first_ms, ..Round::unfinished(fault, &error) },
            (round, _) => round?,
        };
        println!("{} {number}: {round}; {:.0} s", maker.name(), began.elapsed().as_secs_f64());
        let is_whole = round.is_whole();
        kept.add(maker, round)?;
        ensure!(is_whole || maker == Maker::ApacheAlone, "round {number}: {fault}: not all of it went on");
        if !has_ended {
            return Ok(());
        }
    }
    match (load.all_received(), maker) {
        (Err(error), Maker::ApacheAlone) => println!("apache: {error:#}"),
        (received, _) => received?,
    }
    Ok(())
}

/// Topics that all brokers have, and a log of several segments.
fn prepare(machines: &Machines) -> Result<()> {
    let (master, brokers) = machines.whole()?;
    let master = address(&master)?;
    make_topics(master)?;
    topics::create(master, FILLER, "NORMAL")?;
    for sdk in SDKS {
        topics::create(master, &load::topic(sdk), "NORMAL")?;
    }
    let mut client = Client::open(master)?;
    for _ in 0..FILLER_MESSAGES {
        client.send(FILLER, 0, &[b'x'; FILLER_BYTES], &[])?;
    }
    // Apache's slaves ask for topics every ten seconds.
    for replica in brokers {
        for sdk in SDKS {
            wait("a broker has the topics", || has_topic(&replica, &load::topic(sdk)))?;
        }
    }
    Ok(())
}

/// A master that is lost, what it leaves, and when each client had a send accepted after that.
struct Lost {
    old: Replica,
    left: Left,
    at: SystemTime,
    first_ms: BySdk<u64>,
}

/// The master is lost, and sends are accepted again.
fn lose(machines: &mut Machines, load: &mut Load, number: usize, fault: Fault) -> Result<Lost> {
    load.is_settled()?;
    let (old, _) = machines.whole()?;
    let left = Left::make_as(&format!("round {number} "), SHORT, &mut Client::open(address(&old)?)?)?;
    let at = SystemTime::now();
    begin(machines, fault, &old)?;
    // Until here the master was there.
    let first_ms = load.accepted_after(at, SystemTime::now())?;
    Ok(Lost { old, left, at, first_ms })
}

/// The fault ends, the group is whole again, and nothing is missing.
fn heal(machines: &mut Machines, load: &mut Load, fault: Fault, lost: Lost) -> Result<Round> {
    let Lost { old, left, at, first_ms } = lost;
    if fault == Fault::Stopped {
        // Nothing says that it is over but the time.
        thread::sleep(STOPPED_FOR.saturating_sub(at.elapsed().unwrap_or_default()));
    }
    finish(machines, fault, &old)?;
    let (master, brokers) = machines.whole()?;
    if fault == Fault::Erased && machines.maker == GANTRY {
        // A name has few ids.
        wait("the old id is forgotten", || Ok(machines.group.forget(&old).is_ok() || machines.has_forgotten(&old)))?;
    }
    ensure!(master.broker_id != old.broker_id, "the old master is the master");
    let left = left.go_on(&mut Client::open(address(&master)?)?);
    let (acknowledged, lost, repeats) = load.compare(address(&master)?)?;
    let (left_repeats, unfinished) =
        left.map_or_else(|error| (0, Some(format!("{error:#}"))), |repeats| (repeats, None));
    let unlike = same_logs(machines, &master, &brokers).err().map(|error| format!("{error:#}"));
    Ok(Round { fault, first_ms, acknowledged, lost, repeats: repeats + left_repeats, unfinished, unlike })
}

fn begin(machines: &mut Machines, fault: Fault, master: &Replica) -> Result<()> {
    match fault {
        Fault::Killed | Fault::Erased => machines.group.kill_broker(master),
        Fault::Parted => machines.part(master, "both"),
        Fault::Mute => machines.part(master, "from"),
        Fault::Deaf => machines.part(master, "to"),
        Fault::Stopped => machines.group.signal_broker(master, "-STOP"),
    }
}

fn finish(machines: &mut Machines, fault: Fault, old: &Replica) -> Result<()> {
    match fault {
        Fault::Killed => machines.group.restart_broker(old),
        Fault::Erased => {
            fs::remove_dir_all(machines.group.data(old)?)?;
            machines.group.restart_broker(old)
        }
        Fault::Parted | Fault::Mute | Fault::Deaf => machines.join(old),
        Fault::Stopped => machines.group.signal_broker(old, "-CONT"),
    }
}

/// All in sync have what the master has now, byte by byte.
fn same_logs(machines: &Machines, master: &Replica, brokers: &[Replica]) -> Result<()> {
    let length = end(address(master)?)?;
    for replica in brokers {
        wait("a slave has the log", || Ok(end(address(replica)?).is_ok_and(|end| end >= length)))?;
        same_log(&machines.group, master, replica, length)?;
    }
    Ok(())
}

/// By SDK.
type BySdk<T> = BTreeMap<String, T>;
