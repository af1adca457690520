//! Transactions through proxies in cluster mode: any of them ends any, and producers are asked through the one they are at.

use std::time::Duration;

use broker::transaction::Schedule;
use tokio::time::timeout;
use types::broker::{EndTransaction, Resolution, TransactionCheck, TransactionError, TransactionPlace};
use types::{Broker, MessageType, TopicConfig, TopicName, TopicType};

use crate::support::{SOON, Site, half, topic};

/// The only kind of topic whose producers brokers are told of, besides those that take all.
fn deals() -> (TopicName, TopicConfig) {
    let name = topic("deals");
    let config = TopicConfig::new(name.clone(), 1, TopicType::Only(MessageType::Transaction));
    (name, config)
}

fn body(check: &TransactionCheck) -> Vec<u8> {
    record::decode(&check.record).expect("a record").body.to_vec()
}

#[tokio::test]
async fn any_proxy_ends_a_transaction_at_the_broker_that_keeps_it() {
    let (name, config) = deals();
    let site = Site::start(&["a", "b"], &[config], |_| {}).await;
    let (first, second) = (site.proxy(&name).await, site.proxy(&name).await);
    let mut places = Vec::new();
    for (queue, body) in [(0, "committed at a"), (1, "committed at b"), (1, "rolled back at b")] {
        places.push(half(&first, &name, queue, body).await.transaction.expect("a half message"));
    }
    assert_eq!(places.iter().map(|place| &*place.broker).collect::<Vec<_>>(), ["a", "b", "b"]);
    drop(first);
    let end = |place: &TransactionPlace, resolution| {
        second.end_transaction(EndTransaction::new(name.clone(), place.clone(), resolution))
    };
    end(&places[2], Resolution::Rollback).await.expect("rolled back");
    end(&places[0], Resolution::Commit).await.expect("committed");
    end(&places[1], Resolution::Unknown).await.expect("asked later");
    end(&places[1], Resolution::Commit).await.expect("committed");
    let refused = end(&places[1], Resolution::Rollback).await;
    assert_eq!(refused, Err(TransactionError::AlreadyEnded { is_committed: true }));
    let at_a = TransactionPlace { broker: "a".into(), ..places[2].clone() };
    let elsewhere = end(&at_a, Resolution::Commit).await;
    assert!(matches!(elsewhere, Err(TransactionError::NotFound { .. })), "{elsewhere:?}");
    let nowhere = TransactionPlace { broker: "gone".into(), ..places[1].clone() };
    let nobody = end(&nowhere, Resolution::Commit).await;
    assert!(matches!(nobody, Err(TransactionError::Unavailable(_))), "{nobody:?}");
    assert_eq!(site.brokers["a"].bodies(&name, 1).await, ["committed at a"]);
    assert_eq!(site.brokers["b"].bodies(&name, 1).await, ["committed at b"]);
    site.end().await;
}

#[tokio::test]
async fn brokers_ask_through_a_proxy_that_has_producers_and_no_longer_when_it_has_none() {
    let (name, config) = deals();
    let soon = Schedule {
        check_after: Duration::from_millis(200),
        check_interval: Duration::from_millis(200),
        checks_max: u32::MAX,
    };
    let site = Site::start(&["a", "b"], &[config], |broker| broker.transaction = soon).await;
    let (first, second) = (site.proxy(&name).await, site.proxy(&name).await);
    let (mut of_first, mut of_second) = (first.transaction_checks(), second.transaction_checks());
    let sent = [half(&first, &name, 0, "at a").await, half(&first, &name, 1, "at b").await];
    first.producers_alive(vec![name.clone(), topic("unknown")]).await;
    let mut asked = Vec::new();
    while asked.len() < 2 {
        let check = timeout(SOON, of_first.recv()).await.expect("asked").expect("open");
        if !asked.iter().any(|(_, place)| *place == check.place) {
            asked.push((body(&check), check.place));
        }
    }
    asked.sort_by(|one, other| one.0.cmp(&other.0));
    let places = sent.map(|receipt| receipt.transaction.expect("a half message"));
    assert_eq!(asked, [b"at a", b"at b"].map(|body| body.to_vec()).into_iter().zip(places).collect::<Vec<_>>());

    // The first has no producer any more, and the second one.
    first.producers_alive(Vec::new()).await;
    second.producers_alive(vec![name.clone()]).await;
    let check = timeout(SOON, of_second.recv()).await.expect("asked").expect("open");
    let answer = EndTransaction {
        is_asked: true,
        message_id: "id".to_owned(),
        ..EndTransaction::new(name.clone(), check.place.clone(), Resolution::Commit)
    };
    second.end_transaction(answer).await.expect("committed");
    assert_eq!(site.brokers[&*check.place.broker].bodies(&name, 1).await, [body(&check)]);
    while of_first.try_recv().is_ok() {}
    for _ in 0..4 {
        timeout(SOON, of_second.recv()).await.expect("asked again").expect("open");
    }
    assert!(of_first.try_recv().is_err(), "nobody asks where no producer is");
    site.end().await;
}
