//! Retention: the log's front goes, and nothing that is alive goes with it.

mod common;

use std::path::Path;
use std::time::Duration;

use broker::retention::Settings;
use broker::timer::Bounds;
use broker::{LocalBroker, Options};
use common::*;
use env::sim::{self, World};
use types::broker::{EndTransaction, OffsetAt, Pop, Pull, PullError, RecallError, Resolution, SendError, Unavailable};
use types::properties::names;
use types::{Broker, Filter, QueueId, QueueOffset};

const HOUR: Duration = Duration::from_secs(3_600);

/// Segments of 64 KiB that stay an hour; the clock is looked at each second.
fn options() -> Options {
    Options { segment_bytes: 64 * 1024, hot_bytes: 16 * 1024, retention: retention(HOUR), ..common::options() }
}

fn start(world: &World) -> LocalBroker {
    LocalBroker::start(world.env(), options()).expect("starts")
}

async fn sleep(world: &World, duration: Duration) {
    world.env().clock.sleep(duration).await;
}

/// Fills more than two segments.
async fn fill(broker: &LocalBroker) {
    let filler = "x".repeat(10_000);
    for _ in 0..16 {
        send(broker, "filler", &filler).await;
    }
}

/// Where the log begins.
fn first(world: &World) -> u64 {
    let names = world.env().disk.list(Path::new("/data/commitlog")).expect("listed");
    names[0].parse().expect("a position")
}

fn remove_derived(world: &World) {
    let disk = world.env().disk;
    for dir in ["/data/checkpoints", "/data/queueindex", "/data/timers"] {
        for name in disk.list(Path::new(dir)).expect("listed") {
            disk.remove(&Path::new(dir).join(name)).expect("removed");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    GoesOn,
    IsKilled,
    IsKilledAndLosesDerivedFiles,
}

async fn then(world: &World, broker: LocalBroker, then: Then) -> LocalBroker {
    if then == Then::GoesOn {
        return broker;
    }
    world.kill().await;
    drop(broker);
    if then == Then::IsKilledAndLosesDerivedFiles {
        remove_derived(world);
    }
    let broker = start(world);
    sleep(world, Duration::from_secs(1)).await;
    broker
}

const ALL: [Then; 3] = [Then::GoesOn, Then::IsKilled, Then::IsKilledAndLosesDerivedFiles];

/// Lets what is there grow old, several times over: what was carried forward is carried on.
async fn age(world: &World, broker: &LocalBroker, times: usize) {
    for _ in 0..times {
        let before = first(world);
        fill(broker).await;
        sleep(world, HOUR + Duration::from_secs(60)).await;
        assert!(first(world) > before, "nothing has expired");
    }
}

#[test]
fn what_is_alive_outlives_its_segment() {
    for what in ALL {
        for times in 1..4 {
            sim::run(7, async |world: World| outlive(&world, what, times).await);
        }
    }
}

async fn outlive(world: &World, what: Then, times: usize) {
    let broker = start(world);
    assert!(pop_bodies(&broker, "g", "t").await.is_empty());
    let later = |hours: u64| world.env().clock.now().plus(HOUR * u32::try_from(hours).expect("small")).to_string();
    let delayed = |body, due: &str| message("t", body, &[(names::TIMER_DELIVER_MS, due)]);
    try_send(&broker, delayed("delayed", &later(9))).await.expect("stored");
    let taken_back = try_send(&broker, delayed("taken back", &later(9))).await.expect("stored").recall_handle;
    let half = message("t", "half", &[(names::TRANSACTION_PREPARED, "true")]);
    let half = try_send(&broker, half).await.expect("stored").transaction.expect("a half message");
    let dropped = message("t", "dropped", &[(names::TRANSACTION_PREPARED, "true")]);
    let dropped = try_send(&broker, dropped).await.expect("stored").transaction.expect("a half message");
    for body in ["acked", "leased", "failed"] {
        send(&broker, "t", body).await;
    }
    let long = Pop { invisible: HOUR * 9, messages_max: 2, ..pop_of("g", "t") };
    let mut leased = pop(&broker, long).await.messages;
    leased.sort_by_key(body);
    assert_eq!(leased.iter().map(body).collect::<Vec<_>>(), ["acked", "leased"]);
    ack(&broker, "g", "t", &leased[0]).await;
    let failed = pop(&broker, Pop { invisible: Duration::from_secs(10), ..pop_of("g", "t") }).await;
    assert_eq!(bodies(&failed), ["failed"]);
    broker.commit_offset(&group("puller"), &topic("t"), QueueId(0), QueueOffset(2)).await.expect("committed");

    age(world, &broker, times).await;
    let status = broker.status();
    assert_eq!((status.timers_pending, status.halves_pending), (2, 2));
    assert_eq!((status.expired_lost, status.carried), (0, 4 * times as u64), "{what:?} {times}");
    let broker = then(world, broker, what).await;
    let status = broker.status();
    assert_eq!((status.timers_pending, status.halves_pending), (2, 2), "{what:?} {times}");

    assert_eq!(pop_bodies(&broker, "g", "t").await, ["failed"], "{what:?} {times}");
    // Handles and ids from before are good.
    ack(&broker, "g", "t", &leased[1]).await;
    broker.recall(topic("t"), taken_back.expect("delayed")).await.expect("recalled");
    // A 4.x producer names only the place, which is that of before.
    let first = half.position.physical_offset;
    assert_eq!(types::Admin::message_at(&broker, first).await, Ok(None), "{what:?} {times}");
    let record = broker.half_record(first).await.expect("read").expect("there");
    assert_eq!(record::decode(&record).expect("a record").body, b"half", "{what:?} {times}");
    let end = |place, resolution| broker.end_transaction(EndTransaction::new(topic("t"), place, resolution));
    end(half, Resolution::Commit).await.expect("committed");
    end(dropped, Resolution::Rollback).await.expect("rolled back");
    assert_eq!(pop_bodies(&broker, "g", "t").await, ["half"]);
    let committed = broker.committed_offset(&group("puller"), &topic("t"), QueueId(0)).await;
    assert_eq!(committed, Ok(Some(QueueOffset(2))));
    let name = topic("t");
    let at = |at| broker.queue_offset(&name, QueueId(0), at);
    // Three messages of this queue have expired, and the committed one has come.
    assert_eq!((at(OffsetAt::Beginning).await, at(OffsetAt::End).await), (Ok(QueueOffset(3)), Ok(QueueOffset(4))));
    sleep(world, HOUR * 9).await;
    let mut popped = pop_bodies(&broker, "g", "t").await;
    popped.sort();
    assert_eq!(popped, ["delayed", "failed", "half"], "{what:?} {times}");
    broker.stop().await;
}

#[test]
fn a_queue_whose_messages_have_all_expired_goes_on_where_it_was() {
    for what in ALL {
        sim::run(1, async |world: World| {
            let broker = start(&world);
            for n in 0..5 {
                send(&broker, "t", &n.to_string()).await;
            }
            age(&world, &broker, 2).await;
            let broker = then(&world, broker, what).await;
            let pull = |offset| Pull {
                group: group("g"),
                topic: topic("t"),
                queue: QueueId(0),
                offset: QueueOffset(offset),
                messages_max: 8,
                filter: std::sync::Arc::new(Filter::All),
                wait: Duration::ZERO,
            };
            let refused = broker.pull(pull(2)).await.map(drop);
            let (min, max) = (QueueOffset(5), QueueOffset(5));
            assert_eq!(refused, Err(PullError::OffsetOutOfRange { offset: QueueOffset(2), min, max }), "{what:?}");
            assert_eq!(send(&broker, "t", "new").await.queue_offset, QueueOffset(5));
            let pulled = broker.pull(pull(5)).await.expect("in range");
            assert_eq!((pulled.records.len(), pulled.min_offset), (1, QueueOffset(5)));
            broker.stop().await;
        });
    }
}

#[test]
fn a_group_that_is_behind_goes_on_at_what_is_left() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        for n in 0..5 {
            send(&broker, "t", &n.to_string()).await;
        }
        age(&world, &broker, 1).await;
        send(&broker, "t", "new").await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["new"]);
        broker.stop().await;
    });
}

#[test]
fn an_unfinished_ordered_message_holds_the_log_a_day_longer() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        for body in ["first", "second"] {
            try_send(&broker, message("t", body, &[(names::MESSAGE_GROUP, "a")])).await.expect("stored");
        }
        let long = Pop { invisible: HOUR * 10, ..pop_of("g", "t") };
        assert_eq!(bodies(&pop(&broker, long).await), ["first"]);
        fill(&broker).await;
        sleep(&world, HOUR * 9).await;
        assert_eq!(first(&world), 0);
        sleep(&world, HOUR * 3).await;
        let popped = pop(&broker, pop_of("g", "t")).await.messages;
        assert_eq!(popped.iter().map(body).collect::<Vec<_>>(), ["first"]);
        ack(&broker, "g", "t", &popped[0]).await;
        let popped = pop(&broker, pop_of("g", "t")).await.messages;
        assert_eq!(popped.iter().map(body).collect::<Vec<_>>(), ["second"]);
        sleep(&world, HOUR * 15).await;
        assert_eq!((first(&world) > 0, broker.status().expired_lost), (true, 1));
        broker.stop().await;
    });
}

#[test]
fn a_disk_that_is_nearly_full_is_cleaned_or_takes_no_messages() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        send(&broker, "t", "unread").await;
        fill(&broker).await;
        fill(&broker).await;
        sleep(&world, Duration::from_secs(60)).await;
        assert_eq!(first(&world), 0);
        // Above the forcing level: as much goes as that is.
        let used = world.disk().used_bytes();
        world.disk().set_capacity(Some(used * 100 / 88));
        sleep(&world, Duration::from_secs(60)).await;
        assert!(first(&world) > 0);
        assert_eq!(broker.status().expired_lost, 0, "what nobody has looked at is not lost but expired");
        assert!(try_send(&broker, message("t", "taken", &[])).await.is_ok());
        // Others fill the disk until nothing of ours is left to go.
        for _ in 0..8 {
            let used = world.disk().used_bytes();
            world.disk().set_capacity(Some(used + 10_000));
            sleep(&world, Duration::from_secs(60)).await;
        }
        let refused = try_send(&broker, message("t", "refused", &[])).await;
        assert!(matches!(refused, Err(SendError::Unavailable(Unavailable::DiskFull { .. }))), "{refused:?}");
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["taken"]);
        world.disk().set_capacity(None);
        sleep(&world, Duration::from_secs(2)).await;
        send(&broker, "t", "taken again").await;
        broker.stop().await;
    });
}

/// What cleans, acks and carries forward lives on the log's reserve.
#[test]
fn a_disk_that_is_full_to_the_last_byte_is_cleaned_and_takes_messages_again() {
    sim::run(1, async |world: World| {
        let never = Settings { disk_used_max: 100, disk_clean_forcibly: 100, disk_warning: 100, ..options().retention };
        let options = Options { retention: never, ..options() };
        let broker = LocalBroker::start(world.env(), options).expect("starts");
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        for n in 0..32 {
            send(&broker, "t", &n.to_string()).await;
        }
        let leased = pop(&broker, Pop { invisible: HOUR * 9, ..pop_of("g", "t") }).await.messages;
        sleep(&world, Duration::from_secs(2)).await;
        world.disk().set_capacity(Some(world.disk().used_bytes()));
        for filler in ["x".repeat(10_000), "x".to_owned()] {
            let refused = loop {
                if let Err(refused) = try_send(&broker, message("filler", &filler, &[])).await {
                    break refused;
                }
            };
            assert!(matches!(refused, SendError::Unavailable(Unavailable::DiskFull { .. })), "{refused:?}");
        }
        let due = world.env().clock.now().plus(HOUR).to_string();
        let delayed = try_send(&broker, message("t", "delayed", &[(names::TIMER_DELIVER_MS, &due)])).await;
        assert!(matches!(delayed, Err(SendError::Unavailable(Unavailable::DiskFull { .. }))), "{delayed:?}");
        for message in &leased[..16] {
            ack(&broker, "g", "t", message).await;
        }
        assert_eq!(first(&world), 0);
        sleep(&world, HOUR + Duration::from_secs(60)).await;
        assert!(first(&world) > 0, "nothing has expired");
        let status = broker.status();
        assert_eq!((status.moved, status.expired_lost), (16, 0));
        send(&broker, "t", "taken").await;
        for message in &leased[16..] {
            ack(&broker, "g", "t", message).await;
        }
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["taken"]);
        let broker = then(&world, broker, Then::IsKilledAndLosesDerivedFiles).await;
        sleep(&world, HOUR * 9).await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["taken"]);
        broker.stop().await;
    });
}

#[test]
fn a_recalled_message_stays_recalled() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let due = world.env().clock.now().plus(HOUR * 8).to_string();
        let delayed = message("t", "delayed", &[(names::TIMER_DELIVER_MS, &due)]);
        let handle = try_send(&broker, delayed).await.expect("stored").recall_handle.expect("delayed");
        age(&world, &broker, 1).await;
        broker.recall(topic("t"), handle.clone()).await.expect("recalled");
        age(&world, &broker, 2).await;
        let broker = then(&world, broker, Then::IsKilledAndLosesDerivedFiles).await;
        assert_eq!(broker.recall(topic("t"), handle).await, Err(RecallError::NotFound));
        sleep(&world, HOUR * 8).await;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        broker.stop().await;
    });
}

#[test]
fn delayed_messages_in_files_are_carried_forward() {
    for next in [Then::GoesOn, Then::IsKilled, Then::IsKilledAndLosesDerivedFiles] {
        sim::run(3, async |world: World| {
            let timers = Bounds { young_max: 8, near_max: 4, load_max: 4, ..Bounds::default() };
            let tiny = || LocalBroker::start(world.env(), Options { timers, ..options() }).expect("starts");
            let mut broker = tiny();
            assert!(pop_bodies(&broker, "g", "t").await.is_empty());
            let begin = world.env().clock.now();
            let mut handles = Vec::new();
            for n in 0..60u32 {
                let due = begin.plus(HOUR * 8 + Duration::from_secs(u64::from(n * 37 % 60) * 60)).to_string();
                let delayed = message("t", &format!("{n:02}"), &[(names::TIMER_DELIVER_MS, &due)]);
                handles.push(try_send(&broker, delayed).await.expect("stored").recall_handle.expect("delayed"));
                sleep(&world, Duration::from_millis(300)).await;
            }
            let before = first(&world);
            for _ in 0..3 {
                age(&world, &broker, 1).await;
            }
            assert!(first(&world) > before && broker.status().carried >= 60, "{:?}", broker.status());
            broker.recall(topic("t"), handles[7].clone()).await.expect("recalled");
            if next != Then::GoesOn {
                world.kill().await;
                drop(broker);
                if next == Then::IsKilledAndLosesDerivedFiles {
                    remove_derived(&world);
                }
                broker = tiny();
            }
            assert_eq!(broker.recall(topic("t"), handles[7].clone()).await, Err(RecallError::NotFound));
            assert_eq!(broker.status().timers_pending, 59, "{next:?}");
            let mut all = Vec::new();
            while world.env().clock.now() < begin.plus(HOUR * 10) {
                for message in pop(&broker, pop_of("g", "t")).await.messages {
                    all.push(body(&message).parse::<u32>().expect("a number"));
                    ack(&broker, "g", "t", &message).await;
                }
                sleep(&world, Duration::from_secs(10)).await;
            }
            let mut expected: Vec<u32> = (0..60).filter(|n| *n != 7).collect();
            expected.sort_unstable_by_key(|n| n * 37 % 60);
            assert_eq!(all, expected, "{next:?}");
            broker.stop().await;
        });
    }
}
