//! A broker in a simulated world, and the calls that every test makes.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod follow;
pub mod live;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker::retention::{Hours, Settings};
use broker::{LocalBroker, Options};
use bytes::Bytes;
use env::sim::World;
use types::broker::{ClientId, LeaseOwner, Pop, Popped, PoppedMessage, SendError, SendReceipt};
use types::properties::names;
use types::{Broker, Filter, GroupName, Message, QueueId, TopicName};

/// One millisecond more than a bound.
pub const MS: Duration = Duration::from_millis(1);

/// Longer than anything takes in a simulated world.
pub const WITHIN: Duration = Duration::from_secs(3600);

/// Settings for a small log.
pub fn options() -> Options {
    Options { segment_bytes: 256 * 1024, checkpoint_bytes: 64 * 1024, ..Options::local(PathBuf::from("/data")) }
}

/// Segments that stay so long go within a second, at any hour.
pub fn retention(reserved: Duration) -> Settings {
    Settings { delete_when: Hours::EVERY, reserved, interval: Duration::from_secs(1), ..Settings::default() }
}

/// Starts a broker on the world's disk.
pub fn start(world: &World) -> LocalBroker {
    LocalBroker::start(world.env(), options()).expect("starts")
}

/// Kills the broker and starts another one on what is left.
pub async fn restart_killed(world: &World, broker: LocalBroker) -> LocalBroker {
    world.kill().await;
    drop(broker);
    start(world)
}

/// Waits until something is the case.
pub async fn until(world: &World, what: &str, is: impl Fn() -> bool) {
    let clock = world.env().clock;
    let end = clock.moment().plus(WITHIN);
    while !is() {
        assert!(clock.moment() < end, "{what}: not in time");
        clock.sleep(Duration::from_millis(5)).await;
    }
}

/// Sends so much that the log's front goes, and leaves some behind it.
pub async fn let_front_go(world: &World, master: &LocalBroker) {
    let before = master.status().expired_segments;
    for _ in 0..2 {
        for number in 0..600 {
            send(master, "other", &"x".repeat(number * 4)).await;
        }
        until(world, "the log's front goes", || master.status().expired_segments > before).await;
    }
}

pub fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("valid")
}

pub fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("valid")
}

pub fn client(name: &str) -> ClientId {
    name.into()
}

pub fn owner(group_name: &str, topic_name: &str) -> LeaseOwner {
    LeaseOwner { group: group(group_name), topic: topic(topic_name) }
}

/// A message with these properties.
pub fn message(topic_name: &str, body: &str, properties: &[(&'static str, &str)]) -> Message {
    let mut message = Message::new(topic(topic_name), Bytes::copy_from_slice(body.as_bytes()));
    message.properties.set_own(names::UNIQUE_KEY, &format!("ID-{body}"));
    for (name, value) in properties {
        message.properties.set_own(name, value);
    }
    message
}

/// Sends one message to queue 0.
pub async fn try_send(broker: &LocalBroker, message: Message) -> Result<SendReceipt, SendError> {
    let mut results = broker.send(QueueId(0), vec![message]).await;
    assert_eq!(results.len(), 1, "one result a message");
    results.remove(0)
}

/// Sends one message to queue 0 that must be stored.
pub async fn send(broker: &LocalBroker, topic_name: &str, body: &str) -> SendReceipt {
    try_send(broker, message(topic_name, body, &[])).await.expect("stored")
}

/// A pop of all queues by client `c`, for 30 s, that does not wait.
pub fn pop_of(group_name: &str, topic_name: &str) -> Pop {
    Pop {
        group: group(group_name),
        client: client("c"),
        topic: topic(topic_name),
        queue: None,
        messages_max: 32,
        invisible: Duration::from_secs(30),
        auto_renew: false,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
        attempt_id: None,
    }
}

/// Pops with these changes and expects an answer.
pub async fn pop(broker: &LocalBroker, request: Pop) -> Popped {
    broker.pop(request).await.expect("popped")
}

/// The bodies of what is there now, leased for 30 s.
pub async fn pop_bodies(broker: &LocalBroker, group_name: &str, topic_name: &str) -> Vec<String> {
    bodies(&pop(broker, pop_of(group_name, topic_name)).await)
}

/// Waits up to a minute for a message.
pub async fn wait_for(broker: &LocalBroker, group_name: &str, topic_name: &str) -> Vec<PoppedMessage> {
    pop(broker, Pop { wait: Duration::from_secs(60), ..pop_of(group_name, topic_name) }).await.messages
}

pub fn body(message: &PoppedMessage) -> String {
    String::from_utf8(record::decode(&message.record).expect("a record").body.to_vec()).expect("text")
}

pub fn bodies(popped: &Popped) -> Vec<String> {
    popped.messages.iter().map(body).collect()
}

/// A property of a popped message.
pub fn property(message: &PoppedMessage, name: &str) -> Option<String> {
    record::decode(&message.record).expect("a record").property(name).map(str::to_owned)
}

/// Acks one message, which must succeed.
pub async fn ack(broker: &LocalBroker, group_name: &str, topic_name: &str, message: &PoppedMessage) {
    let results = broker.ack(owner(group_name, topic_name), vec![message.handle.clone()]).await;
    assert_eq!(results, [Ok(())]);
}
