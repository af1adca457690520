//! Delayed messages: never early, once, taken back when asked.

mod common;

use std::time::Duration;

use common::*;
use env::sim::{self, World};
use types::Broker;
use types::broker::{RecallError, SendError};
use types::properties::names;

const DELAY: Duration = Duration::from_secs(30);

/// Sends a message that is due in 30 s.
async fn send_delayed(world: &World, broker: &broker::LocalBroker, body: &str) -> (types::Timestamp, String) {
    let due = world.env().clock.now().plus(DELAY);
    let delayed = message("t", body, &[(names::TIMER_DELIVER_MS, &due.to_string()), (names::KEYS, "k")]);
    let receipt = try_send(broker, delayed).await.expect("stored");
    (due, receipt.recall_handle.expect("delayed messages have one"))
}

#[test]
fn a_delayed_message_comes_when_it_is_due_and_not_before() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let (due, _) = send_delayed(&world, &broker, "late").await;
        let messages = wait_for(&broker, "g", "t").await;
        let now = world.env().clock.now();
        assert!(now >= due && now.since(due) < Duration::from_secs(1), "{now} for {due}");
        assert_eq!((body(&messages[0]), messages[0].attempt), ("late".to_owned(), 1));
        assert_eq!(property(&messages[0], names::KEYS).as_deref(), Some("k"));
        assert_eq!(property(&messages[0], names::TIMER_DELIVER_MS), Some(due.to_string()));
        assert_eq!(property(&messages[0], names::REAL_TOPIC), None);
        broker.stop().await;
    });
}

#[test]
fn delays_survive_kills_and_are_delivered_once() {
    for seed in 0..20 {
        sim::run(seed, async |world: World| {
            let mut broker = start(&world);
            assert!(pop_bodies(&broker, "g", "t").await.is_empty());
            for n in 0..10 {
                send_delayed(&world, &broker, &n.to_string()).await;
            }
            let clock = world.env().clock;
            clock.sleep(DELAY - Duration::from_millis(seed * 5)).await;
            for _ in 0..3 {
                broker = restart_killed(&world, broker).await;
                clock.sleep(Duration::from_millis(seed * 7)).await;
            }
            clock.sleep(Duration::from_secs(5)).await;
            let mut all = pop_bodies(&broker, "g", "t").await;
            all.sort();
            let expected: Vec<String> = (0..10).map(|n| n.to_string()).collect();
            assert_eq!(all, expected, "seed {seed}");
            assert_eq!(broker.status().timers_pending, 0);
            broker.stop().await;
        });
    }
}

#[test]
fn a_past_delivery_time_means_at_once() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        let past = world.env().clock.now().to_string();
        let receipt =
            try_send(&broker, message("t", "now", &[(names::TIMER_DELIVER_MS, &past)])).await.expect("stored");
        assert_eq!(receipt.recall_handle, None);
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["now"]);
        broker.stop().await;
    });
}

#[test]
fn a_delay_beyond_the_limit_is_refused() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        let three_days_and_a_bit = (3 * 24 * 3600 + 1).to_string();
        let refused =
            try_send(&broker, message("t", "x", &[(names::TIMER_DELAY_SECONDS, &three_days_and_a_bit)])).await;
        assert!(matches!(refused, Err(SendError::DelayTooLong { delay_ms_max: 259_200_000, .. })), "{refused:?}");
        broker.stop().await;
    });
}

#[test]
fn a_recalled_message_never_comes_not_even_after_a_kill() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let (_, recalled) = send_delayed(&world, &broker, "recalled").await;
        let (_, kept) = send_delayed(&world, &broker, "kept").await;
        assert_eq!(broker.recall(topic("t"), recalled.clone()).await, Ok("ID-recalled".to_owned()));
        assert_eq!(broker.recall(topic("t"), recalled.clone()).await, Err(RecallError::NotFound));
        let broker = restart_killed(&world, broker).await;
        assert_eq!(broker.recall(topic("t"), recalled).await, Err(RecallError::NotFound));
        let messages = wait_for(&broker, "g", "t").await;
        assert_eq!(body(&messages[0]), "kept");
        assert_eq!(broker.recall(topic("t"), kept.clone()).await, Err(RecallError::NotFound));
        let other = broker.recall(topic("u"), kept).await;
        assert!(matches!(other, Err(RecallError::InvalidHandle { .. })));
        world.env().clock.sleep(Duration::from_secs(10)).await;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        broker.stop().await;
    });
}

#[test]
fn delayed_messages_that_left_memory_are_read_from_the_disk() {
    sim::run(5, async |world: World| {
        let small = broker::Options { hot_bytes: 16 * 1024, ..options() };
        let broker = broker::LocalBroker::start(world.env(), small).expect("starts");
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        for n in 0..50 {
            send_delayed(&world, &broker, &n.to_string()).await;
        }
        for _ in 0..100 {
            send(&broker, "filler", &"x".repeat(1000)).await;
        }
        let mut all = Vec::new();
        while all.len() < 50 {
            let messages = wait_for(&broker, "g", "t").await;
            assert!(!messages.is_empty(), "only {} came", all.len());
            all.extend(messages.iter().map(|message| body(message).parse::<u32>().expect("a number")));
        }
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        broker.stop().await;
    });
}
