//! Delayed messages that have left memory: they come in time and once, are taken back, carried forward and handed back.

mod common;

use std::path::Path;
use std::time::Duration;

use broker::takeover::hand_back;
use broker::timer::Bounds;
use broker::{LocalBroker, Options};
use common::*;
use env::sim::{self, World};
use store::inspect::{Directory, Meaning};
use types::broker::RecallError;
use types::properties::names;
use types::{Broker, Timestamp};

/// Few are in memory.
fn tiny() -> Options {
    let timers = Bounds { young_max: 16, near_max: 8, load_max: 4, ..Bounds::default() };
    Options { timers, ..options() }
}

fn start_tiny(world: &World) -> LocalBroker {
    LocalBroker::start(world.env(), tiny()).expect("starts")
}

async fn send_due(broker: &LocalBroker, number: usize, due: Timestamp) -> String {
    let delayed = message("t", &number.to_string(), &[(names::TIMER_DELIVER_MS, &due.to_string())]);
    try_send(broker, delayed).await.expect("stored").recall_handle.expect("delayed messages have one")
}

fn files(world: &World) -> usize {
    world.disk().names(&Path::new("/data").join(store::TIMERS_NAME)).len()
}

#[test]
fn they_come_in_time_and_once_after_restarts() {
    sim::run(1, async |world: World| {
        let broker = start_tiny(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let clock = world.env().clock;
        let begin = clock.now();
        let due = |number: usize| begin.plus(Duration::from_secs(60 + (number * 37 % 200) as u64));
        let mut handles = Vec::new();
        for number in 0..200 {
            handles.push(send_due(&broker, number, due(number)).await);
            clock.sleep(Duration::from_millis(50)).await;
        }
        assert!(files(&world) > 5, "{} files", files(&world));
        for number in (0..200).step_by(10) {
            let handle = handles[number].clone();
            assert_eq!(broker.recall(topic("t"), handle.clone()).await, Ok(format!("ID-{number}")));
            assert_eq!(broker.recall(topic("t"), handle).await, Err(RecallError::NotFound));
        }
        world.kill().await;
        drop(broker);
        let broker = start_tiny(&world);
        assert_eq!(broker.recall(topic("t"), handles[50].clone()).await, Err(RecallError::NotFound));
        assert_eq!(broker.recall(topic("t"), handles[51].clone()).await, Ok("ID-51".to_owned()));
        let mut all = Vec::new();
        while clock.now() < begin.plus(Duration::from_secs(270)) {
            for message in pop(&broker, pop_of("g", "t")).await.messages {
                let number: usize = body(&message).parse().expect("a number");
                ack(&broker, "g", "t", &message).await;
                let late = clock.now().since(due(number));
                assert!(clock.now() >= due(number) && late <= Duration::from_millis(1_500), "{number}: {late:?} late");
                all.push(number);
            }
            clock.sleep(Duration::from_millis(200)).await;
        }
        all.sort_unstable();
        let expected: Vec<usize> = (0..200).filter(|number| number % 10 != 0 && *number != 51).collect();
        assert_eq!(all, expected);
        assert_eq!(broker.status().timers_pending, 0);
        broker.stop().await;
    });
}

#[test]
fn a_run_that_vanishes_is_made_again() {
    sim::run(2, async |world: World| {
        let broker = start_tiny(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let (clock, disk) = (world.env().clock, world.env().disk);
        let due = clock.now().plus(Duration::from_secs(100));
        for number in 0..100 {
            send_due(&broker, number, due).await;
            clock.sleep(Duration::from_millis(50)).await;
        }
        let dir = Path::new("/data").join(store::TIMERS_NAME);
        for name in disk.list(&dir).expect("listed") {
            disk.remove(&dir.join(name)).expect("removed");
        }
        clock.sleep(Duration::from_secs(110)).await;
        let mut all = Vec::new();
        while let messages = pop_bodies(&broker, "g", "t").await
            && !messages.is_empty()
        {
            all.extend(messages.iter().map(|message| message.parse::<usize>().expect("a number")));
        }
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        broker.stop().await;
    });
}

#[test]
fn they_are_handed_back() {
    sim::run(3, async |world: World| {
        let broker = start_tiny(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let clock = world.env().clock;
        let due = clock.now().plus(Duration::from_secs(3_600));
        let mut handles = Vec::new();
        for number in 0..60 {
            handles.push(send_due(&broker, number, due).await);
            clock.sleep(Duration::from_millis(50)).await;
        }
        broker.recall(topic("t"), handles[0].clone()).await.expect("recalled");
        broker.stop().await;
        assert!(files(&world) > 0);
        let handed_back = hand_back(&world.env(), Path::new("/data"), &mut |_| ()).await.expect("handed back");
        assert_eq!((handed_back.timers, files(&world)), (59, 0));
    });
}

#[test]
fn verify_compares_their_files_with_the_log() {
    sim::run(6, async |world: World| {
        let broker = start_tiny(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let (clock, disk) = (world.env().clock, world.env().disk);
        let begin = clock.now();
        let mut handles = Vec::new();
        for number in 0..200 {
            let due = begin.plus(Duration::from_secs(15 + (number * 37 % 200) as u64));
            handles.push(send_due(&broker, number, due).await);
            clock.sleep(Duration::from_millis(50)).await;
        }
        // Some are recalled, some delivered, so that files are made anew and taken up in part.
        for handle in handles.iter().step_by(3) {
            broker.recall(topic("t"), handle.clone()).await.expect("waits");
        }
        clock.sleep(Duration::from_secs(30)).await;
        let dir = Path::new("/data");
        let verify = || Directory::verify(&disk, dir, broker::check_snapshot, &mut |_| ()).expect("looked at");
        let report = verify();
        assert_eq!((report.findings.as_slice(), report.is_in_use), (&[][..], true));
        broker.stop().await;
        let report = verify();
        let all = world.disk().names(&dir.join(store::TIMERS_NAME));
        assert_eq!((report.findings.as_slice(), report.machine_files), (&[][..], all.len() as u64));
        assert!(all.len() > 5, "{all:?}");
        for (damaged, name) in (1..).zip(&all) {
            let path = dir.join(store::TIMERS_NAME).join(name);
            if damaged % 2 == 0 {
                disk.remove(&path).expect("there");
            } else {
                world.disk().flip_bits(&path, 1).expect("there");
            }
            let report = verify();
            let last = report.findings.iter().find(|finding| finding.file == path).expect("found");
            assert_eq!((report.damage(), last.meaning), (damaged, Meaning::Derived), "{:?}", report.findings);
        }
        // All of it is made again from the log.
        start_tiny(&world).stop().await;
    });
}
