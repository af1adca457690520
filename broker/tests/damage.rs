//! Messages whose records are damaged: they cost nobody else anything, and are told and counted.

mod common;

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::LocalBroker;
use common::*;
use env::disk::OpenMode;
use env::sim::{self, World};
use types::admin::{Admin, FindBy, MessageQuery};
use types::broker::{OffsetAt, Pull};
use types::properties::names;
use types::{Broker, Filter, GroupConfig, QueueId, QueueOffset, Timestamp};

/// Kills the broker, flips a bit of the body of a message in the log, and starts another on it.
async fn restart_damaged(world: &World, broker: LocalBroker, body: &str) -> LocalBroker {
    // What happened to leases is written by now.
    world.env().clock.sleep(Duration::from_secs(1)).await;
    broker.stop().await;
    drop(broker);
    let path = PathBuf::from("/data/commitlog/00000000000000000000");
    let file = world.env().disk.open(&path, OpenMode::ReadWrite).expect("the first segment");
    let mut bytes = vec![0; file.len().expect("has one") as usize];
    file.read_at(&mut bytes, 0).expect("reads");
    let at = bytes.windows(body.len()).position(|part| part == body.as_bytes()).expect("it is in the log");
    file.write_all_at(&[IoSlice::new(&[bytes[at] ^ 1])], at as u64).expect("writes");
    file.sync_data().expect("syncs");
    start(world)
}

#[test]
fn a_damaged_message_that_is_given_up_holds_up_nobody() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        let config = GroupConfig { attempts_max: 1, ..GroupConfig::new(group("g")) };
        broker.put_group(config, false).await.expect("made");
        for body in ["damaged", "whole", "other"] {
            send(&broker, "t", body).await;
        }
        assert_eq!(pop_bodies(&broker, "g", "t").await.len(), 3);
        let broker = restart_damaged(&world, broker, "damaged").await;
        let mut dead = Vec::new();
        while dead.len() < 2 {
            dead.extend(wait_for(&broker, "undertaker", "%DLQ%g").await.iter().map(body));
        }
        assert_eq!(dead, ["whole", "other"]);
        world.env().clock.sleep(Duration::from_secs(10)).await;
        let finished = async |broker: &LocalBroker| {
            let progress = broker.describe_group(&group("g")).await.expect("there").progress;
            let of_queue = progress.iter().find(|progress| progress.queue == QueueId(0)).expect("consumed");
            (of_queue.committed.0, of_queue.in_flight)
        };
        assert_eq!((finished(&broker).await, broker.status().lost, broker.status().dead_lettered), ((3, 0), 1, 2));
        let broker = restart_killed(&world, broker).await;
        assert_eq!(finished(&broker).await, (3, 0));
        broker.stop().await;
    });
}

#[test]
fn a_pull_delivers_what_is_whole_around_a_damaged_message() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        for body in ["first", "damaged", "last"] {
            send(&broker, "t", body).await;
        }
        let broker = restart_damaged(&world, broker, "damaged").await;
        let pull = |offset, messages_max| Pull {
            group: group("g"),
            topic: topic("t"),
            queue: QueueId(0),
            offset: QueueOffset(offset),
            messages_max,
            filter: Arc::new(Filter::All),
            wait: Duration::ZERO,
        };
        let all = broker.pull(pull(0, 32)).await.expect("pulled");
        let bodies: Vec<_> = all.records.iter().map(|r| record::decode(r).expect("whole").body.to_vec()).collect();
        assert_eq!((bodies, all.next_offset), (vec![b"first".to_vec(), b"last".to_vec()], QueueOffset(3)));
        let alone = broker.pull(pull(1, 1)).await.expect("pulled");
        assert_eq!((alone.records.len(), alone.next_offset), (0, QueueOffset(2)));
        assert_eq!(broker.status().unreadable, 2);
        broker.stop().await;
    });
}

#[test]
fn a_damaged_half_message_that_nobody_decides_ends_once() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        for body in ["damaged", "whole"] {
            try_send(&broker, message("t", body, &[(names::TRANSACTION_PREPARED, "true")])).await.expect("stored");
        }
        let broker = restart_damaged(&world, broker, "damaged").await;
        let mut checks = broker.transaction_checks();
        let asking = async { while checks.recv().await.is_some() {} };
        let waiting = world.env().clock.sleep(Duration::from_secs(3600));
        tokio::select! { biased; () = asking => {}, () = waiting => {} }
        let ends = |broker: &LocalBroker| {
            let status = broker.status();
            (status.halves_pending, status.parked, status.halves_lost)
        };
        assert_eq!(ends(&broker), (0, 1, 1));
        let broker = restart_killed(&world, broker).await;
        world.env().clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(ends(&broker), (0, 0, 0));
        broker.stop().await;
    });
}

#[test]
fn a_time_is_found_around_damaged_messages() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        let mut sent = Vec::new();
        for n in 0..8 {
            send(&broker, "t", &format!("body-{n}")).await;
            sent.push(world.env().clock.now());
            world.env().clock.sleep(Duration::from_secs(1)).await;
        }
        // Of eight messages the fifth is looked at first.
        let broker = restart_damaged(&world, broker, "body-4").await;
        for (n, time) in sent.iter().enumerate() {
            let found = broker.queue_offset(&topic("t"), QueueId(0), OffsetAt::Time(*time)).await.expect("found");
            // What cannot be read may be as young as what follows it.
            assert_eq!(found.0, if n == 5 { 4 } else { n as u64 });
        }
        let stored = Timestamp(0)..Timestamp(i64::MAX);
        let query = MessageQuery { topic: topic("t"), by: FindBy::Time(None), stored, messages_max: 100 };
        let found = broker.find_messages(query).await.expect("answered");
        assert_eq!((found.records.len(), found.is_complete), (7, true));
        broker.stop().await;
    });
}
