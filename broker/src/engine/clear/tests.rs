//! Clearing the log's front: an engine that is driven by hand, on what a broker has left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::sim::{self, World};
use types::broker::{LeaseOwner, Pop, PoppedMessage};
use types::properties::names;
use types::receipt_handle::HandleSource;
use types::{Broker, Filter, GroupName, Message, PhysicalOffset, QueueId, TopicName};

use super::{Clearing, Left};
use crate::engine::Engine;
use crate::engine::by_hand::ByHand;
use crate::{LocalBroker, Options};

/// Little is kept in memory, so that most records come from the disk.
fn options() -> Options {
    Options { segment_bytes: 256 * 1024, hot_bytes: 16 * 1024, ..Options::local(PathBuf::from("/data")) }
}

fn owner() -> LeaseOwner {
    LeaseOwner { group: GroupName::new("g").expect("valid"), topic: TopicName::new("t").expect("valid") }
}

/// Clears as retention does, a step a round, until it is told what is left.
async fn clear(world: &World, before: impl Fn(&Engine) -> PhysicalOffset) -> Left {
    let mut by_hand = ByHand::new(world, options());
    let mut clearing = Clearing::new(before(&by_hand.engine));
    let left = loop {
        by_hand.round().await;
        if let Some(left) = by_hand.engine.clear_before(&mut clearing) {
            break left;
        }
        world.env().clock.sleep(Duration::from_millis(1)).await;
    };
    by_hand.stop().await;
    left
}

fn end_of_log(engine: &Engine) -> PhysicalOffset {
    engine.store.marks().appended_to()
}

async fn send(broker: &LocalBroker, topic: &str, body: &str, properties: &[(&'static str, &str)]) {
    let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::copy_from_slice(body.as_bytes()));
    for (name, value) in properties {
        message.properties.set_own(name, value);
    }
    broker.send(QueueId(0), vec![message]).await.remove(0).expect("stored");
}

async fn pop(broker: &LocalBroker, client: &str, auto_renew: bool, invisible: u64) -> Vec<PoppedMessage> {
    let LeaseOwner { group, topic } = owner();
    let request = Pop {
        group,
        client: client.into(),
        topic,
        queue: None,
        messages_max: 32,
        invisible: Duration::from_secs(invisible),
        auto_renew,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
        attempt_id: None,
    };
    broker.pop(request).await.expect("popped").messages
}

fn body(message: &PoppedMessage) -> String {
    String::from_utf8(record::decode(&message.record).expect("a record").body.to_vec()).expect("text")
}

/// The bodies as numbers, sorted: records from the disk are moved after those in memory.
fn numbers<'a>(messages: impl IntoIterator<Item = &'a PoppedMessage>) -> Vec<u32> {
    let mut numbers: Vec<_> = messages.into_iter().map(|message| body(message).parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

fn start(world: &World) -> LocalBroker {
    LocalBroker::start(world.env(), options()).expect("starts")
}

#[test]
fn what_lies_before_a_position_is_moved_with_its_leases_and_ordered_entries_are_told() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        for n in 0..40 {
            // Long enough that the first ones come from the disk.
            send(&broker, "t", &n.to_string(), &[("filler", &"x".repeat(1000))]).await;
        }
        for group in ["x", "x", "y"] {
            send(&broker, "t", group, &[(names::MESSAGE_GROUP, group)]).await;
        }
        let long = pop(&broker, "c", false, 1000).await;
        let rest = pop(&broker, "d", false, 5).await;
        assert_eq!((long.len(), rest.len()), (32, 10));
        broker.stop().await;

        assert_eq!(clear(&world, |_| PhysicalOffset(0)).await, Left::default());
        assert!(matches!(clear(&world, end_of_log).await, Left { ordered: 3, stuck: 0, first: Some(_) }));

        let broker = start(&world);
        let results = broker.ack(owner(), long[..16].iter().map(|message| message.handle.clone()).collect()).await;
        assert!(results.iter().all(Result::is_ok), "handles from before the move: {results:?}");
        world.env().clock.sleep(Duration::from_secs(10)).await;
        let again = pop(&broker, "d", false, 5).await;
        let copies: Vec<_> = again.iter().filter(|copy| copy.handle.source == HandleSource::RetryV1).collect();
        assert_eq!(numbers(copies.iter().copied()), (32..40).collect::<Vec<_>>());
        assert!(copies.iter().all(|copy| copy.attempt == 2));
        assert_eq!(again.len(), copies.len() + 2, "and the heads of the message groups");
        broker.client_gone("c".into()).await;
        let freed = pop(&broker, "d", false, 5).await;
        assert_eq!(numbers(&freed), (16..32).collect::<Vec<_>>());
        broker.stop().await;
    });
}

#[test]
fn copies_before_a_position_are_moved_again_and_not_counted_again() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        for n in 0..10 {
            send(&broker, "t", &n.to_string(), &[]).await;
        }
        let first = pop(&broker, "c", false, 50).await;
        broker.stop().await;
        for _ in 0..3 {
            assert_eq!(clear(&world, end_of_log).await, Left::default());
        }
        let broker = start(&world);
        assert_eq!(broker.ack(owner(), vec![first[0].handle.clone()]).await, [Ok(())]);
        world.env().clock.sleep(Duration::from_secs(50)).await;
        let again = pop(&broker, "c", false, 50).await;
        assert_eq!(numbers(&again), (1..10).collect::<Vec<_>>());
        assert!(again.iter().all(|copy| copy.attempt == 2));
        broker.stop().await;
        assert_eq!(clear(&world, end_of_log).await, Left::default());
        let broker = start(&world);
        let results = broker.ack(owner(), again.iter().map(|copy| copy.handle.clone()).collect()).await;
        assert!(results.iter().all(Result::is_ok), "handles of a copy that was moved: {results:?}");
        world.env().clock.sleep(Duration::from_secs(100)).await;
        assert!(pop(&broker, "c", false, 50).await.is_empty());
        broker.stop().await;
    });
}

#[test]
fn only_what_lies_before_the_position_is_moved() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "before", &[]).await;
        let position = PhysicalOffset(broker.status().appended_to);
        send(&broker, "t", "behind", &[]).await;
        assert_eq!(pop(&broker, "c", false, 5).await.len(), 2);
        broker.stop().await;
        assert_eq!(clear(&world, |_| position).await, Left::default());
        let broker = start(&world);
        world.env().clock.sleep(Duration::from_secs(5)).await;
        let again = pop(&broker, "c", false, 5).await;
        let places: Vec<_> = again.iter().map(|message| (body(message), message.handle.source)).collect();
        let expected = [("behind", HandleSource::Topic), ("before", HandleSource::RetryV1)];
        assert_eq!(places, expected.map(|(body, source)| (body.to_owned(), source)));
        broker.stop().await;
    });
}

#[test]
fn a_message_whose_copy_would_be_too_long_is_told() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "m", &[("filler", &"x".repeat(32_700))]).await;
        assert_eq!(pop(&broker, "c", false, 5).await.len(), 1);
        broker.stop().await;
        assert!(matches!(clear(&world, end_of_log).await, Left { ordered: 0, stuck: 1, first: Some(_) }));
        broker_still_has(&world, "m").await;
    });
}

async fn broker_still_has(world: &World, expected: &str) {
    let broker = start(world);
    world.env().clock.sleep(Duration::from_secs(5)).await;
    let messages = pop(&broker, "c", false, 5).await;
    assert_eq!(messages.iter().map(body).collect::<Vec<_>>(), [expected]);
    broker.stop().await;
}
