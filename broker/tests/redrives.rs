//! What operators have delivered again: dead letters to their group, parked half messages to their producers; and who holds others back.

mod common;

use std::time::Duration;

use broker::{LocalBroker, Options};
use common::*;
use env::sim::{self, World};
use types::admin::{Admin, FindBy, MessageQuery, StoreAgainError, StoredAgain};
use types::broker::{ChangeInvisible, EndTransaction, Pop, Resolution};
use types::properties::names;
use types::{Broker, GroupConfig, QueueId, QueueOffset, Timestamp};

const FIRST: QueueOffset = QueueOffset(0);

/// Has `g` give up a message of `t`, its only one.
async fn give_up(broker: &LocalBroker) {
    let popped = pop(broker, pop_of("g", "t")).await;
    let [message] = popped.messages.as_slice() else { panic!("one message: {:?}", bodies(&popped)) };
    broker.dead_letter(owner("g", "t"), message.handle.clone()).await.expect("moved");
}

async fn redrive(broker: &LocalBroker, offset: u64) -> Result<StoredAgain, StoreAgainError> {
    broker.redrive(&group("g"), QueueId(0), QueueOffset(offset)).await
}

#[test]
fn a_redriven_dead_letter_comes_to_its_group_alone_and_once() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "1").await;
        assert_eq!(pop_bodies(&broker, "other", "t").await, ["1"]);
        give_up(&broker).await;
        let redriven = redrive(&broker, 0).await.expect("stored");
        assert_eq!(redriven, StoredAgain { topic: topic("%RETRY%g_t"), offset: FIRST, is_repeat: false });
        let again = StoredAgain { is_repeat: true, ..redriven };
        assert_eq!(redrive(&broker, 0).await, Ok(again.clone()));
        let popped = pop(&broker, pop_of("g", "t")).await;
        assert_eq!((bodies(&popped), popped.messages[0].attempt), (vec!["1".to_owned()], 1));
        assert_eq!(property(&popped.messages[0], names::DLQ_ORIGIN_TOPIC), None);
        ack(&broker, "g", "t", &popped.messages[0]).await;
        let broker = restart_killed(&world, broker).await;
        assert_eq!(redrive(&broker, 0).await, Ok(again), "also after a crash and when it is done with");
        world.env().clock.sleep(Duration::from_secs(60)).await;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        assert_eq!(pop_bodies(&broker, "other", "t").await, ["1"], "its own lease has ended, nothing more");
        assert_eq!(pop_bodies(&broker, "undertaker", "%DLQ%g").await, ["1"], "it stays");
        broker.stop().await;
    });
}

#[test]
fn a_redriven_message_that_fails_again_is_another_dead_letter() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "1").await;
        give_up(&broker).await;
        redrive(&broker, 0).await.expect("stored");
        let popped = pop(&broker, pop_of("g", "t")).await;
        broker.dead_letter(owner("g", "t"), popped.messages[0].handle.clone()).await.expect("moved");
        let broker = restart_killed(&world, broker).await;
        let second = redrive(&broker, 1).await.expect("stored");
        assert_eq!((second.offset, second.is_repeat), (QueueOffset(1), false));
        assert!(redrive(&broker, 0).await.expect("known").is_repeat);
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["1"]);
        broker.stop().await;
    });
}

#[test]
fn who_waits_gets_what_is_redriven_and_of_redrives_at_once_one_counts() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "1").await;
        give_up(&broker).await;
        let redrives = async {
            world.env().clock.sleep(Duration::from_secs(1)).await;
            let (first, second, third) = tokio::join!(redrive(&broker, 0), redrive(&broker, 0), redrive(&broker, 0));
            [first, second, third].map(|done| done.expect("stored once").is_repeat)
        };
        let (messages, mut repeats) = tokio::join!(wait_for(&broker, "g", "t"), redrives);
        assert_eq!(messages.iter().map(body).collect::<Vec<_>>(), ["1"]);
        repeats.sort_unstable();
        assert_eq!(repeats, [false, true, true]);
        broker.stop().await;
    });
}

#[test]
fn each_dead_letter_is_redriven_once_whenever_the_broker_is_killed() {
    for seed in 0..20 {
        sim::run(seed, async |world: World| {
            let mut options = options();
            options.flush = if seed % 2 == 0 { broker::Flush::Async } else { broker::Flush::Sync };
            let broker = LocalBroker::start(world.env(), options.clone()).expect("starts");
            broker
                .put_group(GroupConfig { attempts_max: 1, ..GroupConfig::new(group("g")) }, false)
                .await
                .expect("made");
            for n in 0..4 {
                send(&broker, "t", &n.to_string()).await;
            }
            for message in pop(&broker, pop_of("g", "t")).await.messages {
                broker.dead_letter(owner("g", "t"), message.handle).await.expect("moved");
            }
            let redriving = async {
                for offset in 0..4 {
                    redrive(&broker, offset).await.ok();
                }
            };
            tokio::select! {
                () = redriving => {}
                () = world.env().clock.sleep(Duration::from_micros(seed * 300)) => {}
            }
            world.kill().await;
            drop(broker);
            let broker = LocalBroker::start(world.env(), options).expect("starts");
            for offset in 0..4 {
                redrive(&broker, offset).await.expect("stored, now or before");
            }
            let mut again = pop_bodies(&broker, "g", "t").await;
            again.sort();
            assert_eq!(again, ["0", "1", "2", "3"], "seed {seed}");
            broker.stop().await;
        });
    }
}

#[test]
fn what_is_no_dead_letter_is_not_redriven() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        let dead = message("%DLQ%g", "1", &[(names::RETRY_TOPIC, "t")]);
        try_send(&broker, dead).await.expect("stored");
        let no_group = redrive(&broker, 0).await;
        assert!(matches!(no_group, Err(StoreAgainError::Admin(_))), "{no_group:?}");
        broker.put_group(GroupConfig::new(group("g")), false).await.expect("made");
        let none = redrive(&broker, 1).await;
        assert!(matches!(none, Err(StoreAgainError::NotFound { .. })), "{none:?}");
        send(&broker, "%DLQ%g", "by hand").await;
        let stray = redrive(&broker, 1).await;
        assert!(matches!(stray, Err(StoreAgainError::NoOrigin { .. })), "{stray:?}");
        broker.stop().await;
    });
}

#[test]
fn what_a_pulling_group_gave_up_comes_to_it_also_when_it_pops_now() {
    sim::run(8, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "1").await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["1"]);
        // As Apache's broker writes what 4.x's consumers send back for the last time.
        let dead = message("%DLQ%g", "2", &[(names::RETRY_TOPIC, "t")]);
        try_send(&broker, dead).await.expect("stored");
        let redriven = redrive(&broker, 0).await.expect("stored");
        assert_eq!(redriven.topic, topic("%RETRY%g_t"));
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["2"]);
        broker.stop().await;
    });
}

#[test]
fn a_copy_that_went_with_its_topic_does_not_count() {
    sim::run(10, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "1").await;
        give_up(&broker).await;
        redrive(&broker, 0).await.expect("stored");
        broker.delete_topic(&topic("t")).await.expect("deleted");
        send(&broker, "t", "2").await;
        assert!(!redrive(&broker, 0).await.expect("stored").is_repeat);
        assert!(pop_bodies(&broker, "g", "t").await.contains(&"1".to_owned()));
        broker.stop().await;
    });
}

#[test]
fn messages_of_a_queue_are_listed_from_an_offset_on() {
    sim::run(5, async |world: World| {
        let broker = start(&world);
        for n in 0..5 {
            send(&broker, "t", &n.to_string()).await;
        }
        let stored = Timestamp(i64::MIN)..Timestamp(i64::MAX);
        let query = |from, messages_max| {
            let by = FindBy::From(QueueId(0), QueueOffset(from));
            MessageQuery { topic: topic("t"), by, stored: stored.clone(), messages_max }
        };
        let found = broker.find_messages(query(3, 1)).await.expect("there");
        let offset = |bytes| record::header(bytes).expect("a record").queue_offset;
        assert_eq!(
            (found.records.iter().map(|bytes| offset(bytes)).collect::<Vec<_>>(), found.is_complete),
            (vec![QueueOffset(3)], false)
        );
        let rest = broker.find_messages(query(4, 10)).await.expect("there");
        assert_eq!((rest.records.len(), rest.is_complete), (1, true));
        assert!(broker.find_messages(query(9, 10)).await.expect("there").records.is_empty());
        broker.stop().await;
    });
}

#[test]
fn a_parked_transaction_is_asked_about_again_and_once() {
    sim::run(6, async |world: World| {
        let mut options: Options = options();
        options.transaction.checks_max = 1;
        let broker = LocalBroker::start(world.env(), options.clone()).expect("starts");
        let mut checks = broker.transaction_checks();
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        try_send(&broker, message("t", "1", &[(names::TRANSACTION_PREPARED, "true")])).await.expect("stored");
        checks.recv().await.expect("asked");
        let clock = world.env().clock;
        while broker.status().parked == 0 {
            clock.sleep(Duration::from_secs(1)).await;
        }
        let parked = broker.parked(FIRST, 10).await.expect("there");
        assert_eq!((parked.records.len(), parked.is_complete), (1, true));
        let resumed = broker.resume(FIRST).await.expect("stored");
        assert!(!resumed.is_repeat);
        assert!(broker.resume(FIRST).await.expect("known").is_repeat);
        let check = checks.recv().await.expect("asked again");
        assert_eq!(check.topic, topic("t"));
        world.kill().await;
        drop(broker);
        let broker = LocalBroker::start(world.env(), options).expect("starts");
        let commit = EndTransaction::new(topic("t"), check.place, Resolution::Commit);
        broker.end_transaction(commit).await.expect("committed");
        assert!(broker.resume(FIRST).await.expect("known").is_repeat);
        let popped = pop(&broker, pop_of("g", "t")).await;
        assert_eq!(bodies(&popped), ["1"]);
        assert!(matches!(broker.resume(QueueOffset(7)).await, Err(StoreAgainError::NotFound { .. })));
        broker.stop().await;
    });
}

#[test]
fn who_holds_messages_in_order_back_is_told() {
    sim::run(7, async |world: World| {
        let broker = start(&world);
        for n in 0..3 {
            try_send(&broker, message("t", &n.to_string(), &[(names::MESSAGE_GROUP, "a")])).await.expect("stored");
        }
        let all = Pop { invisible: Duration::from_secs(300), ..pop_of("g", "t") };
        let head = pop(&broker, all).await.messages.remove(0);
        let blocked = broker.blocked(&group("g")).await.expect("there");
        let [at] = blocked.as_slice() else { panic!("one line: {blocked:?}") };
        assert_eq!((at.topic.as_str(), at.queue, at.offset, at.waiting), ("t", QueueId(0), FIRST, 2));
        assert_eq!((at.holder.as_deref(), at.attempts), (Some("c"), 1));
        assert_eq!(at.message_group.as_deref(), Some("a"));
        let left = at.until.expect("a lease").since(world.env().clock.now());
        assert!(left > Duration::from_secs(299), "{left:?}");
        let wait = ChangeInvisible { invisible: Duration::from_secs(50), suspend: false };
        broker.change_invisible(owner("g", "t"), head.handle, wait).await.expect("its own");
        let blocked = broker.blocked(&group("g")).await.expect("there");
        assert_eq!((blocked.len(), blocked[0].holder.as_deref()), (1, None), "it waits for its next delivery");
        world.env().clock.sleep(Duration::from_secs(51)).await;
        assert!(broker.blocked(&group("g")).await.expect("there").is_empty(), "nobody has it");
        assert!(broker.blocked(&group("nobody")).await.is_err());
        broker.stop().await;
    });
}
