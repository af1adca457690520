//! Directories of Apache's, taken over: everything goes on where its broker left it. What is in them is told by
//! `tests/takeover/README.md`; the clock goes on where they were left.

#![allow(clippy::disallowed_methods, reason = "unpacks archives, which lie on the real disk")]

#[path = "common/apache.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
mod apache;
mod common;

use std::path::Path;
use std::time::Duration;

use apache::*;
use broker::takeover::{ImportError, Kind, Pending};
use broker::{LocalBroker, Options};
use common::*;
use env::Disk;
use env::sim::{self, World};
use types::broker::{EndTransaction, OffsetAt, Resolution};
use types::properties::names;
use types::receipt_handle::HandleSource;
use types::{Broker, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, Timestamp};

/// All bodies of a topic of three queues, sorted.
async fn topic_bodies(broker: &LocalBroker, topic_name: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    for queue in 0..3 {
        bodies.extend(queue_bodies(broker, topic_name, queue).await);
    }
    bodies.sort();
    bodies
}

/// Messages and offsets are Apache's.
async fn check_stored(broker: &LocalBroker) {
    for queue in 0..3 {
        let sent = (0..300).filter(|n| n % 3 == queue).map(|n: usize| format!("body-{n}-{}", "x".repeat(n)));
        let queue = u32::try_from(queue).expect("small");
        assert_eq!(queue_bodies(broker, "plain", queue).await, sent.collect::<Vec<_>>());
        let next = broker.queue_offset(&topic("plain"), QueueId(queue), OffsetAt::End).await;
        assert_eq!(next, Ok(QueueOffset(100)));
        let committed = broker.committed_offset(&group("readers"), &topic("plain"), QueueId(queue)).await;
        assert_eq!(committed, Ok(Some(QueueOffset(40 + u64::from(queue)))));
    }
    let batch: Vec<String> = (0..10).map(|n| format!("batch-{n}")).collect();
    assert_eq!(queue_bodies(broker, "any", 0).await, batch);
    assert_eq!(queue_bodies(broker, "%RETRY%readers", 0).await, ["retried"]);
    assert_eq!(queue_bodies(broker, "%DLQ%readers", 0).await, ["dead"]);
    let readers = broker.group(&group("readers")).await.expect("known");
    assert!(readers.is_fifo);
}

#[test]
fn everything_goes_on_where_apache_left_it() {
    for (end, ended) in ENDED {
        sim::run(1, async |world: World| {
            lay_out(&world, end, ended);
            let imported = taken_over(&world).await.expect("taken over");
            let pending = Pending { level_timers: 2, timers: 3, halves: 3, unacked_pops: 4 };
            assert_eq!((imported.pending, imported.offsets), (pending, 4), "{end}");
            let broker = start(&world);
            check_stored(&broker).await;

            let mut checks = broker.transaction_checks();
            let mut halves = Vec::new();
            for _ in 0..3 {
                let check = checks.recv().await.expect("asked");
                assert_eq!(record::decode(&check.record).expect("a record").body, b"undecided");
                halves.push(check.place);
            }
            for (place, resolution) in halves.into_iter().zip([Resolution::Commit, Resolution::Rollback]) {
                let request = EndTransaction::new(topic("deals"), place, resolution);
                assert_eq!(broker.end_transaction(request).await, Ok(()));
            }
            assert_eq!(topic_bodies(&broker, "deals").await, ["commit", "commit", "undecided"], "{end}");

            // Two of six were acked; the other four are leased for ten minutes.
            let leased = pop_bodies(&broker, "poppers", "popped").await;
            assert_eq!(leased, [""; 0], "{end}");
            world.env().clock.sleep(Duration::from_secs(600)).await;
            let popped = wait_for(&broker, "poppers", "popped").await;
            let bodies: Vec<String> = popped.iter().map(body).collect();
            assert_eq!(bodies, ["popped-2", "popped-3", "popped-4", "popped-5"], "{end}");

            assert_eq!(topic_bodies(&broker, "late").await, ["level-1", "timer-0"], "{end}");
            world.env().clock.sleep(HOUR - Duration::from_secs(660)).await;
            assert_eq!(topic_bodies(&broker, "late").await, ["level-1", "timer-0"], "{end}");
            world.env().clock.sleep(Duration::from_secs(70)).await;
            let after_an_hour = ["level-1", "level-17", "timer-0", "timer-1", "timer-2", "timer-3"];
            assert_eq!(topic_bodies(&broker, "late").await, after_an_hour, "{end}");
            let broker = restart_killed(&world, broker).await;
            world.env().clock.sleep(HOUR).await;
            let all = ["level-1", "level-17", "level-18", "timer-0", "timer-1", "timer-2", "timer-3"];
            assert_eq!(topic_bodies(&broker, "late").await, all, "{end}");
            assert_eq!(broker.status().timers_pending, 0);

            let receipt = send(&broker, "plain", "new").await;
            assert_eq!(receipt.queue_offset, QueueOffset(100));
            broker.stop().await;
        });
    }
}

#[test]
fn a_start_without_checkpoint_finds_the_same() {
    sim::run(2, async |world: World| {
        let (end, ended) = ENDED[1];
        lay_out(&world, end, ended);
        taken_over(&world).await.expect("taken over");
        for name in world.disk().names(&Path::new(DIR).join("checkpoints")) {
            world.disk().remove(&Path::new(DIR).join("checkpoints").join(name)).expect("removed");
        }
        let broker = start(&world);
        check_stored(&broker).await;
        let status = broker.status();
        assert_eq!((status.timers_pending, status.halves_pending, status.in_flight), (5, 3, 4));
        broker.stop().await;
    });
}

#[test]
fn a_directory_whose_format_file_is_lost_stays_ours() {
    sim::run(9, async |world: World| {
        let (end, ended) = ENDED[0];
        lay_out(&world, end, ended);
        taken_over(&world).await.expect("taken over");
        world.disk().remove(&Path::new(DIR).join("format")).expect("removed");
        let again = taken_over(&world).await;
        assert!(matches!(again, Err(ImportError::NotApache { kind: Kind::Ours })), "{again:?}");
        let broker = start(&world);
        check_stored(&broker).await;
        broker.stop().await;
    });
}

#[test]
fn an_import_that_died_at_any_change_of_the_disk_is_done_again() {
    let (end, ended) = ENDED[1];
    let files = apache::files(end);
    let mut died = 0;
    loop {
        let is_whole = sim::run(died.into(), async |world: World| {
            put(&world, Path::new(DIR), &files);
            world.clock().set_skew_ms(ended.0 - world.clock().true_now().0);
            world.disk().die_at(died);
            let first = taken_over(&world).await;
            let is_whole = !world.disk().is_dead();
            assert!(first.is_ok() || !is_whole, "{first:?}");
            match died % 2 {
                0 => world.lose_power().await,
                _ => world.kill().await,
            }
            match taken_over(&world).await {
                Ok(imported) => assert_eq!(imported.pending.timers + imported.pending.level_timers, 5, "change {died}"),
                Err(ImportError::NotApache { kind }) => assert_eq!(kind, Kind::Ours, "change {died}"),
                Err(error) => panic!("change {died}: {error}"),
            }
            let broker = start(&world);
            check_stored(&broker).await;
            let status = broker.status();
            assert_eq!((status.timers_pending, status.halves_pending, status.in_flight), (5, 3, 4), "change {died}");
            broker.stop().await;
            is_whole
        });
        if is_whole {
            break;
        }
        died += 1;
    }
    assert!(died > 10, "it changed the disk {died} times");
}

#[test]
fn a_queue_that_does_not_go_on_is_refused_and_left_alone() {
    sim::run(3, async |world: World| {
        lay_out(&world, "clean", ENDED[0].1);
        // The first record of the second segment goes: what follows in its queue has no predecessor.
        let path = Path::new(DIR).join("commitlog/00000000000000065536");
        let file = world.disk().open(&path, env::disk::OpenMode::ReadWrite).expect("opened");
        let mut bytes = vec![0; 65536];
        file.read_at(&mut bytes, 0).expect("read");
        let first = record::header(&bytes).expect("a record");
        bytes[20..28].copy_from_slice(&(first.queue_offset.0 + 7).to_be_bytes());
        file.write_all_at(&[std::io::IoSlice::new(&bytes)], 0).expect("written");
        let before = world.disk().fingerprint();
        let refused = taken_over(&world).await;
        let Err(ImportError::Refused(refusals)) = refused else { panic!("{refused:?}") };
        assert!(refusals[0].to_string().contains("record at 65536"), "{refusals:?}");
        assert_eq!(world.disk().fingerprint(), before);
    });
}

#[test]
fn a_waiting_message_at_the_logs_first_byte_is_delivered_once() {
    sim::run(4, async |world: World| {
        let mut message =
            message("SCHEDULE_TOPIC_XXXX", "first", &[(names::REAL_TOPIC, "t"), (names::REAL_QUEUE_ID, "0")]);
        message.properties.set_own(names::DELAY_LEVEL, "2");
        let host = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 1));
        let encoded = record::encode(&message, QueueId(1), host).expect("fits");
        let now = world.env().clock.now();
        let mut segment = encoded.place(QueueOffset(0), PhysicalOffset(0), now).to_vec();
        segment.resize(65536, 0);
        let topics = br#"{"topicConfigTable":{"t":{"perm":6,"readQueueNums":1,"writeQueueNums":1}}}"#;
        let files = [("commitlog/00000000000000000000", segment), ("config/topics.json", topics.to_vec())];
        put(&world, Path::new(DIR), &files.map(|(name, bytes)| (name.into(), bytes)).into());
        assert_eq!(taken_over(&world).await.expect("taken over").pending.level_timers, 1);
        let broker = start(&world);
        world.env().clock.sleep(Duration::from_secs(6)).await;
        let broker = restart_killed(&world, broker).await;
        world.env().clock.sleep(Duration::from_secs(6)).await;
        assert_eq!(queue_bodies(&broker, "t", 0).await, ["first"]);
        broker.stop().await;
    });
}

/// A queue of which Apache's broker had popped the first three messages in order, for ten minutes; the first and the third are acked.
#[test]
fn what_was_popped_in_order_comes_again_at_once_and_in_order() {
    sim::run(5, async |world: World| {
        let now = world.env().clock.now();
        let mut segment = Vec::new();
        for n in 0..4 {
            let host = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 1));
            let message = message("t", &n.to_string(), &[(names::MESSAGE_GROUP, "orders")]);
            let encoded = record::encode(&message, QueueId(0), host).expect("fits");
            let at = PhysicalOffset(segment.len() as u64);
            segment.extend_from_slice(&encoded.place(QueueOffset(n), at, now));
        }
        segment.resize(65536, 0);
        let order = format!(
            r#"{{"table":{{"t@g":{{0:{{"a":"A","cm":5,"i":600000,"l":{now},"o":[0,1,1],"oc":{{}},"ot":{{}},"popTime":{now}}}}}}}}}"#
        );
        let files = [
            ("commitlog/00000000000000000000", segment),
            (
                "config/topics.json",
                br#"{"topicConfigTable":{"t":{"perm":6,"readQueueNums":1,"writeQueueNums":1}}}"#.to_vec(),
            ),
            (
                "config/subscriptionGroup.json",
                br#"{"subscriptionGroupTable":{"g":{"groupName":"g","consumeMessageOrderly":true}}}"#.to_vec(),
            ),
            ("config/consumerOffset.json", br#"{"offsetTable":{"t@g":{0:1}}}"#.to_vec()),
            ("config/consumerOrderInfo.json", order.into_bytes()),
        ];
        put(&world, Path::new(DIR), &files.map(|(name, bytes)| (name.into(), bytes)).into());
        taken_over(&world).await.expect("taken over");
        let broker = start(&world);
        for n in 1..4 {
            let popped = pop(&broker, pop_of("g", "t")).await.messages;
            let seen: Vec<_> = popped.iter().map(|message| (body(message), message.attempt)).collect();
            assert_eq!(seen, [(n.to_string(), 1)], "one after the other");
            ack(&broker, "g", "t", &popped[0]).await;
        }
        broker.stop().await;
    });
}

#[test]
fn receipt_handles_of_apache_are_good_for_a_broker_of_its_name() {
    sim::run(7, async |world: World| {
        let (end, ended) = ENDED[1];
        let files = apache::files(end);
        lay_out(&world, end, ended);
        taken_over(&world).await.expect("taken over");
        let named = Options { name: "apache-a".to_owned(), ..options() };
        let broker = LocalBroker::start(world.env(), named).expect("starts");
        let handle = |offset| ReceiptHandle {
            start_offset: QueueOffset(0),
            popped_at: Timestamp(pop_times(&files)[0]),
            invisible: Duration::from_secs(600),
            revive_queue: 3,
            source: HandleSource::Topic,
            broker: "apache-a".into(),
            queue: QueueId(0),
            offset: QueueOffset(offset),
            physical_offset: None,
        };
        let acked = broker.ack(owner("poppers", "popped"), vec![handle(2), handle(3)]).await;
        assert_eq!(acked, [Ok(()), Ok(())]);
        let committed = broker.committed_offset(&group("poppers"), &topic("popped"), QueueId(0)).await;
        assert_eq!(committed, Ok(Some(QueueOffset(4))));
        broker.stop().await;
    });
}

#[test]
fn an_offset_beyond_the_log_is_its_end() {
    sim::run(8, async |world: World| {
        let mut files = apache::files("clean");
        let offsets = files.get_mut(Path::new("config/consumerOffset.json")).expect("there");
        *offsets = String::from_utf8_lossy(offsets).replace("0:40", "0:4000").into_bytes();
        put(&world, Path::new(DIR), &files);
        taken_over(&world).await.expect("taken over");
        let broker = start(&world);
        let committed = broker.committed_offset(&group("readers"), &topic("plain"), QueueId(0)).await;
        assert_eq!(committed, Ok(Some(QueueOffset(100))));
        broker.stop().await;
    });
}

#[test]
fn levels_take_as_long_as_the_broker_was_told() {
    sim::run(11, async |world: World| {
        let mut files = apache::files("clean");
        // Level 17, an hour by default, of its only message.
        let unit = files.get_mut(Path::new("consumequeue/SCHEDULE_TOPIC_XXXX/16/00000000000000000000")).expect("there");
        let due = i64::from_be_bytes(*unit[12..].first_chunk::<8>().expect("a unit"));
        unit[12..20].copy_from_slice(&(due - 1_800_000).to_be_bytes());
        put(&world, Path::new(DIR), &files);
        world.clock().set_skew_ms(due - 1_801_000 - world.clock().true_now().0);
        taken_over(&world).await.expect("taken over");
        let broker = start(&world);
        assert_eq!(topic_bodies(&broker, "late").await, ["level-1", "timer-0"]);
        world.env().clock.sleep(Duration::from_secs(3)).await;
        assert_eq!(topic_bodies(&broker, "late").await, ["level-1", "level-17", "timer-0"]);
        broker.stop().await;
    });
}
