//! Messages that are given up, by count or by their consumer.

mod common;

use std::time::Duration;

use broker::LocalBroker;
use common::*;
use env::sim::{self, World};
use types::admin::Admin;
use types::broker::Pop;
use types::properties::names;
use types::{Broker, GroupConfig, QueueId};

async fn make_group(broker: &LocalBroker, attempts_max: u32) {
    let config = GroupConfig { attempts_max, ..GroupConfig::new(group("g")) };
    broker.put_group(config, false).await.expect("made");
}

#[test]
fn a_message_delivered_too_often_is_moved_and_names_its_origin() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        make_group(&broker, 3).await;
        send(&broker, "t", "bad").await;
        for attempt in 1..=3 {
            let messages = wait_for(&broker, "g", "t").await;
            assert_eq!((body(&messages[0]), messages[0].attempt), ("bad".to_owned(), attempt));
        }
        let dead = wait_for(&broker, "undertaker", "%DLQ%g").await;
        assert_eq!(body(&dead[0]), "bad");
        assert_eq!(property(&dead[0], names::DLQ_ORIGIN_TOPIC).as_deref(), Some("t"));
        assert_eq!(property(&dead[0], names::DLQ_ORIGIN_MESSAGE_ID).as_deref(), Some("ID-bad"));
        let broker = restart_killed(&world, broker).await;
        world.env().clock.sleep(Duration::from_secs(60)).await;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let config = broker.topic(&topic("%DLQ%g")).await.expect("made");
        assert_eq!((config.read_queues, config.is_auto_created), (1, true));
        assert_eq!(broker.status().timers_pending, 0);
        broker.stop().await;
    });
}

#[test]
fn a_consumer_may_give_up_and_say_so_again() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "bad").await;
        let handle = pop(&broker, pop_of("g", "t")).await.messages[0].handle.clone();
        for _ in 0..3 {
            assert_eq!(broker.dead_letter(owner("g", "t"), handle.clone()).await, Ok(()));
        }
        let broker = restart_killed(&world, broker).await;
        assert_eq!(broker.dead_letter(owner("g", "t"), handle).await, Ok(()));
        assert_eq!(pop_bodies(&broker, "undertaker", "%DLQ%g").await, ["bad"]);
        let progress = broker.describe_group(&group("g")).await.expect("there").progress;
        let of_queue = progress.iter().find(|progress| progress.queue == QueueId(0)).expect("consumed");
        assert_eq!((of_queue.committed.0, of_queue.in_flight), (1, 0));
        broker.stop().await;
    });
}

#[test]
fn giving_up_the_head_of_a_message_group_lets_the_next_one_go() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        for n in 0..2 {
            try_send(&broker, message("t", &n.to_string(), &[(names::MESSAGE_GROUP, "a")])).await.expect("stored");
        }
        let head = pop(&broker, pop_of("g", "t")).await;
        let giving_up = async {
            world.env().clock.sleep(Duration::from_secs(2)).await;
            broker.dead_letter(owner("g", "t"), head.messages[0].handle.clone()).await.expect("moved");
        };
        let (next, ()) = tokio::join!(wait_for(&broker, "g", "t"), giving_up);
        assert_eq!(body(&next[0]), "1");
        broker.stop().await;
    });
}

#[test]
fn each_message_is_in_the_dead_letter_topic_once_whenever_the_broker_is_killed() {
    for seed in 0..30 {
        sim::run(seed, async |world: World| {
            let mut broker = start(&world);
            make_group(&broker, 1).await;
            for n in 0..5 {
                send(&broker, "t", &n.to_string()).await;
            }
            let leased = pop(&broker, Pop { invisible: Duration::from_secs(1), ..pop_of("g", "t") }).await;
            assert_eq!(leased.messages.len(), 5);
            world.env().clock.sleep(Duration::from_millis(990 + seed * 3)).await;
            broker = restart_killed(&world, broker).await;
            world.env().clock.sleep(Duration::from_secs(40)).await;
            let mut dead = pop_bodies(&broker, "undertaker", "%DLQ%g").await;
            dead.sort();
            let again = pop_bodies(&broker, "g", "t").await;
            // A lease that had not reached the log when the broker was killed was never a delivery.
            dead.extend(again);
            assert_eq!(dead, ["0", "1", "2", "3", "4"], "seed {seed}");
            broker.stop().await;
        });
    }
}
