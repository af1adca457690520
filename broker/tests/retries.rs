//! Failed messages that wait long: they go on as copies in their group's retry topic.

mod common;

use std::sync::Arc;
use std::time::Duration;

use broker::LocalBroker;
use common::*;
use env::sim::{self, World};
use types::admin::{Admin, GroupProgress};
use types::broker::{ChangeInvisible, LeaseError, Pop, PoppedMessage};
use types::properties::names;
use types::receipt_handle::HandleSource;
use types::{Broker, Filter, GroupConfig, QueueOffset};

/// A wait that a message does not spend in its queue.
const LONG: Duration = Duration::from_secs(120);

/// Receives one message and lets it fail; returns it with the handle from before and the one from after that.
async fn fail(broker: &LocalBroker, group: &str, topic: &str, wait: Duration) -> (PoppedMessage, PoppedMessage) {
    let message = wait_for(broker, group, topic).await.remove(0);
    let changed =
        broker.change_invisible(owner(group, topic), message.handle.clone(), wait.into()).await.expect("good");
    let after = PoppedMessage { handle: changed, ..message.clone() };
    (message, after)
}

/// The same, but the delivery does not count.
async fn put_off(broker: &LocalBroker, group: &str, topic: &str, invisible: Duration) -> PoppedMessage {
    let message = wait_for(broker, group, topic).await.remove(0);
    let change = ChangeInvisible { invisible, suspend: true };
    broker.change_invisible(owner(group, topic), message.handle.clone(), change).await.expect("good");
    message
}

async fn progress(broker: &LocalBroker, name: &str, is_retry: bool) -> Option<GroupProgress> {
    let progress = broker.describe_group(&group(name)).await.expect("there").progress;
    progress.into_iter().find(|at| at.is_retry == is_retry && at.queue.0 == 0)
}

async fn sleep(world: &World, time: Duration) {
    world.env().clock.sleep(time).await;
}

#[test]
fn what_is_put_off_is_not_an_attempt_in_its_place_or_as_a_copy() {
    sim::run(1, async |world: World| {
        let mut broker = start(&world);
        send(&broker, "t", "later").await;
        fail(&broker, "g", "t", Duration::ZERO).await;
        for wait in [Duration::ZERO, LONG, LONG, Duration::ZERO] {
            let message = put_off(&broker, "g", "t", wait).await;
            assert_eq!((body(&message), message.attempt), ("later".to_owned(), 2));
            if message.handle.source == HandleSource::RetryV1 {
                // What the copy says that was made of it.
                assert_eq!(record::decode(&message.record).expect("a record").header.reconsume_times, 1);
            }
            sleep(&world, wait).await;
            broker = restart_killed(&world, broker).await;
        }
        let last = wait_for(&broker, "g", "t").await.remove(0);
        assert_eq!((last.attempt, last.handle.source), (2, HandleSource::RetryV1));
    });
}

#[test]
fn a_message_that_waits_long_is_moved_and_delivered_from_the_retry_topic() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        try_send(&broker, message("t", "bad", &[(names::TAGS, "a"), ("colour", "red")])).await.expect("stored");
        fail(&broker, "g", "t", LONG).await;
        send(&broker, "t", "good").await;
        let good = wait_for(&broker, "g", "t").await;
        ack(&broker, "g", "t", &good[0]).await;
        let at = progress(&broker, "g", false).await.expect("consumed");
        assert_eq!((at.committed, at.in_flight), (QueueOffset(2), 0), "progress is not held back");
        let at = progress(&broker, "g", true).await.expect("moved");
        assert_eq!((at.topic, at.committed.0, at.end.0, at.in_flight), (topic("t"), 0, 1, 1));
        assert_eq!(broker.status().moved, 1);

        let broker = restart_killed(&world, broker).await;
        assert!(wait_for(&broker, "g", "t").await.is_empty(), "a minute is not enough");
        let again = wait_for(&broker, "g", "t").await;
        assert_eq!((body(&again[0]), again[0].attempt), ("bad".to_owned(), 2));
        assert_eq!(again[0].handle.source, HandleSource::RetryV1);
        assert_eq!(property(&again[0], names::UNIQUE_KEY).as_deref(), Some("ID-bad"));
        assert_eq!(property(&again[0], "colour").as_deref(), Some("red"));
        let record = record::decode(&again[0].record).expect("a record");
        assert_eq!((record.topic, record.header.reconsume_times), ("%RETRY%g_t", 1));
        ack(&broker, "g", "t", &again[0]).await;
        let broker = restart_killed(&world, broker).await;
        assert!(wait_for(&broker, "g", "t").await.is_empty());
        let at = progress(&broker, "g", true).await.expect("moved");
        assert_eq!((at.committed, at.in_flight), (at.end, 0));
        broker.stop().await;
    });
}

#[test]
fn a_short_wait_is_spent_in_place() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "bad").await;
        fail(&broker, "g", "t", Duration::from_secs(60)).await;
        let again = wait_for(&broker, "g", "t").await;
        assert_eq!((again[0].handle.source, again[0].attempt), (HandleSource::Topic, 2));
        assert!(progress(&broker, "g", true).await.is_none());
        broker.stop().await;
    });
}

#[test]
fn ordered_messages_stay_where_they_are() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        broker.put_group(GroupConfig { is_fifo: true, ..GroupConfig::new(group("fifo")) }, false).await.expect("made");
        send(&broker, "plain", "of a queue in order").await;
        try_send(&broker, message("t", "of a message group", &[(names::MESSAGE_GROUP, "a")])).await.expect("stored");
        for (group, topic) in [("fifo", "plain"), ("g", "t")] {
            fail(&broker, group, topic, LONG).await;
            sleep(&world, LONG).await;
            let again = wait_for(&broker, group, topic).await;
            assert_eq!((again[0].handle.source, again[0].attempt), (HandleSource::Topic, 2));
        }
        assert_eq!(broker.status().moved, 0);
        broker.stop().await;
    });
}

#[test]
fn handles_from_before_the_move_are_good_until_the_next_delivery() {
    for (seed, is_old, is_killed) in [(10, true, false), (11, true, true), (12, false, false), (13, false, true)] {
        sim::run(seed, async |world: World| {
            let mut broker = start(&world);
            send(&broker, "t", "acked late").await;
            let (before, after) = fail(&broker, "g", "t", LONG).await;
            if is_killed {
                broker = restart_killed(&world, broker).await;
            }
            assert_eq!(broker.status().moved == 1, !is_killed);
            let handle = if is_old { &before } else { &after };
            ack(&broker, "g", "t", handle).await;
            broker = restart_killed(&world, broker).await;
            sleep(&world, LONG).await;
            assert!(pop_bodies(&broker, "g", "t").await.is_empty(), "acked, and delivered again");

            send(&broker, "t", "delivered again").await;
            let (before, after) = fail(&broker, "g", "t", LONG).await;
            sleep(&world, LONG).await;
            let again = wait_for(&broker, "g", "t").await;
            let handles = [&before, &after].map(|message| message.handle.clone()).to_vec();
            let refused = broker.ack(owner("g", "t"), handles).await;
            assert!(refused.iter().all(|result| matches!(result, Err(LeaseError::Invalid { .. }))), "{refused:?}");
            ack(&broker, "g", "t", &again[0]).await;
            broker.stop().await;
        });
    }
}

#[test]
fn a_copy_is_changed_given_up_and_dead_lettered_like_any_message() {
    sim::run(20, async |world: World| {
        let broker = start(&world);
        broker.put_group(GroupConfig { attempts_max: 2, ..GroupConfig::new(group("g")) }, false).await.expect("made");
        for body in ["exhausted", "forwarded", "forwarded early"] {
            send(&broker, "t", body).await;
            let (before, _) = fail(&broker, "g", "t", LONG).await;
            if body == "forwarded early" {
                broker.dead_letter(owner("g", "t"), before.handle).await.expect("moved");
            }
        }
        sleep(&world, LONG).await;
        let again = wait_for(&broker, "g", "t").await;
        assert_eq!(again.iter().map(body).collect::<Vec<_>>(), ["exhausted", "forwarded"]);
        broker.change_invisible(owner("g", "t"), again[0].handle.clone(), Duration::ZERO.into()).await.expect("good");
        for _ in 0..2 {
            broker.dead_letter(owner("g", "t"), again[1].handle.clone()).await.expect("moved");
        }
        let broker = restart_killed(&world, broker).await;
        sleep(&world, Duration::from_secs(1)).await;
        let dead = pop(&broker, pop_of("undertaker", "%DLQ%g")).await.messages;
        let mut bodies: Vec<_> = dead.iter().map(body).collect();
        bodies.sort();
        assert_eq!(bodies, ["exhausted", "forwarded", "forwarded early"]);
        for message in &dead {
            assert_eq!(property(message, names::DLQ_ORIGIN_TOPIC).as_deref(), Some("t"));
            let id = format!("ID-{}", body(message));
            assert_eq!(property(message, names::DLQ_ORIGIN_MESSAGE_ID).as_deref(), Some(id.as_str()));
        }
        sleep(&world, LONG).await;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        broker.stop().await;
    });
}

#[test]
fn leases_of_copies_are_prolonged_and_end_with_their_client() {
    sim::run(21, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "m").await;
        fail(&broker, "g", "t", LONG).await;
        sleep(&world, LONG).await;
        let renewed = Pop { auto_renew: true, client: client("living"), ..pop_of("g", "t") };
        let copy = pop(&broker, renewed).await.messages.remove(0);
        let report = types::broker::DeliveryReport {
            lease: owner("g", "t"),
            client: client("living"),
            written: vec![copy.handle.clone()],
            lost: Vec::new(),
            unwanted: Vec::new(),
        };
        broker.report_delivery(report).await;
        for _ in 0..4 {
            broker.clients_alive(vec![client("living")]).await;
            sleep(&world, Duration::from_secs(25)).await;
            assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        }
        broker.client_gone(client("living")).await;
        let again = wait_for(&broker, "g", "t").await;
        assert_eq!(again[0].attempt, 3);
        broker.stop().await;
    });
}

#[test]
fn subscriptions_filter_copies_as_they_do_messages() {
    sim::run(22, async |world: World| {
        let broker = start(&world);
        try_send(&broker, message("t", "red", &[(names::TAGS, "a"), ("colour", "red")])).await.expect("stored");
        try_send(&broker, message("t", "blue", &[(names::TAGS, "b"), ("colour", "blue")])).await.expect("stored");
        for _ in 0..2 {
            let one = Pop { messages_max: 1, ..pop_of("g", "t") };
            let message = pop(&broker, one).await.messages.remove(0);
            broker.change_invisible(owner("g", "t"), message.handle, LONG.into()).await.expect("good");
        }
        sleep(&world, LONG).await;
        let sql = Filter::parse(types::filter::ExpressionType::Sql92, "colour = 'red'").expect("an expression");
        let by_property = Pop { filter: Arc::new(sql), ..pop_of("g", "t") };
        assert_eq!(bodies(&pop(&broker, by_property).await), ["red"]);
        let at = progress(&broker, "g", true).await.expect("moved");
        assert_eq!(at.in_flight, 1, "what the filter does not want is finished");

        fail(&broker, "h", "t", LONG).await;
        sleep(&world, LONG).await;
        let by_tag = Pop { filter: Arc::new(Filter::tags(["c"]).expect("a tag")), ..pop_of("h", "t") };
        assert_eq!(bodies(&pop(&broker, by_tag).await), [""; 0]);
        let at = progress(&broker, "h", true).await.expect("moved");
        assert_eq!((at.committed, at.in_flight), (at.end, 0), "what the filter does not want is finished");
        broker.stop().await;
    });
}

#[test]
fn who_waits_hears_of_a_copy_whatever_queue_it_asked_for() {
    sim::run(23, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "m").await;
        fail(&broker, "g", "t", LONG).await;
        let asked = world.env().clock.now();
        let wait = Duration::from_secs(200);
        let of_queue = Pop { queue: Some(types::QueueId(5)), wait, ..pop_of("g", "t") };
        let copy = pop(&broker, of_queue).await.messages;
        assert_eq!((copy.len(), copy[0].attempt), (1, 2));
        assert!(world.env().clock.now().since(asked) < wait);
        broker.stop().await;
    });
}

#[test]
fn groups_that_share_a_retry_topic_get_their_own_messages_only() {
    sim::run(24, async |world: World| {
        let broker = start(&world);
        let pairs = [("a", "b_c"), ("a_b", "c")];
        for round in 0..2 {
            for (group, topic) in pairs {
                send(&broker, topic, &format!("{group} {topic} {round}")).await;
                fail(&broker, group, topic, LONG).await;
            }
        }
        let broker = restart_killed(&world, broker).await;
        sleep(&world, LONG).await;
        for (group, topic) in pairs {
            let messages = pop(&broker, pop_of(group, topic)).await.messages;
            let expected: Vec<_> = (0..2).map(|round| format!("{group} {topic} {round}")).collect();
            assert_eq!(messages.iter().map(body).collect::<Vec<_>>(), expected);
            assert!(messages.iter().all(|message| message.attempt == 2));
        }
        broker.delete_topic(&topic("b_c")).await.expect("deleted");
        broker.topic(&topic("%RETRY%a_b_c")).await.expect("the other group's");
        sleep(&world, LONG).await;
        assert_eq!(pop_bodies(&broker, "a_b", "c").await, ["a_b c 0", "a_b c 1"]);
        broker.stop().await;
    });
}

#[test]
fn retry_topics_are_not_listed_and_go_with_their_topic_and_group() {
    for (seed, is_topic) in [(25, true), (26, false)] {
        sim::run(seed, async |world: World| {
            let broker = start(&world);
            let retry = topic("%RETRY%g_t");
            send(&broker, "t", "old").await;
            fail(&broker, "g", "t", LONG).await;
            let listed = broker.topics().await.expect("listed");
            assert_eq!(listed.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["t"]);
            let made = broker.describe_topic(&retry).await.expect("made").config;
            assert_eq!((made.read_queues, made.is_auto_created), (1, true));
            if is_topic {
                broker.delete_topic(&topic("t")).await.expect("deleted");
            } else {
                broker.delete_group(&group("g")).await.expect("deleted");
            }
            assert!(broker.describe_topic(&retry).await.is_err());
            let broker = restart_killed(&world, broker).await;
            assert!(broker.describe_topic(&retry).await.is_err());
            sleep(&world, LONG).await;
            let left = if is_topic { vec![] } else { vec!["old".to_owned()] };
            assert_eq!(pop_bodies(&broker, "g", "t").await, left, "a new group begins with what the topic has");
            send(&broker, "t", "new").await;
            let new = wait_for(&broker, "g", "t").await;
            assert_eq!((body(&new[0]), new[0].attempt), ("new".to_owned(), 1));
            broker.stop().await;
        });
    }
}

#[test]
fn nothing_is_lost_or_acked_in_vain_whenever_the_broker_is_killed() {
    for seed in 0..40 {
        sim::run(1000 + seed, async |world: World| {
            let mut broker = start(&world);
            let mut rng = world.random().fork();
            let (mut acked, mut seen): (Vec<String>, Vec<(String, u32)>) = (Vec::new(), Vec::new());
            let mut old = Vec::new();
            for n in 0..20 {
                send(&broker, "t", &n.to_string()).await;
                for message in pop(&broker, pop_of("g", "t")).await.messages {
                    let name = body(&message);
                    assert!(!acked.contains(&name), "seed {seed}: {name} was acked and came back");
                    seen.push((name, message.attempt));
                    let wait = Duration::from_secs(rng.u64(50..100));
                    let changed = broker.change_invisible(owner("g", "t"), message.handle.clone(), wait.into()).await;
                    changed.expect("its delivery is the current one");
                    old.push(message);
                }
                if rng.bool() && !old.is_empty() {
                    let message = old.swap_remove(rng.usize(..old.len()));
                    let result = broker.ack(owner("g", "t"), vec![message.handle.clone()]).await.remove(0);
                    if result.is_ok() {
                        acked.push(body(&message));
                    } else {
                        let newest =
                            seen.iter().filter(|(name, _)| *name == body(&message)).map(|(_, attempt)| attempt);
                        assert!(newest.max() > Some(&message.attempt), "seed {seed}: {result:?}");
                    }
                }
                sleep(&world, Duration::from_secs(rng.u64(..30))).await;
                if rng.u32(..3) == 0 {
                    broker = restart_killed(&world, broker).await;
                }
            }
            loop {
                sleep(&world, Duration::from_secs(100)).await;
                let messages = pop(&broker, pop_of("g", "t")).await.messages;
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    ack(&broker, "g", "t", &message).await;
                    acked.push(body(&message));
                }
            }
            acked.sort_by_key(|name| name.parse::<u32>().expect("a number"));
            assert_eq!(acked, (0..20).map(|n| n.to_string()).collect::<Vec<_>>(), "seed {seed}");
            broker.stop().await;
        });
    }
}
