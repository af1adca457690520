//! Directories of ours, handed back to Apache: what an import finds in them again. What Apache's own broker makes of them is
//! shown by `cargo xtask test --full --only takeover`.

#![allow(clippy::disallowed_methods, reason = "unpacks archives, which lie on the real disk")]

#[path = "common/apache.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
mod apache;
mod common;

use std::path::Path;
use std::time::Duration;

use apache::*;
use broker::takeover::{Config, Form, HandBackError, Kind, Pending, Survey, hand_back};
use broker::{LocalBroker, Options, Role};
use common::*;
use env::Disk;
use env::sim::{self, World};
use types::broker::{EndTransaction, OffsetAt, Resolution};
use types::properties::names;
use types::{Admin, Broker, GroupConfig, QueueId, QueueOffset, RetryPolicy};

/// A directory of ours with something of each kind in it.
async fn used(world: &World) {
    let broker = start(world);
    for n in 0..6 {
        send(&broker, "plain", &n.to_string()).await;
    }
    for (body, due) in [("soon", "1"), ("an hour", "3600"), ("recalled", "3600")] {
        let sent = message("plain", body, &[(names::TIMER_DELAY_SECONDS, due)]);
        let receipt = try_send(&broker, sent).await.expect("stored");
        if body == "recalled" {
            broker.recall(topic("plain"), receipt.recall_handle.expect("delayed")).await.expect("recalled");
        }
    }
    let mut places = Vec::new();
    for body in ["rolled back", "undecided", "committed"] {
        let half = message("plain", body, &[(names::TRANSACTION_PREPARED, "true")]);
        places.push(try_send(&broker, half).await.expect("stored").transaction.expect("a half message"));
    }
    for (place, resolution) in [(&places[0], Resolution::Rollback), (&places[2], Resolution::Commit)] {
        let request = EndTransaction::new(topic("plain"), place.clone(), resolution);
        assert_eq!(broker.end_transaction(request).await, Ok(()));
    }
    let popped = pop(&broker, pop_of("g", "plain")).await;
    for message in popped.messages.iter().filter(|message| ["0", "1", "4"].contains(&body(message).as_str())) {
        ack(&broker, "g", "plain", message).await;
    }
    world.env().clock.sleep(Duration::from_secs(5)).await;
    broker.stop().await;
}

/// What an import finds in such a directory: what waits, and the group at the first message that it has not acked.
async fn check_handed_back(world: &World) {
    let imported = taken_over(world).await.expect("taken over");
    let pending = Pending { level_timers: 0, timers: 1, halves: 1, unacked_pops: 0 };
    assert_eq!((imported.pending, imported.topics, imported.groups), (pending, 1, 1));
    let broker = start(world);
    let stored = ["0", "1", "2", "3", "4", "5", "committed", "soon"];
    let mut bodies = queue_bodies(&broker, "plain", 0).await;
    bodies.sort();
    assert_eq!(bodies, stored);
    let committed = broker.committed_offset(&group("g"), &topic("plain"), QueueId(0)).await;
    assert_eq!(committed, Ok(Some(QueueOffset(2))));
    let mut checks = broker.transaction_checks();
    let check = checks.recv().await.expect("asked");
    assert_eq!(record::decode(&check.record).expect("a record").body, b"undecided");
    world.env().clock.sleep(HOUR).await;
    assert_eq!(queue_bodies(&broker, "plain", 0).await.last().expect("some"), "an hour");
    broker.stop().await;
}

/// Apache's broker adds what no master had.
#[test]
fn the_directory_of_a_slave_is_none_any_more() {
    sim::run(1, async |world: World| {
        let slave = LocalBroker::start(world.env(), Options { role: Role::Slave, ..options() }).expect("starts");
        slave.stop().await;
        let is_slaves = || world.disk().names(Path::new("/data")).contains(&"replica".to_owned());
        assert!(is_slaves());
        hand_back(&world.env(), Path::new("/data"), &mut |_| {}).await.expect("handed back");
        assert!(!is_slaves());
    });
}

#[test]
fn a_handing_back_that_died_at_any_change_of_the_disk_is_done_again() {
    let mut died = 0;
    loop {
        let is_whole = sim::run(died.into(), async |world: World| {
            used(&world).await;
            world.disk().die_at(died);
            let first = hand_back(&world.env(), Path::new(DIR), &mut |_| ()).await;
            let is_whole = !world.disk().is_dead();
            assert!(first.is_ok() || !is_whole, "{first:?}");
            match died % 2 {
                0 => world.lose_power().await,
                _ => world.kill().await,
            }
            // A server may go on in between.
            if died % 3 == 0 && Form::find(&world.disk(), Path::new(DIR)).expect("looked at").kind == Kind::Ours {
                let broker = start(&world);
                world.env().clock.sleep(Duration::from_secs(2)).await;
                let status = broker.status();
                assert_eq!((status.timers_pending, status.halves_pending), (1, 1), "change {died}");
                broker.stop().await;
            }
            match hand_back(&world.env(), Path::new(DIR), &mut |_| ()).await {
                Ok(handed_back) => assert_eq!((handed_back.timers, handed_back.halves), (1, 1), "change {died}"),
                Err(HandBackError::NotOurs { kind }) => assert_eq!(kind, Kind::Apache, "change {died}"),
                Err(error) => panic!("change {died}: {error}"),
            }
            check_handed_back(&world).await;
            is_whole
        });
        if is_whole {
            break;
        }
        died += 1;
    }
    assert!(died > 10, "it changed the disk {died} times");
}

fn config(world: &World) -> Config {
    let survey = Survey::of(&world.env().disk, Path::new(DIR), &mut |_| ()).expect("looked at");
    assert_eq!((survey.kind, survey.refusals.as_slice()), (Kind::Apache, [].as_slice()));
    survey.config
}

#[test]
fn settings_come_back_as_they_were() {
    sim::run(5, async |world: World| {
        let (end, ended) = ENDED[0];
        lay_out(&world, end, ended);
        let mut before = config(&world);
        taken_over(&world).await.expect("taken over");
        let broker = start(&world);
        let exponential =
            RetryPolicy::Exponential { initial: Duration::from_secs(2), max: Duration::from_secs(50), multiplier: 3 };
        let next = (1..5).map(Duration::from_secs).collect();
        let mut added = Vec::new();
        for (name, retry) in [("exponential", exponential), ("customized", RetryPolicy::Customized { next })] {
            let config = GroupConfig { retry, attempts_max: 9, ..GroupConfig::new(group(name)) };
            broker.put_group(config.clone(), false).await.expect("made");
            added.push(config);
        }
        broker.stop().await;
        hand_back(&world.env(), Path::new(DIR), &mut |_| ()).await.expect("handed back");
        let after = config(&world);
        // What is not acked is delivered again.
        let poppers = before.offsets.iter_mut().find(|commit| commit.group == group("poppers")).expect("known");
        assert_eq!(std::mem::replace(&mut poppers.offset, QueueOffset(2)), QueueOffset(6));
        assert_eq!((&after.topics, &after.offsets), (&before.topics, &before.offsets));
        let (ours, theirs): (Vec<_>, Vec<_>) = after.groups.into_iter().partition(|group| added.contains(group));
        assert_eq!((ours.len(), theirs), (2, before.groups));
    });
}

#[test]
fn queues_whose_records_have_expired_go_on_where_they_ended() {
    sim::run(6, async |world: World| {
        lay_out(&world, "clean", ENDED[0].1);
        for segment in [0, 65536] {
            let path = Path::new(DIR).join(format!("commitlog/{segment:020}"));
            world.disk().remove(&path).expect("removed");
        }
        for to_and_fro in 0..2 {
            taken_over(&world).await.expect("taken over");
            if to_and_fro > 0 {
                // The log alone knows too.
                for folder in ["checkpoints", "queueindex"].map(|name| Path::new(DIR).join(name)) {
                    let remove = |name| world.disk().remove(&folder.join(name)).expect("removed");
                    world.disk().names(&folder).into_iter().for_each(remove);
                }
            }
            let broker = start(&world);
            let range = async |at| broker.queue_offset(&topic("plain"), QueueId(2), at).await.expect("known");
            let (min, end) = (range(OffsetAt::Beginning).await, range(OffsetAt::End).await);
            assert_eq!((min, end), (QueueOffset(100), QueueOffset(100)), "{to_and_fro}");
            let receipt = send(&broker, "plain", "new").await;
            assert_eq!(receipt.queue_offset, QueueOffset(100 + to_and_fro), "{to_and_fro}");
            broker.stop().await;
            hand_back(&world.env(), Path::new(DIR), &mut |_| ()).await.expect("handed back");
        }
    });
}
