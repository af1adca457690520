//! What callers are told about the disk, and what is left when it is lost.

mod common;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use broker::{Flush, LocalBroker, Options, StartError};
use common::*;
use env::sim::{self, Operation, World};
use types::Broker;
use types::broker::{Durability, Pop, PopError, SendError, Unavailable};
use types::properties::names;

fn start_sync(world: &World) -> LocalBroker {
    LocalBroker::start(world.env(), Options { flush: Flush::Sync, ..options() }).expect("starts")
}

#[test]
fn with_sync_flush_what_was_answered_survives_power_loss() {
    for seed in 0..20 {
        sim::run(seed, async |world: World| {
            let broker = start_sync(&world);
            assert!(pop_bodies(&broker, "g", "t").await.is_empty());
            let mut expected = Vec::new();
            for n in 0..10 {
                let receipt = send(&broker, "t", &n.to_string()).await;
                assert_eq!(receipt.durability, Durability::Flushed);
                expected.push(n.to_string());
            }
            let first = pop(&broker, Pop { messages_max: 4, ..pop_of("g", "t") }).await;
            for message in &first.messages {
                ack(&broker, "g", "t", message).await;
                expected.retain(|kept| *kept != body(message));
            }
            world.lose_power().await;
            drop(broker);
            let broker = start_sync(&world);
            assert_eq!(pop_bodies(&broker, "g", "t").await, expected, "seed {seed}");
            broker.stop().await;
        });
    }
}

#[test]
fn with_sync_flush_waiting_receivers_get_messages_once_they_are_durable() {
    sim::run(1, async |world: World| {
        let broker = start_sync(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let sending = async {
            for n in 0..5 {
                send(&broker, "t", &n.to_string()).await;
            }
        };
        let receiving = async {
            let mut all = Vec::new();
            while all.len() < 5 {
                let messages = wait_for(&broker, "g", "t").await;
                assert!(!messages.is_empty());
                for message in &messages {
                    let end = message.handle.physical_offset.expect("ours have it").0 + message.record.len() as u64;
                    assert!(end <= broker.status().durable_to);
                    all.push(body(message));
                }
            }
            all
        };
        let (all, ()) = tokio::join!(receiving, sending);
        assert_eq!(all, ["0", "1", "2", "3", "4"]);
        broker.stop().await;
    });
}

#[test]
fn a_failed_disk_refuses_everything_and_leaves_nobody_waiting() {
    for operation in [Operation::Write, Operation::Sync] {
        sim::run(2, async |world: World| {
            let broker = start_sync(&world);
            send(&broker, "t", "before").await;
            let waiting = broker.pop(Pop { wait: Duration::from_secs(60), ..pop_of("g", "u") });
            let failing = async {
                world.env().clock.sleep(Duration::from_secs(2)).await;
                world.disk().fail(operation, 0, ErrorKind::Other);
                try_send(&broker, message("t", "x", &[])).await
            };
            let (waited, sent) = tokio::join!(waiting, failing);
            assert!(matches!(sent, Err(SendError::Unavailable(Unavailable::StoreFailed { .. }))), "{sent:?}");
            assert!(matches!(waited, Err(PopError::Unavailable(Unavailable::StoreFailed { .. }))), "{waited:?}");
            let later = try_send(&broker, message("t", "x", &[])).await;
            assert!(matches!(later, Err(SendError::Unavailable(Unavailable::StoreFailed { .. }))), "{later:?}");
            assert!(broker.status().failure.is_some());
            broker.stop().await;
        });
    }
}

#[test]
fn what_cannot_be_read_is_told_and_delivered_once_it_can() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "cold").await;
        // Then nothing is in memory.
        let broker = restart_killed(&world, broker).await;
        world.disk().make_unreadable(&PathBuf::from("/data/commitlog/00000000000000000000")).expect("it is there");
        for _ in 0..2 {
            let refused = broker.pop(pop_of("g", "t")).await;
            assert!(matches!(refused, Err(PopError::Unavailable(_))), "{refused:?}");
        }
        send(&broker, "t", "hot").await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["hot"], "what is in memory needs no disk");
        // A kill before the engine has written that the other one was given back would leave it leased.
        world.env().clock.sleep(Duration::from_secs(1)).await;
        let broker = restart_killed(&world, broker).await;
        let popped = pop(&broker, pop_of("g", "t")).await;
        assert_eq!(bodies(&popped), ["cold"]);
        assert_eq!(popped.messages[0].attempt, 1, "what nobody got is not counted");
        broker.stop().await;
    });
}

#[test]
fn a_full_disk_is_told_and_forgotten_when_there_is_room() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "first").await;
        world.env().clock.sleep(Duration::from_secs(1)).await;
        world.disk().set_capacity(Some(world.disk().used_bytes()));
        let big = "x".repeat(20_000);
        let refused = loop {
            if let Err(refused) = try_send(&broker, message("t", "big", &[(names::KEYS, &big)])).await {
                break refused;
            }
        };
        assert!(matches!(refused, SendError::Unavailable(Unavailable::DiskFull { .. })), "{refused:?}");
        world.disk().set_capacity(None);
        let sent = async {
            loop {
                if try_send(&broker, message("t", "big", &[(names::KEYS, &big)])).await.is_ok() {
                    break;
                }
                world.env().clock.sleep(Duration::from_secs(1)).await;
            }
        };
        sent.await;
        broker.stop().await;
    });
}

#[test]
fn a_directory_in_use_and_bad_settings_are_refused() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        let second = LocalBroker::start(world.env(), options()).map(drop);
        assert!(matches!(second, Err(StartError::Open(store::OpenError::Locked { .. }))), "{second:?}");
        let blank = Options { name: "a b".to_owned(), ..options() };
        assert!(matches!(LocalBroker::start(world.env(), blank), Err(StartError::Name { .. })));
        let none = Options { default_queues: 0, dir: PathBuf::from("/other"), ..options() };
        assert!(matches!(LocalBroker::start(world.env(), none), Err(StartError::DefaultQueues { queues: 0 })));
        broker.stop().await;
    });
}

#[test]
fn a_long_life_is_checkpointed_and_replays_to_the_same_state() {
    for seed in 0..5 {
        sim::run(seed, async |world: World| {
            let mut broker = start(&world);
            let mut acked = 0;
            for round in 0..6 {
                for n in 0..100 {
                    send(&broker, "t", &format!("{round}-{n}-{}", "x".repeat(300))).await;
                }
                let popped = pop(&broker, pop_of("g", "t")).await;
                for message in &popped.messages {
                    ack(&broker, "g", "t", message).await;
                }
                acked += popped.messages.len();
                let delayed = message("t", &format!("later{round}"), &[(names::TIMER_DELAY_SECONDS, "3600")]);
                try_send(&broker, delayed).await.expect("stored");
                broker = restart_killed(&world, broker).await;
            }
            let progress = types::Admin::describe_group(&broker, &group("g")).await.expect("there").progress;
            let of_queue = progress.iter().find(|progress| progress.queue.0 == 0).expect("consumed");
            assert_eq!(of_queue.committed.0, acked as u64);
            world.env().clock.sleep(Duration::from_millis(50)).await;
            assert_eq!(broker.status().timers_pending, 6);
            broker.stop().await;
        });
    }
}
