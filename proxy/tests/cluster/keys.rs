//! Idempotency keys through proxies in cluster mode: each is kept by one broker, whichever proxy and queue a send comes to.

use std::collections::BTreeSet;

use bytes::Bytes;
use types::broker::{KeyError, SendError, SendReceipt, Unavailable};
use types::properties::names;
use types::{Broker as _, Message, MessageType, QueueId, TopicConfig, TopicName, TopicType};

use proxy::cluster::Cluster;

use crate::hand::Hand;
use crate::support::{Site, topic};

const KEYS: u32 = 32;

fn orders() -> (TopicName, TopicConfig) {
    let name = topic("orders");
    let config = TopicConfig::new(name.clone(), 1, TopicType::Only(MessageType::Normal));
    (name, config)
}

/// Sends under a key, meant for this queue.
async fn send(
    cluster: &Cluster,
    topic: &TopicName,
    queue: u32,
    key: u32,
    body: &'static str,
) -> Result<SendReceipt, SendError> {
    let mut message = Message::new(topic.clone(), Bytes::from_static(body.as_bytes()));
    message.properties.set_own(names::IDEMPOTENCY_KEY, &key.to_string());
    message.properties.set_own(names::UNIQUE_KEY, &format!("id-{key}-{queue}"));
    cluster.send(QueueId(queue), vec![message]).await.remove(0)
}

#[tokio::test]
async fn a_repeat_through_any_proxy_meant_for_any_queue_is_stored_once() {
    let (name, config) = orders();
    let site = Site::start(&["a", "b"], &[config], |_| {}).await;
    let (first, second) = (site.proxy(&name).await, site.proxy(&name).await);
    for key in 0..KEYS {
        let stored = send(&first, &name, 0, key, "body").await.expect("stored");
        assert_eq!(stored.repeat_of, None);
        let again = send(&second, &name, 1, key, "body").await.expect("known");
        assert_eq!(again.repeat_of.as_deref(), Some(format!("id-{key}-0").as_str()));
        assert_eq!((again.queue, again.queue_offset), (stored.queue, stored.queue_offset));
        let other = send(&second, &name, 1, key, "other").await;
        assert!(
            matches!(&other, Err(SendError::Key(KeyError::Taken { key: told, window_ms: 600_000 })) if *told == key.to_string()),
            "{other:?}"
        );
    }
    let mut shares = Vec::new();
    for running in site.brokers.values() {
        shares.push(running.bodies(&name, 1).await.len());
    }
    assert_eq!(shares.iter().sum::<usize>(), KEYS as usize);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    site.end().await;
}

#[tokio::test]
async fn a_key_whose_broker_is_away_is_refused_and_the_others_are_not() {
    let (name, config) = orders();
    let mut site = Site::start(&["a", "b"], &[config], |_| {}).await;
    let proxy = site.proxy(&name).await;
    let mut of_b = BTreeSet::new();
    for key in 0..KEYS {
        if send(&proxy, &name, 0, key, "body").await.expect("stored").queue == QueueId(1) {
            of_b.insert(key);
        }
    }
    site.brokers.remove("b").expect("there").end().await;
    for key in 0..KEYS {
        let again = send(&proxy, &name, 0, key, "body").await;
        match of_b.contains(&key) {
            true => assert!(
                matches!(&again, Err(SendError::Unavailable(Unavailable::OwnerAway { broker })) if broker == "b"),
                "{again:?}"
            ),
            false => assert!(again.expect("known").repeat_of.is_some()),
        }
    }
    site.end().await;
}

#[tokio::test]
async fn a_broker_that_knows_no_keys_stores_nothing_under_one() {
    let mut hand = Hand::start(&["a"]).await;
    let refused = send(&hand.cluster, &topic("t"), 0, 1, "body").await;
    assert!(
        matches!(refused, Err(SendError::Unsupported { what }) if what.contains(names::IDEMPOTENCY_KEY)),
        "{refused:?}"
    );
    assert_eq!(hand.asked().await, crate::hand::Asked::Other(remoting_proto::RequestCode::SendOnce));
}
