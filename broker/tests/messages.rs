//! Messages from send to ack, across restarts and kills.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use env::sim::{self, World};
use types::admin::Admin;
use types::broker::{DeliveryReport, Durability, LeaseError, LookupError, Pop, PopError, SendError, Unavailable};
use types::properties::names;
use types::{Broker, Filter, GroupConfig, MessageType, QueueId, TopicConfig};

#[test]
fn what_is_sent_is_popped_once_and_gone_after_its_ack() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        let receipt = send(&broker, "t", "one").await;
        assert_eq!((receipt.queue_offset.0, receipt.durability), (0, Durability::Written));
        let popped = pop(&broker, pop_of("g", "t")).await;
        assert_eq!(bodies(&popped), ["one"]);
        assert_eq!(popped.messages[0].attempt, 1);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        assert_eq!(pop_bodies(&broker, "other", "t").await, ["one"]);
        ack(&broker, "g", "t", &popped.messages[0]).await;
        let again = broker.ack(owner("g", "t"), vec![popped.messages[0].handle.clone()]).await;
        assert!(matches!(again[0], Err(LeaseError::Invalid { .. })));
        world.env().clock.sleep(Duration::from_secs(40)).await;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        broker.stop().await;
    });
}

#[test]
fn everything_acknowledged_survives_a_kill() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        for n in 0..20 {
            send(&broker, "t", &n.to_string()).await;
        }
        let first = pop(&broker, Pop { messages_max: 5, ..pop_of("g", "t") }).await;
        for message in &first.messages {
            ack(&broker, "g", "t", message).await;
        }
        let broker = restart_killed(&world, broker).await;
        let expected: Vec<String> = (5..20).map(|n| n.to_string()).collect();
        assert_eq!(pop_bodies(&broker, "g", "t").await, expected);
        let description = broker.describe_group(&group("g")).await.expect("there");
        let progress = description.progress.iter().find(|progress| progress.queue == QueueId(0)).expect("consumed");
        assert_eq!((progress.committed.0, progress.end.0, progress.in_flight), (5, 20, 15));
        broker.stop().await;
    });
}

#[test]
fn leases_and_attempts_survive_a_clean_stop() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "one").await;
        assert_eq!(pop(&broker, pop_of("g", "t")).await.messages[0].attempt, 1);
        broker.stop().await;
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let messages = wait_for(&broker, "g", "t").await;
        assert_eq!((body(&messages[0]), messages[0].attempt), ("one".to_owned(), 2));
        broker.stop().await;
    });
}

#[test]
fn a_waiting_pop_is_woken_by_a_message() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        let clock = world.env().clock;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let before = clock.now();
        let waiting = wait_for(&broker, "g", "t");
        let sending = async {
            clock.sleep(Duration::from_secs(5)).await;
            send(&broker, "t", "late").await;
        };
        let (messages, ()) = tokio::join!(waiting, sending);
        assert_eq!(body(&messages[0]), "late");
        assert!(clock.now().since(before) < Duration::from_secs(6));
        broker.stop().await;
    });
}

#[test]
fn a_waiting_pop_is_answered_with_nothing_in_time() {
    sim::run(5, async |world: World| {
        let broker = start(&world);
        let clock = world.env().clock;
        let before = clock.now();
        let waited = pop(&broker, Pop { wait: Duration::from_secs(20), ..pop_of("g", "t") }).await;
        assert!(waited.messages.is_empty());
        let took = clock.now().since(before);
        assert!(took >= Duration::from_secs(20) && took < Duration::from_secs(21), "{took:?}");
        broker.stop().await;
    });
}

#[test]
fn a_dropped_pop_takes_no_message() {
    sim::run(6, async |world: World| {
        let broker = start(&world);
        let clock = world.env().clock;
        for _ in 0..20 {
            let waiting = wait_for(&broker, "g", "t");
            tokio::select! {
                biased;
                _ = waiting => panic!("nothing was sent"),
                () = clock.sleep(Duration::from_secs(1)) => {}
            }
        }
        send(&broker, "t", "one").await;
        let messages = wait_for(&broker, "g", "t").await;
        assert_eq!((body(&messages[0]), messages[0].attempt), ("one".to_owned(), 1));
        broker.stop().await;
    });
}

#[test]
fn a_pop_dropped_at_any_moment_gives_its_messages_back() {
    for patience_ms in 0..40 {
        sim::run(7 + patience_ms, async |world: World| {
            let broker = start(&world);
            let clock = world.env().clock;
            send(&broker, "t", "one").await;
            let popping = broker.pop(pop_of("g", "t"));
            tokio::select! {
                biased;
                popped = popping => {
                    let lost = popped.expect("popped").messages.into_iter().map(|message| message.handle).collect();
                    let (written, unwanted) = (Vec::new(), Vec::new());
                    let report = DeliveryReport { lease: owner("g", "t"), client: client("c"), written, lost, unwanted };
                    broker.report_delivery(report).await;
                }
                () = clock.sleep(Duration::from_millis(patience_ms)) => {}
            }
            clock.sleep(Duration::from_millis(100)).await;
            let popped = pop(&broker, pop_of("g", "t")).await;
            assert_eq!(bodies(&popped), ["one"], "after {patience_ms} ms");
            assert_eq!(popped.messages[0].attempt, 1);
            broker.stop().await;
        });
    }
}

#[test]
fn a_change_makes_a_message_visible_again() {
    sim::run(50, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "one").await;
        let popped = pop(&broker, pop_of("g", "t")).await;
        let handle = popped.messages[0].handle.clone();
        let renewed =
            broker.change_invisible(owner("g", "t"), handle.clone(), Duration::ZERO.into()).await.expect("changed");
        let messages = wait_for(&broker, "g", "t").await;
        assert_eq!((body(&messages[0]), messages[0].attempt), ("one".to_owned(), 2));
        for stale in [handle, renewed] {
            let refused = broker.ack(owner("g", "t"), vec![stale]).await;
            assert!(matches!(refused[0], Err(LeaseError::Invalid { .. })));
        }
        ack(&broker, "g", "t", &messages[0]).await;
        broker.stop().await;
    });
}

#[test]
fn handles_of_another_broker_are_refused_one_by_one() {
    sim::run(51, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "one").await;
        let ours = pop(&broker, pop_of("g", "t")).await.messages[0].handle.clone();
        let mut foreign = ours.clone();
        foreign.broker = "elsewhere".into();
        let results = broker.ack(owner("g", "t"), vec![foreign, ours]).await;
        assert!(matches!(results[..], [Err(LeaseError::Invalid { .. }), Ok(())]), "{results:?}");
        broker.stop().await;
    });
}

#[test]
fn held_leases_of_living_clients_are_prolonged_until_they_go() {
    sim::run(52, async |world: World| {
        let broker = start(&world);
        let clock = world.env().clock;
        send(&broker, "t", "one").await;
        let popped = pop(&broker, Pop { auto_renew: true, ..pop_of("g", "t") }).await;
        let written = popped.messages.iter().map(|message| message.handle.clone()).collect();
        let (lost, unwanted) = (Vec::new(), Vec::new());
        broker
            .report_delivery(DeliveryReport { lease: owner("g", "t"), client: client("c"), written, lost, unwanted })
            .await;
        for _ in 0..20 {
            clock.sleep(Duration::from_secs(10)).await;
            broker.clients_alive(vec![client("c")]).await;
            let other = Pop { client: client("other"), ..pop_of("g", "t") };
            assert!(pop(&broker, other).await.messages.is_empty());
        }
        broker.client_gone(client("c")).await;
        let messages = wait_for(&broker, "g", "t").await;
        assert_eq!(body(&messages[0]), "one");
        broker.stop().await;
    });
}

#[test]
fn a_message_group_is_handed_out_in_order_and_one_by_one() {
    sim::run(53, async |world: World| {
        let broker = start(&world);
        for n in 0..3 {
            let fifo = message("t", &n.to_string(), &[(names::MESSAGE_GROUP, "a")]);
            try_send(&broker, fifo).await.expect("stored");
        }
        try_send(&broker, message("t", "b0", &[(names::MESSAGE_GROUP, "b")])).await.expect("stored");
        let popped = pop(&broker, pop_of("g", "t")).await;
        assert_eq!(bodies(&popped), ["0", "b0"]);
        let handle = popped.messages[0].handle.clone();
        broker.change_invisible(owner("g", "t"), handle, Duration::ZERO.into()).await.expect("changed");
        let head = wait_for(&broker, "g", "t").await;
        assert_eq!((body(&head[0]), head[0].attempt), ("0".to_owned(), 2));
        let broker = restart_killed(&world, broker).await;
        ack(&broker, "g", "t", &head[0]).await;
        assert_eq!(bodies(&pop(&broker, pop_of("g", "t")).await), ["1"]);
        broker.stop().await;
    });
}

#[test]
fn an_ack_wakes_who_waits_for_the_next_of_the_group() {
    sim::run(54, async |world: World| {
        let broker = start(&world);
        for n in 0..2 {
            let fifo = message("t", &n.to_string(), &[(names::MESSAGE_GROUP, "a")]);
            try_send(&broker, fifo).await.expect("stored");
        }
        let head = pop(&broker, pop_of("g", "t")).await;
        let clock = world.env().clock;
        let before = clock.now();
        let acking = async {
            clock.sleep(Duration::from_secs(3)).await;
            ack(&broker, "g", "t", &head.messages[0]).await;
        };
        let (next, ()) = tokio::join!(wait_for(&broker, "g", "t"), acking);
        assert_eq!(body(&next[0]), "1");
        assert!(clock.now().since(before) < Duration::from_secs(4));
        broker.stop().await;
    });
}

#[test]
fn only_wanted_tags_are_handed_out_and_others_are_finished() {
    sim::run(55, async |world: World| {
        let broker = start(&world);
        for tag in ["red", "blue", "red"] {
            try_send(&broker, message("t", tag, &[(names::TAGS, tag)])).await.expect("stored");
        }
        // "Aa" and "BB" have the same Java hash: only the exact look tells them apart.
        try_send(&broker, message("t", "Aa", &[(names::TAGS, "Aa")])).await.expect("stored");
        let filter = Arc::new(Filter::tags(["red", "BB"]).expect("tags"));
        let popped = pop(&broker, Pop { filter, ..pop_of("g", "t") }).await;
        assert_eq!(bodies(&popped), ["red", "red"]);
        for message in &popped.messages {
            ack(&broker, "g", "t", message).await;
        }
        world.env().clock.sleep(Duration::from_secs(1)).await;
        let description = broker.describe_group(&group("g")).await.expect("there");
        let progress = description.progress.iter().find(|progress| progress.queue == QueueId(0)).expect("consumed");
        assert_eq!((progress.committed.0, progress.in_flight), (4, 0));
        broker.stop().await;
    });
}

#[test]
fn a_batch_has_a_result_for_each_message_and_consecutive_places() {
    sim::run(56, async |world: World| {
        let broker = LocalOptions { body_bytes_max: 8 }.start(&world);
        let batch = vec![
            message("t", "a", &[]),
            message("t", "too long", &[]),
            message("t", "far too long", &[]),
            message("t", "b", &[]),
        ];
        let results = broker.send(QueueId(3), batch).await;
        let offsets: Vec<_> =
            results.iter().map(|result| result.as_ref().map(|receipt| receipt.queue_offset.0)).collect();
        assert_eq!(offsets[0], Ok(0));
        assert_eq!(offsets[1], Ok(1));
        assert_eq!(offsets[2], Err(&SendError::BodyTooLarge { bytes: 12, bytes_max: 8 }));
        assert_eq!(offsets[3], Ok(2));
        broker.stop().await;
    });
}

struct LocalOptions {
    body_bytes_max: usize,
}

impl LocalOptions {
    fn start(self, world: &World) -> broker::LocalBroker {
        let options = broker::Options { body_bytes_max: self.body_bytes_max, ..options() };
        broker::LocalBroker::start(world.env(), options).expect("starts")
    }
}

#[test]
fn unknown_names_are_refused_where_they_are_not_made() {
    sim::run(57, async |world: World| {
        let strict = broker::Options { auto_create_topics: false, auto_create_groups: false, ..options() };
        let broker = broker::LocalBroker::start(world.env(), strict).expect("starts");
        let refused = try_send(&broker, message("t", "x", &[])).await;
        assert_eq!(refused, Err(SendError::TopicNotFound { topic: topic("t") }));
        let config = TopicConfig {
            name: topic("t"),
            read_queues: 1,
            write_queues: 1,
            is_readable: true,
            is_writable: true,
            topic_type: types::TopicType::Mixed,
            is_auto_created: false,
        };
        broker.put_topic(config.clone(), false).await.expect("made");
        let no_group = broker.pop(pop_of("g", "t")).await.map(drop);
        assert_eq!(no_group, Err(LookupError::GroupNotFound { group: group("g") }.into()));
        broker.put_group(GroupConfig { is_enabled: false, ..GroupConfig::new(group("g")) }, false).await.expect("made");
        assert_eq!(broker.pop(pop_of("g", "t")).await.map(drop), Err(PopError::GroupDisabled { group: group("g") }));
        let results = broker.send(QueueId(1), vec![message("t", "x", &[])]).await;
        assert_eq!(results, [Err(SendError::QueueNotFound { topic: topic("t"), queue: QueueId(1), queues: 1 })]);
        broker.put_topic(TopicConfig { is_writable: false, ..config }, true).await.expect("changed");
        let refused = try_send(&broker, message("t", "x", &[])).await;
        assert_eq!(refused, Err(SendError::NotWritable { topic: topic("t") }));
        broker.stop().await;
    });
}

#[test]
fn topics_say_what_was_sent_to_them_even_after_a_kill() {
    sim::run(58, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "plain").await;
        try_send(&broker, message("t", "fifo", &[(names::MESSAGE_GROUP, "a")])).await.expect("stored");
        try_send(&broker, message("t", "later", &[(names::TIMER_DELAY_SECONDS, "60")])).await.expect("stored");
        let before = broker.describe_topic(&topic("t")).await.expect("there");
        assert_eq!(before.used, [MessageType::Normal, MessageType::Fifo, MessageType::Delay]);
        assert_eq!(before.config.read_queues, 8);
        let broker = restart_killed(&world, broker).await;
        assert_eq!(broker.describe_topic(&topic("t")).await, Ok(before));
        broker.stop().await;
    });
}

#[test]
fn a_deleted_topics_messages_do_not_come_back() {
    sim::run(59, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "old").await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["old"]);
        broker.delete_topic(&topic("t")).await.expect("deleted");
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let receipt = send(&broker, "t", "new").await;
        assert_eq!(receipt.queue_offset.0, 1);
        let broker = restart_killed(&world, broker).await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["new"]);
        broker.stop().await;
    });
}

#[test]
fn a_stopped_broker_says_so() {
    sim::run(60, async |world: World| {
        let broker = start(&world);
        let waiting = wait_for(&broker, "g", "t");
        let stopping = async {
            world.env().clock.sleep(Duration::from_secs(1)).await;
            broker.stop().await;
        };
        let (messages, ()) = tokio::join!(waiting, stopping);
        assert!(messages.is_empty());
        let refused = try_send(&broker, message("t", "x", &[])).await;
        assert_eq!(refused, Err(SendError::Unavailable(Unavailable::Stopping)));
        broker.stop().await;
    });
}
