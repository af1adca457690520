//! Transactions: nothing before the commit, one outcome, checks, parking.

mod common;

use std::time::Duration;

use broker::LocalBroker;
use common::*;
use env::sim::{self, World};
use types::broker::{EndTransaction, Resolution, TransactionError, TransactionPlace, TransactionPosition};
use types::properties::names;
use types::{Broker, PhysicalOffset};

async fn prepare_with(broker: &LocalBroker, body: &str, more: &[(&'static str, &str)]) -> TransactionPosition {
    let mut properties = vec![(names::TRANSACTION_PREPARED, "true")];
    properties.extend(more);
    let receipt = try_send(broker, message("t", body, &properties)).await.expect("stored");
    receipt.transaction.expect("half messages have a place").position
}

async fn prepare(broker: &LocalBroker, body: &str) -> TransactionPosition {
    prepare_with(broker, body, &[]).await
}

async fn end(
    broker: &LocalBroker,
    position: TransactionPosition,
    resolution: Resolution,
) -> Result<(), TransactionError> {
    let place = TransactionPlace { broker: broker.name().into(), position };
    broker.end_transaction(EndTransaction::new(topic("t"), place, resolution)).await
}

#[test]
fn only_committed_messages_are_delivered_and_each_once() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let committed = prepare(&broker, "committed").await;
        let rolled_back = prepare(&broker, "rolled back").await;
        prepare(&broker, "undecided").await;
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        for _ in 0..3 {
            assert_eq!(end(&broker, committed, Resolution::Commit).await, Ok(()));
            assert_eq!(end(&broker, rolled_back, Resolution::Rollback).await, Ok(()));
        }
        let popped = pop(&broker, pop_of("g", "t")).await;
        assert_eq!(bodies(&popped), ["committed"]);
        assert_eq!(property(&popped.messages[0], names::TRANSACTION_PREPARED), None);
        let header = record::header(&popped.messages[0].record).expect("a record");
        assert_eq!(header.source_offset, committed.physical_offset.0);
        assert_eq!((broker.status().committed, broker.status().halves_pending), (1, 1));
        broker.stop().await;
    });
}

#[test]
fn an_outcome_cannot_be_changed_even_after_a_kill() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        let (first, second) = (prepare(&broker, "1").await, prepare(&broker, "2").await);
        end(&broker, first, Resolution::Commit).await.expect("committed");
        end(&broker, second, Resolution::Rollback).await.expect("rolled back");
        let broker = restart_killed(&world, broker).await;
        let changed = end(&broker, first, Resolution::Rollback).await;
        assert_eq!(changed, Err(TransactionError::AlreadyEnded { is_committed: true }));
        let changed = end(&broker, second, Resolution::Commit).await;
        assert_eq!(changed, Err(TransactionError::AlreadyEnded { is_committed: false }));
        assert_eq!(end(&broker, first, Resolution::Commit).await, Ok(()));
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["1"]);
        broker.stop().await;
    });
}

#[test]
fn positions_that_are_no_half_message_are_not_found() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        let position = prepare(&broker, "1").await;
        let elsewhere = TransactionPosition { physical_offset: PhysicalOffset(1), ..position };
        let not_found = end(&broker, elsewhere, Resolution::Commit).await;
        assert_eq!(not_found, Err(TransactionError::NotFound { topic: topic("t"), position: elsewhere }));
        let of_other = TransactionPlace { broker: "other".into(), position };
        let refused = broker.end_transaction(EndTransaction::new(topic("t"), of_other, Resolution::Commit)).await;
        assert_eq!(refused, Err(TransactionError::OtherBroker { broker: "other".into() }));
        broker.stop().await;
    });
}

#[test]
fn a_committed_message_with_a_delivery_time_waits_for_it() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        assert!(pop_bodies(&broker, "g", "t").await.is_empty());
        let clock = world.env().clock;
        let due = clock.now().plus(Duration::from_secs(40));
        let position = prepare_with(&broker, "late", &[(names::TIMER_DELIVER_MS, &due.to_string())]).await;
        end(&broker, position, Resolution::Commit).await.expect("committed");
        let broker = restart_killed(&world, broker).await;
        let again = end(&broker, position, Resolution::Rollback).await;
        assert_eq!(again, Err(TransactionError::AlreadyEnded { is_committed: true }));
        let messages = wait_for(&broker, "g", "t").await;
        assert_eq!(body(&messages[0]), "late");
        assert!(clock.now() >= due);
        broker.stop().await;
    });
}

#[test]
fn undecided_messages_are_asked_about_then_parked() {
    sim::run(5, async |world: World| {
        let broker = start(&world);
        let mut checks = broker.transaction_checks();
        let clock = world.env().clock;
        let before = clock.now();
        let position = prepare(&broker, "who knows").await;
        for times in 1..=15 {
            let check = checks.recv().await.expect("asked");
            assert_eq!((check.place.position, check.times, check.topic), (position, times, topic("t")));
            assert_eq!(record::decode(&check.record).expect("a record").body, b"who knows");
            let waited = clock.now().since(before).as_secs();
            let expected = 6 + 30 * u64::from(times - 1);
            assert!((expected..expected + 3).contains(&waited), "check {times} after {waited} s");
        }
        clock.sleep(Duration::from_secs(35)).await;
        assert_eq!((broker.status().parked, broker.status().halves_pending), (1, 0));
        let late = end(&broker, position, Resolution::Commit).await;
        assert!(matches!(late, Err(TransactionError::NotFound { .. })));
        broker.stop().await;
    });
}

#[test]
fn checks_are_counted_across_kills_and_end_with_the_outcome() {
    sim::run(6, async |world: World| {
        let broker = start(&world);
        let mut checks = broker.transaction_checks();
        let position = prepare(&broker, "1").await;
        assert_eq!(checks.recv().await.expect("asked").times, 1);
        world.env().clock.sleep(Duration::from_secs(1)).await;
        let broker = restart_killed(&world, broker).await;
        let mut checks = broker.transaction_checks();
        assert_eq!(checks.recv().await.expect("asked").times, 2);
        end(&broker, position, Resolution::Commit).await.expect("committed");
        world.env().clock.sleep(Duration::from_secs(300)).await;
        assert!(checks.try_recv().is_err());
        broker.stop().await;
    });
}

#[test]
fn a_message_may_ask_for_a_later_first_check() {
    sim::run(7, async |world: World| {
        let broker = start(&world);
        let mut checks = broker.transaction_checks();
        let before = world.env().clock.now();
        prepare_with(&broker, "1", &[(names::CHECK_IMMUNITY_SECONDS, "50")]).await;
        checks.recv().await.expect("asked");
        assert_eq!(world.env().clock.now().since(before).as_secs(), 50);
        broker.stop().await;
    });
}

#[test]
fn nobody_is_asked_while_nobody_listens_and_nothing_is_counted() {
    for is_killed in [false, true] {
        sim::run(8, async |world: World| {
            let mut broker = start(&world);
            prepare(&broker, "1").await;
            world.env().clock.sleep(Duration::from_secs(3600)).await;
            if is_killed {
                broker = restart_killed(&world, broker).await;
            }
            let begin = world.env().clock.now();
            let mut checks = broker.transaction_checks();
            assert_eq!(checks.recv().await.expect("asked").times, 1);
            assert!(world.env().clock.now().since(begin) < Duration::from_secs(2), "it was due long ago");
            broker.stop().await;
        });
    }
}

#[test]
fn racing_outcomes_of_a_cold_half_message_agree() {
    for seed in 0..10 {
        sim::run(seed, async |world: World| {
            let small = broker::Options { hot_bytes: 16 * 1024, ..options() };
            let broker = LocalBroker::start(world.env(), small).expect("starts");
            let position = prepare(&broker, "cold").await;
            for _ in 0..100 {
                send(&broker, "filler", &"x".repeat(1000)).await;
            }
            let (commit, repeat, rollback) = tokio::join!(
                end(&broker, position, Resolution::Commit),
                end(&broker, position, Resolution::Commit),
                end(&broker, position, Resolution::Rollback),
            );
            assert_eq!((commit, repeat), (Ok(()), Ok(())));
            assert_eq!(rollback, Err(TransactionError::AlreadyEnded { is_committed: true }));
            assert_eq!(pop_bodies(&broker, "g", "t").await, ["cold"]);
            broker.stop().await;
        });
    }
}
