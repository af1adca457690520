//! Receives that wait for a message.

use std::time::Duration;

use tokio::task::JoinHandle;
use types::Broker as _;
use types::broker::{Pop, PopError, Popped};

use crate::hand::{Asked, Hand, pop};

const LONG: Duration = Duration::from_secs(20);

fn wait(hand: &Hand) -> JoinHandle<Result<Popped, PopError>> {
    let cluster = hand.cluster.clone();
    tokio::spawn(async move { cluster.pop(Pop { wait: LONG, ..pop() }).await })
}

/// How many messages a receive has got.
async fn count(waiting: JoinHandle<Result<Popped, PopError>>) -> usize {
    waiting.await.expect("no panic").expect("answered").messages.len()
}

#[tokio::test]
async fn nothing_is_leased_for_a_caller_that_has_gone_while_it_waited() {
    let mut hand = Hand::start(&["a"]).await;
    let waiting = wait(&hand);
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    assert_eq!(hand.asked().await, Asked::Notification("a"));
    waiting.abort();
    assert!(waiting.await.expect_err("aborted").is_cancelled());
    hand.brokers["a"].put(&pop().topic, "x");
    assert_eq!(hand.finish().await, [], "what is leased and given back has cost an attempt");
}

#[tokio::test]
async fn who_may_not_pop_because_queues_are_locked_is_told_so() {
    let hand = Hand::start(&["a"]).await;
    hand.brokers["a"].be_locked();
    let refused = hand.cluster.pop(pop()).await.map(drop);
    assert_eq!(refused, Err(PopError::QueuesLocked { group: pop().group, topic: pop().topic }));
}

#[tokio::test]
async fn a_message_wakes_one_of_those_that_wait_for_it() {
    let mut hand = Hand::start(&["a"]).await;
    let first = wait(&hand);
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    assert_eq!(hand.asked().await, Asked::Notification("a"));
    let (second, third) = (wait(&hand), wait(&hand));
    assert_eq!(
        [hand.asked().await, hand.asked().await],
        [Asked::Pop("a"), Asked::Pop("a")],
        "they wait for their turn"
    );
    hand.brokers["a"].put(&pop().topic, "x");
    assert_eq!(count(first).await, 1);
    // The first one's, and that of the next one, which looks whether something is left if it was waiting for its turn already.
    let mut pops = 0;
    while hand.asked().await != Asked::Notification("a") {
        pops += 1;
    }
    assert!((1..=2).contains(&pops), "{pops}");
    second.abort();
    third.abort();
}

#[tokio::test]
async fn the_turn_of_a_caller_that_has_gone_is_the_next_ones() {
    let mut hand = Hand::start(&["a"]).await;
    let first = wait(&hand);
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    assert_eq!(hand.asked().await, Asked::Notification("a"));
    let second = wait(&hand);
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    first.abort();
    // It looks whether there is something, unless it was not waiting for its turn yet.
    while hand.asked().await != Asked::Notification("a") {}
    hand.brokers["a"].put(&pop().topic, "x");
    assert_eq!(count(second).await, 1);
}

#[tokio::test]
async fn who_waits_for_a_turn_waits_no_longer_than_it_may() {
    let mut hand = Hand::start(&["a"]).await;
    let waiting = [wait(&hand), wait(&hand)];
    let asked = [hand.asked().await, hand.asked().await, hand.asked().await];
    assert!(asked.contains(&Asked::Notification("a")), "{asked:?}");
    hand.settle().await;
    hand.clock.pass(LONG);
    for waiting in waiting {
        assert_eq!(count(waiting).await, 0);
    }
}
