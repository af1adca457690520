//! Topics and groups that first use has made and that nobody uses any more expire; nothing is lost with them.

mod common;

use std::time::Duration;

use broker::{LocalBroker, Options};
use common::*;
use env::sim::{self, World};
use types::broker::Pop;
use types::properties::names;
use types::{Admin, Broker, GroupConfig, MessageType, QueueId, QueueOffset, TopicConfig, TopicType};

const HOUR: Duration = Duration::from_secs(3_600);
/// How long what nobody uses stays: longer than [`age`] takes.
const IDLE: Duration = Duration::from_secs(3 * 3_600);

/// Segments of 64 KiB that stay an hour.
fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        hot_bytes: 16 * 1024,
        retention: retention(HOUR),
        idle_max: Some(IDLE),
        ..common::options()
    }
}

fn start(world: &World) -> LocalBroker {
    LocalBroker::start(world.env(), options()).expect("starts")
}

async fn sleep(world: &World, duration: Duration) {
    world.env().clock.sleep(duration).await;
}

/// Lets all that was stored until now expire.
async fn age(world: &World, broker: &LocalBroker) {
    for _ in 0..2 {
        for _ in 0..16 {
            send(broker, "filler", &"x".repeat(10_000)).await;
        }
        sleep(world, HOUR + Duration::from_secs(60)).await;
    }
}

/// Long enough for what is idle to expire, and then what it held.
async fn idle(world: &World) {
    sleep(world, IDLE + IDLE / 10).await;
}

/// The topics and groups that are there.
async fn names(broker: &LocalBroker) -> (Vec<String>, Vec<String>) {
    let topics = broker.topics().await.expect("listed").into_iter().map(|topic| topic.name.to_string());
    let groups = broker.groups().await.expect("listed").into_iter().map(|group| group.name.to_string());
    (topics.collect(), groups.collect())
}

async fn pop_and_ack(broker: &LocalBroker, group: &str, topic: &str) -> Vec<String> {
    let popped = pop(broker, pop_of(group, topic)).await;
    for message in &popped.messages {
        ack(broker, group, topic, message).await;
    }
    bodies(&popped)
}

#[test]
fn what_nobody_uses_expires_once_it_is_empty() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        assert!(pop_and_ack(&broker, "g", "t").await.is_empty());
        send(&broker, "t", "first").await;
        assert_eq!(pop_and_ack(&broker, "g", "t").await, ["first"]);
        idle(&world).await;
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&broker).await, (all(&["t"]), all(&["g"])), "the message is there");
        age(&world, &broker).await;
        idle(&world).await;
        assert_eq!(names(&broker).await, (all(&["filler"]), vec![]));
        let status = broker.status();
        assert_eq!((status.expired_topics, status.expired_groups), (1, 1));

        let broker = restart_killed(&world, broker).await;
        assert_eq!(names(&broker).await, (all(&["filler"]), vec![]), "that is in the log");
        // Made anew, the topic goes on where its queues ended, and the group begins at the first of its messages.
        assert_eq!(send(&broker, "t", "second").await.queue_offset, QueueOffset(1));
        assert_eq!(pop_and_ack(&broker, "g", "t").await, ["second"]);
        assert!(broker.topic(&topic("t")).await.expect("there").is_auto_created);
        broker.stop().await;
    });
}

#[test]
fn what_is_used_or_holds_something_stays() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        let made = TopicConfig::new(topic("made"), 1, TopicType::Only(MessageType::Normal));
        broker.put_topic(made, false).await.expect("made");
        broker.put_group(GroupConfig::new(group("made")), false).await.expect("made");
        // It has a place in a topic that is there, and would miss what comes if it lost it.
        assert!(pop_and_ack(&broker, "placed", "made").await.is_empty());
        broker.commit_offset(&group("puller"), &topic("made"), QueueId(0), QueueOffset(0)).await.expect("committed");
        // An unfinished message, which goes to the retry topic when its segment goes.
        send(&broker, "failing", "x").await;
        let long = Pop { invisible: 30 * HOUR, ..pop_of("failing", "failing") };
        assert_eq!(pop(&broker, long).await.messages.len(), 1);
        let gone = [("gone", "gone"), ("gone-too", "gone")];
        for (group, topic) in gone {
            assert!(pop_and_ack(&broker, group, topic).await.is_empty());
        }
        for _ in 0..3 {
            assert!(pop_and_ack(&broker, "used", "used").await.is_empty());
            age(&world, &broker).await;
        }
        let (topics, groups) = names(&broker).await;
        assert_eq!(topics, ["failing", "filler", "made", "used"]);
        assert_eq!(groups, ["failing", "made", "placed", "puller", "used"]);
        assert_eq!((broker.status().expired_topics, broker.status().expired_groups), (1, 2));
        broker.stop().await;
    });
}

/// A group that is away for long gets what comes meanwhile, as far as it has not expired: it keeps its place, and so the topic.
#[test]
fn a_topic_stays_while_a_group_has_a_place_in_it() {
    sim::run(8, async |world: World| {
        let broker = start(&world);
        broker.put_group(GroupConfig::new(group("made")), false).await.expect("made");
        assert!(pop_and_ack(&broker, "made", "popped").await.is_empty());
        broker.commit_offset(&group("made"), &topic("pulled"), QueueId(0), QueueOffset(0)).await.expect("committed");
        idle(&world).await;
        for topic in ["popped", "pulled"] {
            send(&broker, topic, "too old").await;
        }
        age(&world, &broker).await;
        idle(&world).await;
        for name in ["popped", "pulled"] {
            send(&broker, name, "kept").await;
            assert_eq!(pop_and_ack(&broker, "made", name).await, ["kept"], "{name}");
        }
        broker.stop().await;
    });
}

#[test]
fn a_receiver_that_waits_keeps_its_topic() {
    sim::run(3, async |world: World| {
        let mut options = options();
        // Shorter than a receiver waits.
        (options.idle_max, options.idempotency.window) = (Some(MS * 2_000), MS);
        let broker = LocalBroker::start(world.env(), options).expect("starts");
        assert!(pop_and_ack(&broker, "h", "u").await.is_empty());
        let wait = Pop { wait: Duration::from_secs(300), ..pop_of("g", "t") };
        let (waiting, ()) = tokio::join!(pop(&broker, wait), async {
            sleep(&world, Duration::from_secs(290)).await;
            assert_eq!(names(&broker).await, (vec!["t".to_owned()], vec!["g".to_owned()]));
            send(&broker, "t", "late").await;
        });
        assert_eq!(bodies(&waiting), ["late"]);
        broker.stop().await;
    });
}

#[test]
fn a_delayed_message_makes_its_topic_again() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        assert!(pop_and_ack(&broker, "g", "t").await.is_empty());
        send(&broker, "t", "first").await;
        assert_eq!(pop_and_ack(&broker, "g", "t").await, ["first"]);
        age(&world, &broker).await;
        let due = world.env().clock.now().plus(HOUR * 9).to_string();
        try_send(&broker, message("t", "delayed", &[(names::TIMER_DELIVER_MS, &due)])).await.expect("stored");
        idle(&world).await;
        assert_eq!(names(&broker).await, (vec!["filler".to_owned()], vec![]));
        sleep(&world, HOUR * 9).await;
        assert_eq!(names(&broker).await.0, ["filler", "t"]);
        let broker = restart_killed(&world, broker).await;
        assert_eq!(pop_and_ack(&broker, "g", "t").await, ["delayed"]);
        broker.stop().await;
    });
}

#[test]
fn dead_letters_keep_their_group() {
    sim::run(5, async |world: World| {
        let broker = start(&world);
        assert!(pop_and_ack(&broker, "g", "t").await.is_empty());
        send(&broker, "t", "bad").await;
        let popped = pop(&broker, pop_of("g", "t")).await;
        broker.dead_letter(owner("g", "t"), popped.messages[0].handle.clone()).await.expect("given up");
        // Now the group has no place anywhere else.
        broker.delete_topic(&topic("t")).await.expect("deleted");
        idle(&world).await;
        assert_eq!(names(&broker).await, (vec!["%DLQ%g".to_owned()], vec!["g".to_owned()]));
        age(&world, &broker).await;
        idle(&world).await;
        assert_eq!(names(&broker).await, (vec!["filler".to_owned()], vec![]));
        broker.stop().await;
    });
}

#[test]
fn neither_a_wrong_clock_nor_a_restart_makes_anything_older() {
    sim::run(6, async |world: World| {
        let mut broker = start(&world);
        assert!(pop_and_ack(&broker, "g", "t").await.is_empty());
        for skew_ms in [0, 1_000_000_000_000, -1_000_000] {
            world.clock().set_skew_ms(skew_ms);
            sleep(&world, IDLE - HOUR / 10).await;
            assert_eq!(names(&broker).await.0, ["t"], "{skew_ms}");
            world.kill().await;
            drop(broker);
            broker = start(&world);
        }
        idle(&world).await;
        assert!(names(&broker).await.0.is_empty());
        broker.stop().await;
    });
}

#[test]
fn nothing_expires_where_first_use_does_not_make_it_again() {
    for idle_max in [Some(IDLE), None] {
        sim::run(7, async |world: World| {
            let broker = start(&world);
            assert!(pop_and_ack(&broker, "g", "t").await.is_empty());
            broker.stop().await;
            let is_auto = idle_max.is_none();
            let options = Options { auto_create_topics: is_auto, auto_create_groups: is_auto, idle_max, ..options() };
            let broker = LocalBroker::start(world.env(), options).expect("starts");
            idle(&world).await;
            assert_eq!(names(&broker).await, (vec!["t".to_owned()], vec!["g".to_owned()]), "{idle_max:?}");
            broker.stop().await;
        });
    }
}
