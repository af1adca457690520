//! Two brokers, one of which fails.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use remoting_proto::RequestCode;
use tokio::net::TcpListener;
use types::broker::{LeaseOwner, Pop, PopError, SendError, SendReceipt, Unavailable};
use types::properties::names;
use types::{Broker as _, Message, QueueId};

use crate::hand::{Asked, Hand, asking, pop};
use crate::support::{SOON, topic};

/// The number of a queue of each broker: they have two each.
const OF_A: QueueId = QueueId(1);
const OF_B: QueueId = QueueId(2);

async fn send(hand: &Hand, queue: QueueId, group: Option<&str>) -> Result<SendReceipt, SendError> {
    let mut message = Message::new(topic("t"), Bytes::from_static(b"x"));
    if let Some(group) = group {
        message.properties.set_own(names::MESSAGE_GROUP, group);
    }
    hand.cluster.send(queue, vec![message]).await.remove(0)
}

#[tokio::test]
async fn sends_go_to_the_broker_that_is_there_unless_an_order_binds_them() {
    let mut hand = Hand::start(&["a", "b"]).await;
    assert_eq!(send(&hand, OF_A, None).await.expect("stored").queue, OF_A);
    assert_eq!(hand.asked().await, Asked::Send("a", 1));
    hand.brokers["a"].kill();
    // The first may have been on its way when the connection ended: its producer sends it again.
    let _ = send(&hand, OF_A, None).await;
    for queue in [OF_A, OF_B, QueueId(0), QueueId(3)] {
        let receipt = send(&hand, queue, None).await.expect("stored at b");
        assert!([OF_B, QueueId(3)].contains(&receipt.queue), "{receipt:?}");
    }
    let bound = send(&hand, OF_A, Some("order")).await;
    assert!(matches!(bound, Err(SendError::Unavailable(_))), "{bound:?}");
    let mut asked = BTreeSet::new();
    for asked_now in hand.finish().await {
        if let Asked::Send(broker, queue) = asked_now {
            asked.insert((broker, queue));
        }
    }
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), [("b", 0), ("b", 1)]);
}

#[tokio::test]
async fn messages_of_both_brokers_come_and_are_ended_at_theirs() {
    let mut hand = Hand::start(&["a", "b"]).await;
    let owner = LeaseOwner { group: pop().group, topic: pop().topic };
    let mut handles = Vec::new();
    for broker in ["b", "a"] {
        hand.brokers[broker].put(&owner.topic, "x");
        let popped = hand.cluster.pop(pop()).await.expect("leased").messages;
        assert_eq!(popped.iter().map(|message| &*message.handle.broker).collect::<Vec<_>>(), [broker]);
        handles.push(popped[0].handle.clone());
    }
    assert_eq!(hand.cluster.ack(owner, handles.clone()).await, [Ok(()), Ok(())]);
    let mut acked = BTreeSet::new();
    while acked.len() < 2 {
        if let Asked::Ack(handle) = hand.asked().await {
            acked.insert(handle);
        }
    }
    assert_eq!(acked, handles.iter().map(ToString::to_string).collect());
}

#[tokio::test]
async fn what_one_of_several_brokers_tells_of_is_leased_at_once() {
    let mut hand = Hand::start(&["a", "b"]).await;
    let popped = tokio::spawn({
        let cluster = hand.cluster.clone();
        async move { cluster.pop(Pop { wait: Duration::from_secs(5), ..pop() }).await }
    });
    let mut waiting = 0;
    while waiting < 2 {
        waiting += usize::from(matches!(hand.asked().await, Asked::Notification(_)));
    }
    hand.brokers["b"].put(&pop().topic, "x");
    // No time passes here, so no pause would end.
    let popped = popped.await.expect("no panic").expect("leased").messages;
    assert_eq!(popped.iter().map(|message| &*message.handle.broker).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_broker_that_does_not_answer_holds_up_one_receive_and_no_more() {
    let mut hand = Hand::start(&["a", "b"]).await;
    hand.brokers["a"].slow_down();
    let held_up = tokio::spawn({
        let cluster = hand.cluster.clone();
        async move { cluster.pop(pop()).await }
    });
    while hand.asked().await != Asked::Pop("a") {}
    hand.clock.pass(Duration::from_secs(3));
    assert!(held_up.await.expect("no panic").expect("b has answered").messages.is_empty());
    // Those before the first time that all were asked.
    while hand.asked_already().is_some() {}
    for _ in 0..3 {
        hand.brokers["b"].put(&pop().topic, "x");
        // No time passes here: who asked the first one would wait for ever.
        let popped = tokio::time::timeout(SOON, hand.cluster.pop(pop())).await.expect("is not held up");
        let messages = popped.expect("leased at b").messages;
        assert_eq!(messages.iter().map(|message| &*message.handle.broker).collect::<Vec<_>>(), ["b"]);
        assert_eq!((hand.asked().await, hand.asked_already()), (Asked::Pop("b"), None));
    }
}

#[tokio::test]
async fn what_waits_for_a_master_ends_when_another_is_in_its_place() {
    let mut hand = Hand::start(&["a", "b"]).await;
    let other = hand.names.lock().remove("b").expect("known");
    hand.brokers["a"].slow_down();
    let waiting = tokio::spawn({
        let cluster = hand.cluster.clone();
        async move { cluster.pop(pop()).await }
    });
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    hand.names.lock().insert("a", other);
    hand.clock.pass(Duration::from_secs(1));
    // It has two seconds left, which do not pass here.
    let ended = tokio::time::timeout(SOON, waiting).await.expect("does not wait any longer").expect("no panic");
    assert!(matches!(ended, Err(PopError::Unavailable(Unavailable::Remote { .. }))), "{ended:?}");
    hand.brokers["b"].put(&pop().topic, "x");
    assert_eq!(hand.cluster.pop(pop()).await.expect("leased").messages.len(), 1);
    assert_eq!(hand.asked().await, Asked::Pop("b"));
}

#[tokio::test]
async fn a_broker_without_a_master_is_sent_to_as_soon_as_it_has_one() {
    let hand = Hand::start(&["a"]).await;
    send(&hand, OF_A, None).await.expect("stored");
    let as_a = |id| hand.names.lock().get_mut("a").expect("known").0 = id;
    as_a(1);
    hand.clock.pass(Duration::from_secs(25));
    send(&hand, OF_A, None).await.expect_err("there is no master");
    as_a(0);
    hand.clock.pass(Duration::from_millis(200));
    send(&hand, OF_A, None).await.expect("stored");
}

#[tokio::test]
async fn what_a_pop_leases_when_its_caller_has_given_up_is_given_back() {
    let mut hand = Hand::start(&["a"]).await;
    hand.brokers["a"].slow_down();
    let popped = tokio::spawn({
        let cluster = hand.cluster.clone();
        async move { cluster.pop(pop()).await }
    });
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    hand.clock.pass(Duration::from_secs(3));
    let too_late = popped.await.expect("no panic");
    assert!(matches!(too_late, Err(PopError::Unavailable(Unavailable::TimedOut { .. }))), "{too_late:?}");
    hand.brokers["a"].put(&pop().topic, "x");
    let Asked::Change(_, invisible_ms) = hand.asked().await else { panic!("it is given back") };
    assert_eq!(invisible_ms, 1000);
    assert_eq!(hand.finish().await, []);
}

#[tokio::test]
async fn what_was_delivered_too_often_goes_to_the_dead_letters_and_not_to_the_client() {
    let mut hand = Hand::start(&["a"]).await;
    let attempts_max = hand.cluster.group(&pop().group).await.expect("there").attempts_max;
    hand.brokers["a"].put_again(&pop().topic, "given up", attempts_max);
    hand.brokers["a"].put_again(&pop().topic, "last time", attempts_max - 1);
    let popped = hand.cluster.pop(pop()).await.expect("leased").messages;
    assert_eq!(popped.iter().map(|message| message.attempt).collect::<Vec<_>>(), [attempts_max]);
    assert_eq!(hand.asked().await, Asked::Pop("a"));
    assert_eq!(hand.asked().await, Asked::Other(RequestCode::ConsumerSendMsgBack));
    assert!(matches!(hand.asked().await, Asked::Ack(_)), "its lease ends when it is there");
    assert_eq!(hand.finish().await, []);
}

#[tokio::test]
async fn one_name_server_that_answers_is_enough() {
    let hand = Hand::start(&["a", "b"]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let cluster = asking(&hand.clock, vec![closed.to_string(), hand.name_server.to_string()]);
    assert_eq!(cluster.topic(&topic("t")).await.expect("found").write_queues, 4);
}

#[tokio::test]
async fn what_a_name_server_has_lost_keeps_its_place_for_a_minute() {
    let hand = Hand::start(&["a", "b"]).await;
    let queues = async || hand.cluster.topic(&topic("t")).await.expect("found").write_queues;
    assert_eq!(queues().await, 4);
    let a = hand.names.lock().remove("a").expect("known");
    // Each look is at what is older than 20 s.
    for _ in 0..2 {
        hand.clock.pass(Duration::from_secs(25));
        assert_eq!(queues().await, 4);
    }
    hand.names.lock().insert("a", a);
    hand.clock.pass(Duration::from_secs(25));
    assert_eq!(queues().await, 4);
    hand.names.lock().remove("a");
    for _ in 0..2 {
        hand.clock.pass(Duration::from_secs(25));
        queues().await;
    }
    hand.clock.pass(Duration::from_secs(45));
    assert_eq!(queues().await, 2, "it did not register again");
}
