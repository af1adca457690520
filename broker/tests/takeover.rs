//! Directories of Apache's, taken over: everything goes on where its broker left it. What is in them is told by
//! `tests/takeover/README.md`; the clock goes on where they were left.

#![allow(clippy::disallowed_methods, reason = "unpacks archives, which lie on the real disk")]

#[path = "common/apache.rs"]
#[allow(unreachable_pub, reason = "written as the library that it would be beside a second user")]
mod apache;
mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use broker::takeover::{Config, Form, HandBackError, ImportError, Imported, Kind, Pending, Survey, hand_back, import};
use broker::{LocalBroker, Options};
use common::*;
use env::Disk;
use env::sim::{self, World};
use types::broker::{EndTransaction, OffsetAt, Pull, Resolution};
use types::properties::names;
use types::receipt_handle::HandleSource;
use types::{
    Admin, Broker, Filter, GroupConfig, PhysicalOffset, QueueId, QueueOffset, ReceiptHandle, RetryPolicy, Timestamp,
};

const DIR: &str = "/data";
/// When the broker of each directory ended: less than ten seconds after its last record.
const ENDED: [(&str, Timestamp); 2] = [("clean", Timestamp(1_795_645_200_000)), ("kill", Timestamp(1_795_645_236_000))];
const HOUR: Duration = Duration::from_secs(3600);

/// Lays a directory out, with the clock where its broker ended.
fn lay_out(world: &World, end: &str, ended: Timestamp) {
    apache::lay_out(world, Path::new(DIR), &apache::files(end));
    world.clock().set_skew_ms(ended.0 - world.clock().true_now().0);
}

async fn taken_over(world: &World) -> Result<Imported, ImportError> {
    import(&world.env(), Path::new(DIR), &mut |_| ()).await
}

/// Bodies of a whole queue, by pull.
async fn queue_bodies(broker: &LocalBroker, topic_name: &str, queue: u32) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let pull = Pull {
            group: group("looker"),
            topic: topic(topic_name),
            queue: QueueId(queue),
            offset: QueueOffset(bodies.len() as u64),
            messages_max: 32,
            filter: Arc::new(Filter::All),
            wait: Duration::ZERO,
        };
        let pulled = broker.pull(pull).await.expect("pulled");
        if pulled.records.is_empty() {
            return bodies;
        }
        let body = |record| String::from_utf8_lossy(record::decode(record).expect("a record").body).into_owned();
        bodies.extend(pulled.records.iter().map(|record| body(record)));
    }
}

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
                halves.push(check.position);
            }
            for (position, resolution) in halves.into_iter().zip([Resolution::Commit, Resolution::Rollback]) {
                let request = EndTransaction { topic: topic("deals"), position, resolution };
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
            apache::lay_out(&world, Path::new(DIR), &files);
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
        apache::lay_out(&world, Path::new(DIR), &files.map(|(name, bytes)| (name.into(), bytes)).into());
        assert_eq!(taken_over(&world).await.expect("taken over").pending.level_timers, 1);
        let broker = start(&world);
        world.env().clock.sleep(Duration::from_secs(6)).await;
        let broker = restart_killed(&world, broker).await;
        world.env().clock.sleep(Duration::from_secs(6)).await;
        assert_eq!(queue_bodies(&broker, "t", 0).await, ["first"]);
        broker.stop().await;
    });
}

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
    let mut positions = Vec::new();
    for body in ["rolled back", "undecided", "committed"] {
        let half = message("plain", body, &[(names::TRANSACTION_PREPARED, "true")]);
        positions.push(try_send(&broker, half).await.expect("stored").transaction.expect("a half message"));
    }
    for (position, resolution) in [(positions[0], Resolution::Rollback), (positions[2], Resolution::Commit)] {
        let request = EndTransaction { topic: topic("plain"), position, resolution };
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
            popped_at: Timestamp(apache::pop_times(&files)[0]),
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
        apache::lay_out(&world, Path::new(DIR), &files);
        taken_over(&world).await.expect("taken over");
        let broker = start(&world);
        let committed = broker.committed_offset(&group("readers"), &topic("plain"), QueueId(0)).await;
        assert_eq!(committed, Ok(Some(QueueOffset(100))));
        broker.stop().await;
    });
}
