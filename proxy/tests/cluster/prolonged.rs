//! Leases that outlast the time of their pop.

use std::time::Duration;

use types::broker::{DeliveryReport, LeaseError, LeaseOwner, Pop};
use types::{Broker as _, ReceiptHandle};

use crate::hand::{Asked, Hand, pop};

const INVISIBLE: Duration = Duration::from_secs(60);
/// When a lease is due to be prolonged, and not over.
const NEAR_ITS_END: Duration = Duration::from_secs(45);

fn owner() -> LeaseOwner {
    LeaseOwner { group: pop().group, topic: pop().topic }
}

/// The handle of a message that client `c` has popped, and not been written yet.
async fn popped(hand: &mut Hand) -> ReceiptHandle {
    hand.brokers["a"].put(&owner().topic, "x");
    let popped = hand.cluster.pop(Pop { auto_renew: true, ..pop() }).await.expect("leased");
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    popped.messages[0].handle.clone()
}

async fn report(hand: &Hand, written: Vec<ReceiptHandle>, lost: Vec<ReceiptHandle>) {
    let report = DeliveryReport { lease: owner(), client: "c".into(), written, lost, unwanted: Vec::new() };
    hand.cluster.report_delivery(report).await;
}

async fn ack(hand: &Hand, handle: &ReceiptHandle) -> Result<(), LeaseError> {
    hand.cluster.ack(owner(), vec![handle.clone()]).await.remove(0)
}

/// The handle that a change at this time leads to.
fn changed(handle: &ReceiptHandle, passed: Duration) -> String {
    let text = format!("{} {} {} 4", handle.offset, handle.popped_at.plus(passed), INVISIBLE.as_millis());
    let rest = handle.to_string().splitn(5, ' ').nth(4).expect("more fields").to_owned();
    format!("{text} {rest}")
}

#[tokio::test]
async fn what_a_live_client_has_is_prolonged_and_ended_by_the_handle_that_it_has() {
    let mut hand = Hand::start(&["a"]).await;
    let handle = popped(&mut hand).await;
    report(&hand, vec![handle.clone()], Vec::new()).await;
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["other".into(), "c".into()]).await;
    assert_eq!(hand.asked().await, Asked::Change(handle.to_string(), 60_000));
    hand.settle().await;
    // The first time is over, the second is not.
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert_eq!(hand.asked().await, Asked::Change(changed(&handle, NEAR_ITS_END), 60_000));
    assert_eq!(ack(&hand, &handle).await, Ok(()));
    assert_eq!(hand.asked().await, Asked::Ack(changed(&handle, 2 * NEAR_ITS_END)));
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert_eq!(hand.finish().await, []);
}

#[tokio::test]
async fn what_was_ended_before_it_was_reported_is_never_prolonged() {
    let mut hand = Hand::start(&["a"]).await;
    let handle = popped(&mut hand).await;
    assert_eq!(ack(&hand, &handle).await, Ok(()));
    assert_eq!(hand.asked().await, Asked::Ack(handle.to_string()));
    report(&hand, vec![handle], Vec::new()).await;
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert_eq!(hand.finish().await, [], "to prolong it would bring it back");
}

#[tokio::test]
async fn leases_of_clients_that_are_not_heard_of_end_with_their_time() {
    let mut hand = Hand::start(&["a"]).await;
    let handle = popped(&mut hand).await;
    report(&hand, vec![handle.clone()], Vec::new()).await;
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["other".into()]).await;
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert!(matches!(ack(&hand, &handle).await, Err(LeaseError::Invalid { .. })));
    assert_eq!(hand.finish().await, []);
}

#[tokio::test]
async fn what_does_not_reach_its_client_is_freed_and_not_prolonged() {
    let mut hand = Hand::start(&["a"]).await;
    let handle = popped(&mut hand).await;
    report(&hand, Vec::new(), vec![handle.clone()]).await;
    assert_eq!(hand.asked().await, Asked::Change(handle.to_string(), 1000));
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert_eq!(hand.finish().await, []);
}

#[tokio::test]
async fn what_was_ended_by_a_client_that_read_half_an_answer_is_not_freed() {
    let mut hand = Hand::start(&["a"]).await;
    let handle = popped(&mut hand).await;
    assert_eq!(ack(&hand, &handle).await, Ok(()));
    assert_eq!(hand.asked().await, Asked::Ack(handle.to_string()));
    report(&hand, Vec::new(), vec![handle]).await;
    assert_eq!(hand.finish().await, [], "Apache's brokers would deliver it again");
}

#[tokio::test]
async fn a_client_that_says_goodbye_frees_what_it_has() {
    let mut hand = Hand::start(&["a"]).await;
    let handle = popped(&mut hand).await;
    report(&hand, vec![handle.clone()], Vec::new()).await;
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert_eq!(hand.asked().await, Asked::Change(handle.to_string(), 60_000));
    hand.cluster.client_gone("c".into()).await;
    assert_eq!(hand.asked().await, Asked::Change(changed(&handle, NEAR_ITS_END), 1000));
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert_eq!(hand.finish().await, []);
}

#[tokio::test]
async fn a_handle_that_its_client_has_changed_stays_good_until_the_new_time_is_over() {
    let mut hand = Hand::start(&["a"]).await;
    let handle = popped(&mut hand).await;
    report(&hand, vec![handle.clone()], Vec::new()).await;
    hand.clock.pass(NEAR_ITS_END);
    let new = hand.cluster.change_invisible(owner(), handle.clone(), INVISIBLE.into()).await.expect("changed");
    assert_eq!(hand.asked().await, Asked::Change(handle.to_string(), 60_000));
    assert_eq!(new.to_string(), changed(&handle, NEAR_ITS_END));
    hand.clock.pass(NEAR_ITS_END);
    hand.cluster.clients_alive(vec!["c".into()]).await;
    assert_eq!(ack(&hand, &handle).await, Ok(()));
    assert_eq!(hand.asked().await, Asked::Ack(new.to_string()), "and it was not prolonged");
    assert_eq!(hand.finish().await, []);
}

#[tokio::test]
async fn a_handle_whose_time_is_over_is_for_a_broker_of_ours_to_judge() {
    for (is_gantry, of_broker) in [(true, "a"), (false, "b")] {
        let mut hand = Hand::start(&["a", "b"]).await;
        if is_gantry {
            hand.brokers["a"].be_gantry();
        }
        hand.brokers[of_broker].put(&owner().topic, "x");
        let popped = hand.cluster.pop(pop()).await.expect("leased").messages;
        let handle = popped.first().expect("one").handle.clone();
        hand.clock.pass(INVISIBLE);
        // Another proxy, which has not prolonged it.
        let acked = ack(&hand, &handle).await;
        let changed = hand.cluster.change_invisible(owner(), handle.clone(), INVISIBLE.into()).await;
        if is_gantry {
            assert_eq!(acked, Ok(()));
            changed.expect("the broker takes it");
            while !matches!(hand.asked().await, Asked::Ack(_)) {}
            assert_eq!(hand.asked().await, Asked::Change(handle.to_string(), 60_000));
        } else {
            let over = LeaseError::Invalid { reason: "its time is over" };
            assert_eq!((acked, changed), (Err(over.clone()), Err(over)));
        }
    }
}
