//! Messages are found by key, by store time and by place, wherever the index keeps them, across restarts.

mod common;

use std::time::Duration;

use common::*;
use env::sim::{self, World};
use types::admin::{Admin, AdminError, FindBy, MessageQuery};
use types::broker::LookupError;
use types::properties::names;
use types::{PhysicalOffset, QueueId, Timestamp};

fn query(topic_name: &str, by: FindBy) -> MessageQuery {
    MessageQuery { topic: topic(topic_name), by, stored: Timestamp(0)..Timestamp(i64::MAX), messages_max: 100 }
}

fn key(key: &str) -> FindBy {
    FindBy::Key(key.to_owned())
}

/// Bodies of what a query finds, and whether that is all.
async fn find(broker: &broker::LocalBroker, query: MessageQuery) -> (Vec<String>, bool) {
    let found = broker.find_messages(query).await.expect("answered");
    let body =
        |bytes: &bytes::Bytes| String::from_utf8(record::decode(bytes).expect("a record").body.to_vec()).expect("text");
    (found.records.iter().map(body).collect(), found.is_complete)
}

#[test]
fn messages_are_found_by_unique_id_and_by_each_key_newest_first() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        for n in 0..3 {
            let keys = format!("order-{n} shared");
            try_send(&broker, message("t", &n.to_string(), &[(names::KEYS, &keys)])).await.expect("stored");
        }
        try_send(&broker, message("u", "other", &[(names::KEYS, "shared")])).await.expect("stored");
        assert_eq!(find(&broker, query("t", key("ID-1"))).await, (vec!["1".to_owned()], true));
        assert_eq!(find(&broker, query("t", key("order-2"))).await, (vec!["2".to_owned()], true));
        let all = ["2", "1", "0"].map(str::to_owned).to_vec();
        assert_eq!(find(&broker, query("t", key("shared"))).await, (all.clone(), true));
        assert_eq!(find(&broker, query("t", key("order"))).await, (vec![], true));
        let two = MessageQuery { messages_max: 2, ..query("t", key("shared")) };
        assert_eq!(find(&broker, two).await, (all[..2].to_vec(), false));
        let unknown = broker.find_messages(query("nowhere", key("x"))).await;
        assert!(matches!(unknown, Err(AdminError::Lookup(LookupError::TopicNotFound { .. }))));
        broker.stop().await;
    });
}

#[test]
fn keys_are_found_in_index_runs_after_a_kill_and_without_the_index() {
    sim::run(2, async |world: World| {
        // The log is checkpointed each 64 KiB, so most keys come to lie in runs.
        let mut broker = start(&world);
        let body = |n: u32| format!("{n:04}{}", "x".repeat(500));
        for n in 0..600 {
            let keys = format!("k{} every", n % 7);
            try_send(&broker, message("t", &body(n), &[(names::KEYS, &keys)])).await.expect("stored");
        }
        for is_index_lost in [false, true] {
            if is_index_lost {
                world.kill().await;
                drop(broker);
                let disk = world.env().disk;
                let dir = options().dir.join("queueindex");
                for name in disk.list(&dir).expect("listed") {
                    disk.remove(&dir.join(name)).expect("removed");
                }
                broker = start(&world);
            } else {
                broker = restart_killed(&world, broker).await;
            }
            let (found, is_complete) = find(&broker, query("t", key("k3"))).await;
            let expected: Vec<String> = (0..600).rev().filter(|n| n % 7 == 3).map(body).collect();
            assert!(is_complete && found == expected, "{} of {}", found.len(), expected.len());
            let most = MessageQuery { messages_max: 1000, ..query("t", key("every")) };
            let (found, is_complete) = find(&broker, most).await;
            assert_eq!((found.len(), is_complete), (MessageQuery::MESSAGES_MAX, false));
        }
        broker.stop().await;
    });
}

#[test]
fn messages_are_found_by_store_time_in_its_order() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        let clock = world.env().clock;
        let mut times = Vec::new();
        for n in 0..6 {
            times.push(clock.now());
            let queue = QueueId(n % 2);
            let sent = types::Broker::send(&broker, queue, vec![message("t", &n.to_string(), &[])]).await;
            assert!(sent[0].is_ok());
            clock.sleep(Duration::from_secs(10)).await;
        }
        let between = MessageQuery { stored: times[1]..times[4], ..query("t", FindBy::Time(None)) };
        assert_eq!(find(&broker, between.clone()).await, (["1", "2", "3"].map(str::to_owned).to_vec(), true));
        let of_queue = MessageQuery { by: FindBy::Time(Some(QueueId(1))), ..between };
        assert_eq!(find(&broker, of_queue.clone()).await, (["1", "3"].map(str::to_owned).to_vec(), true));
        let no_queue = MessageQuery { by: FindBy::Time(Some(QueueId(99))), ..of_queue };
        let refused = broker.find_messages(no_queue).await;
        assert!(matches!(refused, Err(AdminError::Lookup(LookupError::QueueNotFound { .. }))));
        let by_key = MessageQuery { stored: times[1]..times[2], ..query("t", key("ID-2")) };
        assert_eq!(find(&broker, by_key).await, (vec![], true));
        broker.stop().await;
    });
}

#[test]
fn a_place_in_the_log_is_a_message_or_nothing() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        let receipt = send(&broker, "t", "one").await;
        let found = broker.message_at(receipt.physical_offset).await.expect("answered").expect("there");
        assert_eq!(record::decode(&found).expect("a record").body, b"one");
        for nowhere in [receipt.physical_offset.plus(1), PhysicalOffset(1 << 40)] {
            assert_eq!(broker.message_at(nowhere).await, Ok(None));
        }
        broker.stop().await;
    });
}

#[test]
fn messages_of_a_deleted_topic_are_not_those_of_its_successor() {
    sim::run(5, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "old").await;
        broker.delete_topic(&topic("t")).await.expect("deleted");
        types::Broker::topic(&broker, &topic("t")).await.expect("made again");
        assert_eq!(find(&broker, query("t", key("ID-old"))).await, (vec![], true));
        assert_eq!(find(&broker, query("t", FindBy::Time(None))).await, (vec![], true));
        broker.stop().await;
    });
}
