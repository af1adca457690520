//! Acknowledging, changing and refusing deliveries (facts/grpc.md §7.6, §7.7, §7.10, §19.5).

use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;

use crate::support::{Client, GROUP, TOPIC, World, code, consumer, message, message_id, receive, resource};

async fn change(client: &Client, handle: &str, seconds: i64) -> v2::ChangeInvisibleDurationResponse {
    let request = v2::ChangeInvisibleDurationRequest {
        group: resource(GROUP),
        topic: resource(TOPIC),
        receipt_handle: handle.to_owned(),
        invisible_duration: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..v2::ChangeInvisibleDurationRequest::default()
    };
    client.service.clone().change_invisible_duration(client.request(request)).await.expect("gRPC OK").into_inner()
}

/// Puts a message off for no time: its delivery does not count.
async fn suspend(client: &Client, handle: &str) -> Code {
    let request = v2::ChangeInvisibleDurationRequest {
        group: resource(GROUP),
        topic: resource(TOPIC),
        receipt_handle: handle.to_owned(),
        invisible_duration: Some(prost_types::Duration::default()),
        suspend: Some(true),
        ..v2::ChangeInvisibleDurationRequest::default()
    };
    let request = client.request(request);
    let answer = client.service.clone().change_invisible_duration(request).await.expect("gRPC OK");
    code(&answer.into_inner().status)
}

async fn forward(client: &Client, handle: &str) -> Code {
    let request = v2::ForwardMessageToDeadLetterQueueRequest {
        group: resource(GROUP),
        topic: resource(TOPIC),
        receipt_handle: handle.to_owned(),
        message_id: "id".to_owned(),
        ..v2::ForwardMessageToDeadLetterQueueRequest::default()
    };
    let request = client.request(request);
    let response = client.service.clone().forward_message_to_dead_letter_queue(request).await.expect("gRPC OK");
    code(&response.into_inner().status)
}

async fn one(client: &Client, id: &str) -> String {
    client.send_ok(vec![message(id)]).await;
    let received = client.receive(receive(1, Duration::from_secs(10))).await;
    assert_eq!(message_id(received.messages()[0]), id);
    received.handles()[0].to_owned()
}

#[tokio::test]
async fn pitfall_03_failed_change_echoes_the_handle() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let handle = one(&client, "a").await;
    let refused = change(&client, &handle, -1).await;
    assert_eq!(code(&refused.status), Code::IllegalInvisibleTime);
    assert_eq!(refused.receipt_handle, handle);
    let nonsense = change(&client, "nonsense", 10).await;
    assert_eq!(code(&nonsense.status), Code::InvalidReceiptHandle);
    assert_eq!(nonsense.receipt_handle, "nonsense");
    assert_eq!(code(&client.ack(&[&handle]).await.status), Code::Ok, "the echoed handle is as good as before");
}

#[tokio::test]
async fn pitfall_03_the_handle_from_before_a_change_stays_good() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let handle = one(&client, "a").await;
    let changed = change(&client, &handle, 300).await;
    assert_eq!(code(&changed.status), Code::Ok);
    assert!(!changed.receipt_handle.is_empty());
    assert_eq!(code(&client.ack(&[&handle]).await.status), Code::Ok, "C# never learns the new one");
}

#[tokio::test]
async fn a_suspended_message_comes_back_as_the_same_attempt() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    assert_eq!(suspend(&client, &one(&client, "a").await).await, Code::Ok);
    let again = client.receive(receive(1, Duration::from_secs(10))).await;
    assert_eq!(again.messages()[0].system_properties.as_ref().expect("set").delivery_attempt, Some(1));
}

#[tokio::test]
async fn a_change_to_zero_brings_the_message_back_with_another_attempt() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let handle = one(&client, "a").await;
    assert_eq!(code(&change(&client, &handle, 0).await.status), Code::Ok);
    let again = client.receive(receive(1, Duration::from_secs(20))).await;
    assert_eq!(again.code(), Code::Ok);
    assert_eq!(again.messages()[0].system_properties.as_ref().expect("set").delivery_attempt, Some(2));
}

#[tokio::test]
async fn a_message_from_the_retry_topic_looks_as_it_did_and_every_handle_works() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    client.send_ok(vec![message("a")]).await;
    let first = client.receive(receive(1, Duration::from_secs(10))).await;
    let handle = first.handles()[0];
    // Longer than a message waits in its queue.
    assert_eq!(code(&change(&client, handle, 300).await.status), Code::Ok);
    assert_eq!(world.broker.status().moved, 1);
    assert_eq!(code(&change(&client, handle, 0).await.status), Code::Ok, "it names the copy");
    let again = client.receive(receive(1, Duration::from_secs(20))).await;
    let (before, after) = (first.messages()[0], again.messages()[0]);
    assert_eq!(
        (&after.topic, &after.body, &after.user_properties),
        (&before.topic, &before.body, &before.user_properties)
    );
    let [before, after] = [before, after].map(|message| message.system_properties.clone().expect("set"));
    assert_eq!(after.delivery_attempt, Some(2));
    assert_eq!(
        (&after.message_id, &after.tag, &after.keys, after.message_type, after.born_timestamp, &after.born_host),
        (&before.message_id, &before.tag, &before.keys, before.message_type, before.born_timestamp, &before.born_host)
    );
    assert_eq!(code(&client.ack(&[handle]).await.status), Code::InvalidReceiptHandle, "of an earlier delivery");
    let handle = again.handles()[0];
    assert_eq!(handle.split(' ').nth(4), Some("1"), "Apache's flag of a retry topic: {handle}");
    let changed = change(&client, handle, 300).await;
    assert_eq!(code(&client.ack(&[&changed.receipt_handle]).await.status), Code::Ok);
    let more = client.receive(receive(1, Duration::from_millis(500))).await;
    assert_eq!(more.code(), Code::MessageNotFound);
}

#[tokio::test]
async fn pitfall_34_bad_handles_are_invalid_receipt_handles() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let handle = one(&client, "a").await;
    let elsewhere = handle.replace("gantry-local", "vanished-broker");
    assert_ne!(elsewhere, handle);
    let no_queue = {
        let mut fields: Vec<&str> = handle.split(' ').collect();
        fields[6] = "999";
        fields.join(" ")
    };
    for bad in ["", "nonsense", "1 2 3", "1 2 3 4 5 6 7 8 9 10", &elsewhere, &no_queue] {
        let response = client.ack(&[bad]).await;
        assert_eq!(code(&response.status), Code::InvalidReceiptHandle, "{bad:?}: {response:?}");
    }
    assert_eq!(code(&client.ack(&[&handle]).await.status), Code::Ok);
}

#[tokio::test]
async fn pitfall_36_overall_and_entry_statuses_are_both_filled() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let handle = one(&client, "a").await;
    let response = client.ack(&["nonsense", &handle]).await;
    assert_eq!(code(&response.status), Code::MultipleResults);
    let codes: Vec<_> = response.entries.iter().map(|entry| code(&entry.status)).collect();
    assert_eq!(codes, [Code::InvalidReceiptHandle, Code::Ok], "in the order of the request");
    assert_eq!(response.entries[1].receipt_handle, handle);
    let none = client.ack(&[]).await;
    assert_eq!(code(&none.status), Code::BadRequest);
}

#[tokio::test]
async fn pitfall_35_forwarding_twice_is_fine_and_stores_one_dead_letter() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let dead_letters = format!("%DLQ%{GROUP}");
    let of_dead_letters = |wait| v2::ReceiveMessageRequest {
        group: resource("undertakers"),
        message_queue: Some(v2::MessageQueue { topic: resource(&dead_letters), ..v2::MessageQueue::default() }),
        ..receive(32, wait)
    };
    client.receive(of_dead_letters(Duration::from_millis(1))).await;
    let handle = one(&client, "a").await;
    assert_eq!(forward(&client, &handle).await, Code::Ok);
    assert_eq!(forward(&client, &handle).await, Code::Ok);
    let received = client.receive(of_dead_letters(Duration::from_secs(10))).await;
    assert_eq!(received.messages().len(), 1);
    let letter = received.messages()[0].system_properties.clone().expect("set").dead_letter_queue.expect("set");
    assert_eq!(letter.topic, TOPIC);
    let more = client.receive(of_dead_letters(Duration::from_millis(500))).await;
    assert_eq!(more.code(), Code::MessageNotFound);
}
