//! Idempotency keys: a message that is sent again under its key is stored once, whatever becomes of the broker meanwhile.

mod common;

use std::time::Duration;

use broker::idempotency::Settings;
use broker::{Flush, LocalBroker, Options};
use common::*;
use env::sim::{self, World};
use types::admin::Admin;
use types::broker::{Durability, EndTransaction, KeyError, Pop, Resolution, SendError, SendReceipt};
use types::properties::names;
use types::{Broker, Message, QueueId};

const WINDOW: Duration = Duration::from_secs(60);
const KEY: &str = names::IDEMPOTENCY_KEY;

fn with_options(world: &World, options: Options) -> LocalBroker {
    LocalBroker::start(world.env(), options).expect("starts")
}

fn start_with(world: &World, keys_max: usize) -> LocalBroker {
    with_options(world, Options { idempotency: Settings { window: WINDOW, keys_max }, ..options() })
}

/// A message of topic `t` with a key and a message id of its own.
fn keyed(key: &str, body: &str, id: &str, more: &[(&'static str, &str)]) -> Message {
    let mut message = message("t", body, more);
    message.properties.set_own(KEY, key);
    message.properties.set_own(names::UNIQUE_KEY, id);
    message
}

async fn send_keyed(broker: &LocalBroker, key: &str, body: &str, id: &str) -> SendReceipt {
    try_send(broker, keyed(key, body, id, &[])).await.expect("taken")
}

/// What the sender of a repeat is told.
fn repeat_of(first: &SendReceipt, id: &str) -> SendReceipt {
    SendReceipt { repeat_of: Some(id.into()), ..first.clone() }
}

#[test]
fn a_repeat_gets_the_first_answer_and_stores_nothing() {
    sim::run(1, async |world: World| {
        let broker = start_with(&world, 100);
        let first = send_keyed(&broker, "k", "body", "A").await;
        assert_eq!(first.repeat_of, None);
        assert_eq!(send_keyed(&broker, "k", "body", "B").await, repeat_of(&first, "A"));
        // A proxy chooses a queue anew.
        let elsewhere = broker.send(QueueId(5), vec![keyed("k", "body", "C", &[])]).await;
        assert_eq!(elsewhere, [Ok(repeat_of(&first, "A"))]);
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["body"]);
        let status = broker.status();
        assert_eq!((status.messages_in, status.repeated, status.keys_known), (1, 2, 1));
        broker.stop().await;
    });
}

#[test]
fn another_message_under_a_key_is_refused() {
    sim::run(2, async |world: World| {
        let broker = start_with(&world, 100);
        send_keyed(&broker, "k", "body", "A").await;
        let refused = try_send(&broker, keyed("k", "other", "B", &[])).await.expect_err("refused");
        assert_eq!(refused, SendError::Key(KeyError::Taken { key: "k".to_owned(), window_ms: 60_000 }));
        let text = refused.to_string();
        assert!(text.starts_with(r#"property GANTRY_IDEMPOTENCY_KEY is "k", which another message"#), "{text}");
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["body"]);
        broker.stop().await;
    });
}

#[test]
fn keys_survive_kills_and_orderly_stops() {
    sim::run(3, async |world: World| {
        let broker = start_with(&world, 100);
        let first = send_keyed(&broker, "k", "body", "A").await;
        world.kill().await;
        drop(broker);
        let broker = start_with(&world, 100);
        assert_eq!(send_keyed(&broker, "k", "body", "B").await, repeat_of(&first, "A"));
        broker.stop().await;
        let broker = start_with(&world, 100);
        assert_eq!(send_keyed(&broker, "k", "body", "C").await, repeat_of(&first, "A"));
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["body"]);
        broker.stop().await;
    });
}

#[test]
fn a_key_is_forgotten_after_its_window_and_not_by_a_clock_that_jumps() {
    sim::run(4, async |world: World| {
        let broker = start_with(&world, 100);
        let clock = world.env().clock;
        let first = send_keyed(&broker, "k", "body", "A").await;
        for skew_ms in [7_200_000, -7_200_000] {
            world.clock().set_skew_ms(skew_ms);
            clock.sleep(WINDOW / 3).await;
            assert_eq!(send_keyed(&broker, "k", "body", "B").await, repeat_of(&first, "A"));
        }
        // A window from the first, a part of one for the mark, and the rounds of the engine.
        clock.sleep(WINDOW / 3 + WINDOW / 60 + Duration::from_secs(3)).await;
        assert_eq!(broker.status().keys_known, 0);
        let again = send_keyed(&broker, "k", "body", "B").await;
        assert_eq!(again.repeat_of, None);
        assert_ne!(again.physical_offset, first.physical_offset);
        world.kill().await;
        drop(broker);
        let broker = start_with(&world, 100);
        assert_eq!(send_keyed(&broker, "k", "body", "C").await, repeat_of(&again, "B"));
        broker.stop().await;
    });
}

#[test]
fn at_the_cap_new_keys_are_refused_and_known_ones_answered() {
    sim::run(5, async |world: World| {
        let broker = start_with(&world, 2);
        let first = send_keyed(&broker, "a", "body", "A").await;
        send_keyed(&broker, "b", "body", "B").await;
        let refused = try_send(&broker, keyed("c", "body", "C", &[])).await;
        assert_eq!(refused, Err(KeyError::TooMany { keys_max: 2, window_ms: 60_000 }.into()));
        assert_eq!(send_keyed(&broker, "a", "body", "D").await, repeat_of(&first, "A"));
        send(&broker, "t", "without").await;
        world.env().clock.sleep(WINDOW * 2).await;
        assert_eq!(send_keyed(&broker, "c", "body", "C").await.repeat_of, None);
        broker.stop().await;
    });
}

#[test]
fn in_one_batch_the_second_of_a_key_repeats_the_first() {
    sim::run(6, async |world: World| {
        let broker = start_with(&world, 100);
        let ordered = |body, id| keyed("k", body, id, &[(names::MESSAGE_GROUP, "a")]);
        let batch = vec![ordered("1", "A"), message("t", "2", &[]), ordered("1", "B"), ordered("3", "C")];
        let results = broker.send(QueueId(0), batch).await;
        let first = results[0].clone().expect("stored");
        assert_eq!(results[2], Ok(repeat_of(&first, "A")));
        assert!(results[1].as_ref().is_ok_and(|receipt| receipt.queue_offset.0 == 1));
        assert!(matches!(results[3], Err(SendError::Key(KeyError::Taken { .. }))));
        let popped = pop_bodies(&broker, "g", "t").await;
        assert_eq!(popped.len(), 2, "{popped:?}");
        broker.stop().await;
    });
}

#[test]
fn a_repeated_delayed_message_gets_the_first_recall_handle() {
    sim::run(7, async |world: World| {
        let broker = start_with(&world, 100);
        let delay = [(names::TIMER_DELAY_SECONDS, "20")];
        let first = try_send(&broker, keyed("k", "later", "A", &delay)).await.expect("stored");
        world.env().clock.sleep(Duration::from_secs(1)).await;
        let broker = restart_killed_with(&world, broker).await;
        let again = try_send(&broker, keyed("k", "later", "B", &delay)).await.expect("taken");
        assert_eq!(again, repeat_of(&first, "A"));
        // The delivered copy has the key too and is none of its own.
        let delivered = wait_for(&broker, "g", "t").await;
        assert_eq!(delivered.len(), 1);
        assert_eq!(property(&delivered[0], KEY).as_deref(), Some("k"));
        let past = try_send(&broker, keyed("k", "later", "C", &delay)).await.expect("taken");
        assert_eq!(past, repeat_of(&first, "A"));
        let second = try_send(&broker, keyed("r", "later", "D", &delay)).await.expect("stored");
        let handle = try_send(&broker, keyed("r", "later", "E", &delay)).await.expect("taken").recall_handle;
        assert_eq!(handle, second.recall_handle);
        assert_eq!(broker.recall(topic("t"), handle.expect("delayed")).await, Ok("D".to_owned()));
        broker.stop().await;
    });
}

async fn restart_killed_with(world: &World, broker: LocalBroker) -> LocalBroker {
    world.kill().await;
    drop(broker);
    start_with(world, 100)
}

#[test]
fn a_repeated_half_message_gets_the_first_transaction() {
    sim::run(8, async |world: World| {
        let broker = start_with(&world, 100);
        let half = [(names::TRANSACTION_PREPARED, "true")];
        let first = try_send(&broker, keyed("k", "half", "A", &half)).await.expect("stored");
        let again = try_send(&broker, keyed("k", "half", "B", &half)).await.expect("taken");
        assert_eq!(again, repeat_of(&first, "A"));
        let place = again.transaction.expect("a half message");
        let end = EndTransaction::new(topic("t"), place.clone(), Resolution::Commit);
        broker.end_transaction(end.clone()).await.expect("committed");
        let broker = restart_killed_with(&world, broker).await;
        let late = try_send(&broker, keyed("k", "half", "C", &half)).await.expect("taken");
        assert_eq!(late.transaction, Some(place));
        broker.end_transaction(end).await.expect("committed already");
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["half"]);
        let plain = try_send(&broker, keyed("k", "half", "D", &[])).await;
        assert!(matches!(plain, Err(SendError::Key(KeyError::Taken { .. }))), "{plain:?}");
        broker.stop().await;
    });
}

#[test]
fn a_repeat_waits_for_the_disk_as_its_first_does() {
    sim::run(9, async |world: World| {
        let broker = with_options(&world, Options { flush: Flush::Sync, ..options() });
        let first = async { send_keyed(&broker, "k", "body", "A").await };
        let again = async { send_keyed(&broker, "k", "body", "B").await };
        let (first, again) = tokio::join!(first, again);
        assert_eq!((first.durability, again.durability), (Durability::Flushed, Durability::Flushed));
        // Either may come first.
        let repeats = [(&first, &again, "A"), (&again, &first, "B")];
        let told = repeats.into_iter().filter(|(stored, repeat, id)| **repeat == repeat_of(stored, id));
        assert_eq!(told.count(), 1, "{first:?} {again:?}");
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["body"]);
        broker.stop().await;
    });
}

#[test]
fn a_message_that_was_not_stored_leaves_its_key_free() {
    sim::run(10, async |world: World| {
        let broker = start_with(&world, 100);
        send(&broker, "t", "warm").await;
        let disk = world.disk();
        disk.set_capacity(Some(disk.used_bytes()));
        let body = "x".repeat(100_000);
        let mut stored = 0;
        let refused = loop {
            match try_send(&broker, keyed(&stored.to_string(), &body, "A", &[])).await {
                Ok(receipt) => {
                    assert_eq!(receipt.repeat_of, None);
                    stored += 1;
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, SendError::Unavailable(_)), "{refused:?}");
        assert_eq!(broker.status().keys_known, stored);
        disk.set_capacity(None);
        let taken = loop {
            match try_send(&broker, keyed(&stored.to_string(), &body, "B", &[])).await {
                Ok(receipt) => break receipt,
                Err(_) => world.env().clock.sleep(Duration::from_millis(50)).await,
            }
        };
        assert_eq!(taken.repeat_of, None);
        broker.stop().await;
    });
}

#[test]
fn a_new_topic_of_an_old_name_knows_no_keys() {
    sim::run(11, async |world: World| {
        let broker = start_with(&world, 100);
        send_keyed(&broker, "k", "body", "A").await;
        broker.delete_topic(&topic("t")).await.expect("deleted");
        let again = send_keyed(&broker, "k", "body", "B").await;
        assert_eq!(again.repeat_of, None);
        let broker = restart_killed_with(&world, broker).await;
        assert_eq!(send_keyed(&broker, "k", "body", "C").await, repeat_of(&again, "B"));
        broker.stop().await;
    });
}

#[test]
fn a_redelivered_message_keeps_its_key_to_itself() {
    sim::run(12, async |world: World| {
        let broker = start_with(&world, 100);
        let first = send_keyed(&broker, "k", "body", "A").await;
        let popped = pop(&broker, pop_of("g", "t")).await;
        let handle = popped.messages[0].handle.clone();
        // So long that it goes to the retry topic as a copy.
        broker.change_invisible(owner("g", "t"), handle, Duration::from_secs(200).into()).await.expect("changed");
        world.env().clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(send_keyed(&broker, "k", "body", "B").await, repeat_of(&first, "A"));
        assert_eq!(broker.status().keys_known, 1);
        broker.stop().await;
    });
}

#[test]
fn keys_outlive_the_segments_of_their_messages() {
    sim::run(13, async |world: World| {
        let settings = Settings { window: Duration::from_secs(3_600), ..Settings::default() };
        let short = || Options { retention: retention(Duration::from_secs(5)), idempotency: settings, ..options() };
        let broker = with_options(&world, short());
        let first = send_keyed(&broker, "k", "body", "A").await;
        while broker.status().expired_segments == 0 {
            let filler = Message::new(topic("filler"), vec![b'x'; 50_000].into());
            try_send(&broker, filler).await.expect("stored");
            world.env().clock.sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(send_keyed(&broker, "k", "body", "B").await, repeat_of(&first, "A"));
        world.kill().await;
        drop(broker);
        // The state in the log alone must tell it.
        for name in world.env().disk.list("/data/checkpoints".as_ref()).expect("listed") {
            world.env().disk.remove(&std::path::Path::new("/data/checkpoints").join(name)).expect("removed");
        }
        let broker = with_options(&world, short());
        assert_eq!(send_keyed(&broker, "k", "body", "C").await, repeat_of(&first, "A"));
        let rest = pop(&broker, Pop { queue: Some(QueueId(0)), ..pop_of("g", "t") }).await;
        assert!(rest.messages.is_empty(), "the message itself has expired");
        broker.stop().await;
    });
}
