//! The topic in which gateways keep what they must agree on, on a broker that is named for it.

use types::broker::LookupError;
use types::{Admin as _, Broker as _, MessageType, TopicConfig, TopicName, TopicType};

use crate::support::{POLL_EVERY, SOON, Site, topic};

fn shared() -> TopicName {
    topic("gantry_sys_shared")
}

/// Two brokers, of which `b` has the topic.
async fn site() -> Site {
    let site = Site::start(&["a", "b"], &[], |_| {}).await;
    let cluster = site.naming(Some("b"));
    // The name server knows a broker a little later than that listens.
    let made = async {
        while cluster.shared_topic(&shared(), true).await.is_err() {
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    tokio::time::timeout(SOON, made).await.expect("made");
    site
}

#[tokio::test]
async fn it_is_made_on_the_broker_that_is_named_and_found_by_all() {
    let site = site().await;
    assert!(site.brokers["a"].broker.describe_topic(&shared()).await.is_err());
    let made = site.brokers["b"].broker.describe_topic(&shared()).await.expect("there").config;
    assert_eq!((made.read_queues, made.write_queues), (1, 1));
    let found = site.naming(Some("b")).shared_topic(&shared(), false).await.expect("found");
    assert_eq!(found.read_queues, 1);
    let nowhere = site.naming(Some("b")).shared_topic(&topic("gantry_sys_other"), false).await;
    assert!(matches!(nowhere, Err(LookupError::TopicNotFound { .. })), "{nowhere:?}");
    site.end().await;
}

#[tokio::test]
async fn nobody_takes_it_for_missing_while_its_broker_is_away() {
    let mut site = site().await;
    site.brokers.remove("b").expect("there").end().await;
    // The name server has forgotten broker and topic.
    for make in [false, true] {
        let away = site.naming(Some("b")).shared_topic(&shared(), make).await;
        assert!(matches!(away, Err(LookupError::Unavailable(_))), "{away:?}");
    }
    site.end().await;
}

#[tokio::test]
async fn a_gateway_with_another_broker_named_is_told_where_it_is() {
    let site = site().await;
    for make in [false, true] {
        let error = site.naming(Some("a")).shared_topic(&shared(), make).await.expect_err("it is on b").to_string();
        assert_eq!(error, "topic gantry_sys_shared is on broker b and not on a, which is named for it");
    }
    let error = site.naming(None).shared_topic(&shared(), false).await.expect_err("no broker is named").to_string();
    assert_eq!(error, "no broker is named that keeps topic gantry_sys_shared");
    site.end().await;
}

#[tokio::test]
async fn a_topic_that_somebody_made_on_two_brokers_is_not_taken() {
    let config = TopicConfig::new(shared(), 1, TopicType::Only(MessageType::Normal));
    let site = Site::start(&["a", "b"], &[config], |_| {}).await;
    let expected = "topic gantry_sys_shared is on broker a besides b: delete it there";
    // The name server knows a broker a little later than that listens.
    let refused = async {
        loop {
            let asked = site.naming(Some("b")).shared_topic(&shared(), true).await;
            if asked.is_err_and(|error| error.to_string() == expected) {
                return;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("it says where the other is");
    site.end().await;
}
