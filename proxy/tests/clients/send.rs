//! Sending (facts/grpc.md §7.3, §19.6).

use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;
use types::Admin;

use crate::support::{TOPIC, World, code, consumer, message, message_id, message_with, receive, resource};

#[tokio::test]
async fn pitfall_39_each_message_has_an_entry_with_its_own_id_in_order() {
    let world = World::start().await;
    let client = world.client("p").await;
    let ids: Vec<String> = (0..40).map(|i| format!("id-{i}")).collect();
    let entries = client.send_ok(ids.iter().map(|id| message(id)).collect()).await;
    assert_eq!(entries.iter().map(|entry| entry.message_id.clone()).collect::<Vec<_>>(), ids);
    assert!(entries.iter().all(|entry| code(&entry.status) == Code::Ok));
    let offsets: Vec<_> = entries.iter().map(|entry| entry.offset).collect();
    assert!(offsets.is_sorted_by(|a, b| a + 1 == *b), "one call, one queue: {offsets:?}");
}

#[tokio::test]
async fn messages_of_groups_go_to_their_groups_queues_even_in_one_call() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let groups = ["groupA", "order-1", "order-2", "groupA"];
    let grouped = |(i, group): (usize, &&str)| {
        message_with(&format!("id-{i}"), |system| system.message_group = Some((*group).to_owned()))
    };
    let entries = client.send_ok(groups.iter().enumerate().map(grouped).collect()).await;
    assert_eq!(entries.len(), 4);
    let mut queues = std::collections::BTreeMap::new();
    while queues.len() < 4 {
        let received = client.receive(receive(32, Duration::from_secs(5))).await;
        assert_eq!(received.code(), Code::Ok);
        for message in received.messages() {
            queues.insert(message_id(message).to_owned(), message.system_properties.as_ref().expect("set").queue_id);
        }
        assert_eq!(code(&client.ack(&received.handles()).await.status), Code::Ok);
    }
    assert_eq!(queues.into_values().collect::<Vec<_>>(), [5, 3, 2, 5], "Apache's choice for 8 queues");
}

#[tokio::test]
async fn pitfall_40_a_repeated_send_keeps_its_message_id() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    client.send_ok(vec![message("same")]).await;
    client.send_ok(vec![message("same")]).await;
    for _ in 0..2 {
        let received = client.receive(receive(1, Duration::from_secs(5))).await;
        assert_eq!(message_id(received.messages()[0]), "same");
    }
}

fn keyed(mut message: v2::Message, key: &str, body: &'static str) -> v2::Message {
    message.user_properties.insert("GANTRY_IDEMPOTENCY_KEY".to_owned(), key.to_owned());
    message.body = body.into();
    message
}

#[tokio::test]
async fn a_repeat_under_an_idempotency_key_is_answered_as_its_first() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let first = client.send_ok(vec![keyed(message("first"), "k", "body")]).await.remove(0);
    // Each send goes to the next queue.
    for id in ["second", "third"] {
        let again = client.send_ok(vec![keyed(message(id), "k", "body")]).await.remove(0);
        assert_eq!((&again.message_id, again.offset), (&first.message_id, first.offset));
        let text = again.status.expect("set").message;
        assert!(text.starts_with("OK: repeats"), "{text}");
    }
    let refused = client.send(vec![keyed(message("fourth"), "k", "other body")]).await;
    assert_eq!(code(&refused.status), Code::PreconditionFailed);
    let text = refused.status.expect("set").message;
    assert!(text.starts_with(r#"property GANTRY_IDEMPOTENCY_KEY is "k""#), "{text}");
    let mixed = client.send(vec![keyed(message("fifth"), "k", "body"), keyed(message("sixth"), "l", "body")]).await;
    assert_eq!(code(&mixed.status), Code::Ok);
    let ids: Vec<_> = mixed.entries.iter().map(|entry| entry.message_id.as_str()).collect();
    assert_eq!(ids, ["first", "sixth"]);
    let mut received = Vec::new();
    for _ in 0..2 {
        let got = client.receive(receive(1, Duration::from_secs(5))).await;
        let message = got.messages()[0];
        assert!(message.user_properties.contains_key("GANTRY_IDEMPOTENCY_KEY"));
        received.push(message_id(message).to_owned());
    }
    received.sort();
    assert_eq!(received, ["first", "sixth"]);
    assert_eq!(client.receive(receive(1, Duration::from_millis(50))).await.code(), Code::MessageNotFound);
}

#[tokio::test]
async fn a_repeated_half_message_has_the_first_transaction_id() {
    let world = World::start().await;
    let client = world.client("p").await;
    let half = |id| {
        let half = message_with(id, |system| system.message_type = v2::MessageType::Transaction.into());
        keyed(half, "k", "half")
    };
    let first = client.send_ok(vec![half("first")]).await.remove(0);
    let again = client.send_ok(vec![half("second")]).await.remove(0);
    assert!(!first.transaction_id.is_empty());
    assert_eq!((again.message_id, again.transaction_id), (first.message_id, first.transaction_id));
}

#[tokio::test]
async fn an_idempotency_key_that_is_too_long_is_refused() {
    let world = World::start().await;
    let client = world.client("p").await;
    let refused = client.send(vec![keyed(message("a"), &"k".repeat(256), "body")]).await;
    assert_eq!(code(&refused.status), Code::BadRequest);
    let text = refused.status.expect("set").message;
    assert_eq!(text, "property GANTRY_IDEMPOTENCY_KEY: idempotency key is 256 bytes, limit is 255");
}

#[tokio::test]
async fn a_topic_of_one_type_refuses_others_and_names_the_remedy() {
    let world = World::start().await;
    let client = world.client("p").await;
    client.send_ok(vec![message("first")]).await;
    let mut config =
        world.broker.describe_topic(&types::TopicName::new(TOPIC).expect("valid")).await.expect("there").config;
    config.topic_type = types::TopicType::Only(types::MessageType::Fifo);
    world.broker.put_topic(config, true).await.expect("changed");
    let refused = client.send(vec![message("second")]).await;
    assert_eq!(code(&refused.status), Code::MessagePropertyConflictWithType);
    let text = refused.status.expect("set").message;
    assert!(text.contains("gantry admin topic update orders"), "{text}");
    client.send_ok(vec![message_with("third", |system| system.message_group = Some("g".to_owned()))]).await;
}

#[tokio::test]
async fn a_delayed_message_can_be_recalled_once() {
    let world = World::start().await;
    let client = world.client("p").await;
    let in_an_hour = env::Env::real().clock.now().plus(Duration::from_secs(3600));
    let in_an_hour = prost_types::Timestamp { seconds: in_an_hour.0 / 1000, nanos: 0 };
    let delayed = message_with("delayed", |system| system.delivery_timestamp = Some(in_an_hour));
    let entry = client.send_ok(vec![delayed]).await.remove(0);
    assert!(!entry.recall_handle.is_empty());
    let recall = || async {
        let request = v2::RecallMessageRequest { topic: resource(TOPIC), recall_handle: entry.recall_handle.clone() };
        client.service.clone().recall_message(client.request(request)).await.expect("gRPC OK").into_inner()
    };
    let recalled = recall().await;
    assert_eq!((code(&recalled.status), recalled.message_id.as_str()), (Code::Ok, "delayed"));
    assert_eq!(code(&recall().await.status), Code::MessageNotFound);
}

#[tokio::test]
async fn priority_messages_are_accepted_on_mixed_topics() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    client.send_ok(vec![message_with("urgent", |system| system.priority = Some(9))]).await;
    let received = client.receive(receive(1, Duration::from_secs(5))).await;
    let system = received.messages()[0].system_properties.clone().expect("set");
    assert_eq!((system.priority, system.message_type()), (Some(9), v2::MessageType::Priority));
}

#[tokio::test]
async fn a_priority_topic_is_read_from_its_highest_priority_down() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    client.send_ok(vec![message_with("first", |system| system.priority = Some(0))]).await;
    let mut config =
        world.broker.describe_topic(&types::TopicName::new(TOPIC).expect("valid")).await.expect("there").config;
    config.topic_type = types::TopicType::Only(types::MessageType::Priority);
    world.broker.put_topic(config, true).await.expect("changed");
    let received = client.receive(receive(1, Duration::from_secs(5))).await;
    assert_eq!(client.ack(&received.handles()).await.status.map(|status| status.code), Some(Code::Ok as i32));

    let priorities = [1, 7, 100, 0, 3];
    let of_priority = |priority| message_with(&format!("p{priority}"), |system| system.priority = Some(priority));
    client.send_ok(priorities.map(of_priority).to_vec()).await;
    let received = client.receive(receive(32, Duration::from_secs(5))).await;
    let ids: Vec<_> = received.messages().into_iter().map(message_id).collect();
    assert_eq!(ids, ["p7", "p100", "p3", "p1", "p0"], "8 queues, so 7 and above are one priority");
}
