//! A slave's log is damaged, and its master's is not: what is damaged comes from the master again.

mod common;

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::replication::mend::Mend;
use broker::replication::{Ended, Master, Refused, damage, scrub};
use broker::{LocalBroker, Options};
use common::follow::*;
use common::*;
use env::disk::OpenMode;
use env::sim::{self, World};
use tokio::io::duplex;

/// A machine with a master, and a slave on another one that has its log of several segments and was stopped.
async fn stopped_slave(world: &World) -> (LocalBroker, Arc<Master>, World) {
    let machine = world.another();
    let master = start_with(world, options());
    let serving = master_of(world, &master);
    fill(&master).await;
    let slave = start_with(&machine, slave_options());
    let follower = Follower::connect(&machine, &serving, &slave);
    until_equal(world, &master, &slave).await;
    drop(follower);
    slave.stop().await;
    (master, serving, machine)
}

async fn fill(master: &LocalBroker) {
    for number in 0..600 {
        send(master, "t", &"x".repeat(number * 4)).await;
    }
}

fn segment(base: usize) -> PathBuf {
    Path::new(SLAVE_DIR).join("commitlog").join(format!("{base:020}"))
}

/// Flips a bit of a slave's log.
fn flip(machine: &World, at: usize) {
    let path = segment(at - at % SEGMENT_BYTES);
    let file = machine.env().disk.open(&path, OpenMode::ReadWrite).expect("is there");
    let (at, mut byte) = ((at % SEGMENT_BYTES) as u64, [0]);
    assert_eq!(file.read_at(&mut byte, at).expect("read"), 1);
    file.write_all_at(&[IoSlice::new(&[byte[0] ^ 1])], at).expect("written");
    file.sync_data().expect("synced");
}

/// Whether a slave that runs finds damage in its log.
async fn is_found(machine: &World) -> bool {
    let slave = start_with(machine, slave_options());
    let is_found = scrub::look(&machine.env(), &slave, Path::new(SLAVE_DIR)).await.expect("looked at");
    slave.stop().await;
    assert_eq!(is_noted(machine), is_found);
    is_found
}

fn is_noted(machine: &World) -> bool {
    damage::is_noted(&*machine.env().disk, Path::new(SLAVE_DIR)).expect("looked at")
}

/// Gets a damaged segment; `None` if none is known.
async fn mend(machine: &World, master: &Arc<Master>) -> Option<Ended> {
    let mend = match Mend::open(&machine.env(), PathBuf::from(SLAVE_DIR)) {
        Ok(mend) => mend?,
        Err(error) => return Some(error.into()),
    };
    let (ours, theirs) = duplex(ON_THE_WAY_BYTES);
    let (serving, remote) = (Arc::clone(master), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    let serving = tokio::spawn(async move { serving.serve_on(theirs, remote).await });
    let Err(ended) = mend.follow_on(ours, "the master").await;
    serving.abort();
    Some(ended)
}

/// Starts the slave once all is got that keeps it from that; answers how many segments that were.
async fn start_mended(machine: &World, master: &Arc<Master>) -> (LocalBroker, u32) {
    for got in 0..10 {
        let error = match LocalBroker::start(machine.env(), slave_options()) {
            Ok(slave) => return (slave, got),
            Err(error) => error,
        };
        let base = damage::note_refused(&*machine.env().disk, Path::new(SLAVE_DIR), &error).expect("noted");
        assert!(base.is_some(), "it does not start: {error}");
        let ended = mend(machine, master).await;
        assert!(matches!(ended, Some(Ended::Joined)), "{ended:?}");
    }
    panic!("it does not start")
}

/// It has all of the master's log, goes on with it, and nothing of it is damaged.
async fn check_whole(world: &World, machine: &World, master: &LocalBroker, serving: &Arc<Master>) {
    let slave = start_with(machine, slave_options());
    let follower = Follower::connect(machine, serving, &slave);
    send(master, "t", "more").await;
    until_equal(world, master, &slave).await;
    let end = master.status().appended_to;
    assert!(log_of(world, "/data", end) == log_of(machine, SLAVE_DIR, end), "the logs differ");
    drop(follower);
    slave.stop().await;
    assert!(!is_found(machine).await);
}

/// Wherever it is in the segment.
#[test]
fn a_segment_that_is_found_damaged_is_got_again() {
    sim::run(1, async |world: World| {
        let (master, serving, machine) = stopped_slave(&world).await;
        assert!(!is_found(&machine).await);
        let log = log_of(&machine, SLAVE_DIR, u64::MAX);
        let (mut records, mut end) = (Vec::new(), 0);
        while let Ok(record) = record::decode(&log[end..]) {
            records.push(end);
            end += record.header.record_bytes as usize;
        }
        assert!(end < SEGMENT_BYTES && log.len() > 3 * SEGMENT_BYTES);
        // Properties are behind it, and not covered by a checksum.
        let body = |from: usize| from + log[from..].windows(64).position(|bytes| bytes == [b'x'; 64]).expect("a body");
        // A body, a header, the last record and the blank behind it, and two segments at once.
        let magic = 4;
        for places in [
            &[body(records[records.len() / 2])][..],
            &[SEGMENT_BYTES + magic],
            &[body(records[records.len() - 1])],
            &[end + magic],
            &[magic, body(SEGMENT_BYTES)],
        ] {
            places.iter().for_each(|at| flip(&machine, *at));
            assert!(is_found(&machine).await, "{places:?}");
            while let Some(ended) = mend(&machine, &serving).await {
                assert!(matches!(ended, Ended::Joined), "{places:?}: {ended}");
            }
            check_whole(&world, &machine, &master, &serving).await;
        }
        master.stop().await;
    });
}

#[test]
fn a_start_that_refuses_the_log_goes_on_once_it_is_got_again() {
    sim::run(2, async |world: World| {
        let (master, serving, machine) = stopped_slave(&world).await;
        let end = usize::try_from(master.status().appended_to).expect("short");
        let last = end - end % SEGMENT_BYTES;
        for (lost, expected) in [(&[SEGMENT_BYTES][..], 1), (&[last], 1), (&[0, SEGMENT_BYTES, last], 3)] {
            for base in lost {
                machine.env().disk.remove(&segment(*base)).expect("removed");
            }
            let (slave, got) = start_mended(&machine, &serving).await;
            assert_eq!(got, expected, "{lost:?}");
            slave.stop().await;
            check_whole(&world, &machine, &master, &serving).await;
        }
        master.stop().await;
    });
}

#[test]
fn a_mending_that_died_at_any_change_of_the_disk_is_done_again() {
    let mut died = 0;
    loop {
        let is_whole = sim::run(died.into(), async |world: World| {
            let (master, serving, machine) = stopped_slave(&world).await;
            flip(&machine, SEGMENT_BYTES + 4);
            assert!(is_found(&machine).await);
            machine.disk().die_at(died);
            let ended = mend(&machine, &serving).await;
            let is_whole = !machine.disk().is_dead();
            assert!(matches!(ended, Some(Ended::Joined)) || !is_whole, "{ended:?}");
            match died % 2 {
                0 => machine.lose_power().await,
                _ => machine.kill().await,
            }
            while let Some(ended) = mend(&machine, &serving).await {
                assert!(matches!(ended, Ended::Joined), "change {died}: {ended}");
            }
            check_whole(&world, &machine, &master, &serving).await;
            master.stop().await;
            is_whole
        });
        if is_whole {
            break;
        }
        died += 1;
    }
    assert!(died > 5, "it changed the disk {died} times");
}

/// Not from a log that has parted, whose whole records are another log's, and not what has expired.
#[test]
fn what_is_not_the_same_log_replaces_nothing() {
    sim::run(3, async |world: World| {
        let (master, serving, machine) = stopped_slave(&world).await;
        flip(&machine, SEGMENT_BYTES + 4);
        assert!(is_found(&machine).await);
        let before = log_of(&machine, SLAVE_DIR, u64::MAX);

        let other = start_with(&world, Options { dir: PathBuf::from("/other"), ..options() });
        fill(&other).await;
        let of_other = master_of(&world, &other);
        let ended = mend(&machine, &of_other).await;
        assert!(matches!(ended, Some(Ended::Refused(Refused::Parted { .. }))), "{ended:?}");
        assert!(is_noted(&machine));

        master.stop().await;
        drop(serving);
        let master = start_with(&world, Options { retention: retention(Duration::from_secs(60)), ..options() });
        let_front_go(&world, &master).await;
        assert!(master.status().expired_segments > 1);
        let ended = mend(&machine, &master_of(&world, &master)).await;
        assert!(matches!(ended, Some(Ended::Joined)), "{ended:?}");
        assert!(!is_noted(&machine), "it goes with the master's front");
        assert!(log_of(&machine, SLAVE_DIR, u64::MAX) == before);
        master.stop().await;
        other.stop().await;
    });
}
