//! After retention the log alone tells the machines' state: what a start makes of it without a checkpoint is what the
//! checkpoint says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::sim::{self, World};
use store::Store;
use types::broker::{EndTransaction, LeaseOwner, Pop, Resolution};
use types::properties::names;
use types::{Broker, Filter, GroupName, Message, QueueId, QueueOffset, TopicName};

use crate::machines::Machines;
use crate::retention::{Hours, Settings};
use crate::transaction::Schedule;
use crate::{LocalBroker, Options};

/// Small segments that stay for two seconds.
fn options() -> Options {
    let (reserved, interval) = (Duration::from_secs(2), Duration::from_millis(100));
    let retention = Settings { delete_when: Hours::EVERY, reserved, interval, ..Settings::default() };
    let options = Options::local(PathBuf::from("/data"));
    Options { segment_bytes: 16 * 1024, checkpoint_bytes: 24 * 1024, hot_bytes: 4 * 1024, retention, ..options }
}

fn topic() -> TopicName {
    TopicName::new("t").expect("valid")
}

/// What many do with a broker for a while.
async fn use_it(world: &World, broker: &LocalBroker) {
    let mut rng = world.random().fork();
    let mut halves = Vec::new();
    let lease = LeaseOwner { group: GroupName::new("g").expect("valid"), topic: topic() };
    for n in 0..400 {
        let mut message = Message::new(topic(), Bytes::from(vec![b'x'; rng.usize(1..400)]));
        message.properties.set_own(names::UNIQUE_KEY, &format!("ID-{n}"));
        let due = world.env().clock.now().plus(Duration::from_millis(rng.u64(..60_000)));
        match rng.u8(..8) {
            0 => message.properties.set_own(names::TIMER_DELIVER_MS, &due.to_string()),
            1 => message.properties.set_own(names::TRANSACTION_PREPARED, "true"),
            _ => {}
        }
        let sent = broker.send(QueueId(rng.u32(..3)), vec![message]).await.remove(0);
        halves.extend(sent.expect("stored").transaction);
        if rng.u8(..4) == 0 && halves.len() > 3 {
            let place = halves.swap_remove(rng.usize(..halves.len()));
            let resolution = if rng.bool() { Resolution::Commit } else { Resolution::Rollback };
            broker.end_transaction(EndTransaction::new(topic(), place, resolution)).await.expect("ended");
        }
        if rng.u8(..3) == 0 {
            let request = Pop {
                group: lease.group.clone(),
                client: "c".into(),
                topic: topic(),
                queue: None,
                messages_max: 8,
                invisible: Duration::from_millis(rng.u64(100..20_000)),
                auto_renew: false,
                filter: Arc::new(Filter::All),
                wait: Duration::ZERO,
                attempt_id: None,
            };
            for message in broker.pop(request).await.expect("popped").messages {
                if rng.bool() {
                    drop(broker.ack(lease.clone(), vec![message.handle]).await);
                }
            }
        }
        if rng.u8(..20) == 0 {
            let puller = GroupName::new(&format!("puller-{}", rng.u8(..3))).expect("valid");
            let (topic, offset) = (topic(), QueueOffset(rng.u64(..9)));
            let committed = broker.commit_offset(&puller, &topic, QueueId(0), offset);
            committed.await.expect("committed");
        }
        world.env().clock.sleep(Duration::from_millis(rng.u64(..120))).await;
    }
}

/// What a start makes of the directory, and where the log begins.
async fn found(world: &World) -> (Machines, Vec<(String, QueueId, QueueOffset)>) {
    let mut machines = Machines::new(Schedule::default());
    let store = Store::open(&world.env(), &options().store(), &mut machines).expect("opens");
    let mut queues: Vec<_> =
        store.queues().map(|(topic, queue, range)| (topic.to_owned(), queue, range.next)).collect();
    queues.sort();
    store.abandon().await;
    (machines, queues)
}

#[test]
fn what_is_over_goes_at_any_hour_when_an_operator_says_so() {
    sim::run(1, async |world: World| {
        let retention = Settings { delete_when: Hours::of(&[]), ..options().retention };
        let broker = LocalBroker::start(world.env(), Options { retention, ..options() }).expect("starts");
        use_it(&world, &broker).await;
        assert_eq!(broker.status().expired_segments, 0);
        broker.expire_now().expect("heard");
        let mut looks = 0;
        while broker.status().expired_segments == 0 {
            looks += 1;
            assert!(looks < 600, "nothing goes");
            world.env().clock.sleep(Duration::from_millis(100)).await;
        }
        broker.stop().await;
    });
}

#[test]
fn the_log_alone_tells_the_state() {
    for seed in 0..12 {
        sim::run(seed, async |world: World| {
            let broker = LocalBroker::start(world.env(), options()).expect("starts");
            use_it(&world, &broker).await;
            broker.stop().await;
            let status = broker.status();
            assert!(status.expired_segments > 0 && status.carried > 0, "seed {seed}: {status:?}");
            drop(broker);
            let (saved, queues) = found(&world).await;
            let disk = world.env().disk;
            for dir in ["/data/checkpoints", "/data/queueindex"].map(Path::new) {
                for name in disk.list(dir).expect("listed") {
                    disk.remove(&dir.join(name)).expect("removed");
                }
            }
            let (replayed, found_queues) = found(&world).await;
            assert_eq!(queues, found_queues, "seed {seed}");
            assert_eq!(replayed.catalog, saved.catalog, "seed {seed}");
            assert_eq!(replayed.offsets, saved.offsets, "seed {seed}");
            assert!(replayed.timer == saved.timer, "seed {seed}: the timers differ");
            assert!(replayed.transactions == saved.transactions, "seed {seed}: the transactions differ");
            let snapshot = |machines: &Machines| {
                let mut out = Vec::new();
                machines.pop.snapshot(&mut out);
                out
            };
            assert!(snapshot(&replayed) == snapshot(&saved), "seed {seed}: the leases differ");
        });
    }
}
