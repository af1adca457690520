//! Receiving (facts/grpc.md §7.5, §19.3, §19.4).

use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use grpc::v2::receive_message_response::Content;

use tokio::time::Instant;

use crate::support::{SOON, World, consumer, message, message_id, receive, resource};

#[tokio::test]
async fn pitfall_25_the_answer_is_a_status_then_messages_then_a_time() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    client.send_ok(vec![message("a"), message("b")]).await;
    let received = client.receive(receive(32, Duration::from_secs(5))).await;
    assert_eq!(received.code(), Code::Ok);
    let kind = |content: &Content| match content {
        Content::Status(_) => 's',
        Content::Message(_) => 'm',
        Content::DeliveryTimestamp(_) => 't',
    };
    let kinds: String = received.contents.iter().map(kind).collect();
    assert_eq!(kinds, "smmt");
    let delivered = received.messages()[0];
    let system = delivered.system_properties.clone().expect("set");
    assert_eq!(delivered.body, system.message_id);
    assert_eq!(delivered.user_properties.get("colour").map(String::as_str), Some("red"));
    assert_eq!(delivered.topic, resource("orders"));
    assert_eq!(system.delivery_attempt, Some(1));
    assert_eq!(system.born_host, "host");
    assert_eq!(system.body_digest.expect("set").checksum.len(), 40);
}

#[tokio::test]
async fn pitfall_24_and_32_nothing_is_message_not_found_and_comes_after_the_poll_time() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let began = Instant::now();
    let received = client.receive(receive(32, Duration::from_secs(1))).await;
    assert_eq!(received.code(), Code::MessageNotFound);
    assert!(received.messages().is_empty());
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn pitfall_32_refusals_are_held_back() {
    let world = World::start().await;
    let client = world.client("c").await;
    let began = Instant::now();
    let refused = client.receive(v2::ReceiveMessageRequest { group: None, ..receive(1, Duration::ZERO) }).await;
    assert_eq!(refused.code(), Code::IllegalConsumerGroup);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
}

#[tokio::test]
async fn pitfall_33_batch_size_is_an_upper_bound() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    client.send_ok((0..100).map(|i| message(&format!("id-{i}"))).collect()).await;
    for (asked, most) in [(1, 1), (3, 3), (0, 1), (-5, 1), (1000, 32)] {
        let received = client.receive(receive(asked, Duration::from_secs(5))).await;
        assert_eq!(received.code(), Code::Ok);
        assert!(received.messages().len() <= most, "asked for {asked}, got {}", received.messages().len());
    }
}

#[tokio::test]
async fn a_message_wakes_a_waiting_receive() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let waiting = client.receive(receive(1, Duration::from_secs(20)));
    let (received, _) = tokio::join!(waiting, client.send_ok(vec![message("a")]));
    assert_eq!(message_id(received.messages()[0]), "a");
}

#[tokio::test]
async fn pitfall_18_the_answer_comes_before_the_clients_deadline() {
    let world = World::start().await;
    let client = consumer(&world, "rust").await;
    let mut request = client.request(receive(1, Duration::from_secs(2)));
    request.set_timeout(Duration::from_secs(2));
    let mut stream = client.service.clone().receive_message(request).await.expect("no deadline passed").into_inner();
    let first = stream.message().await.expect("no deadline passed").expect("a status").content;
    assert!(matches!(first, Some(Content::Status(status)) if status.code() == Code::MessageNotFound));
}

#[tokio::test]
async fn pitfall_19_a_short_poll_is_honoured() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let mut request = client.request(receive(1, Duration::from_secs(1)));
    request.set_timeout(Duration::from_secs(4));
    let mut stream = client.service.clone().receive_message(request).await.expect("gRPC OK").into_inner();
    let first = stream.message().await.expect("gRPC OK").expect("a status").content;
    assert!(matches!(first, Some(Content::Status(status)) if status.code() == Code::MessageNotFound));
}

#[tokio::test]
async fn pitfall_20_messages_of_a_cancelled_receive_come_again_at_once() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    // The client is gone while it waits: whatever comes then is for others.
    let waiting = client.receive(receive(1, Duration::from_secs(20)));
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    client.send_ok(vec![message("a")]).await;
    let other = world.client("other").await;
    let received = tokio::time::timeout(SOON, other.receive(receive(1, Duration::from_secs(20)))).await.expect("soon");
    assert_eq!(message_id(received.messages()[0]), "a");
}

#[tokio::test]
async fn pitfall_20_messages_of_an_answer_that_nobody_reads_come_again_at_once() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let large = |i: i32| v2::Message { body: vec![7; 256 * 1024].into(), ..message(&format!("id-{i}")) };
    client.send_ok((0..8).map(large).collect()).await;
    // The window is full long before the last message, so the client drops the call in the middle.
    let small = world.server.endpoint().initial_stream_window_size(70_000);
    let mut service = MessagingServiceClient::new(small.connect().await.expect("connected"));
    let request = client.request(receive(8, Duration::from_secs(5)));
    let mut stream = service.receive_message(request).await.expect("gRPC OK").into_inner();
    assert!(stream.message().await.expect("gRPC OK").is_some(), "the answer has begun");
    drop(stream);
    let mut seen = 0;
    while seen < 8 {
        let received = client.receive(receive(8, Duration::from_secs(10))).await;
        assert_eq!(received.code(), Code::Ok, "all 8 are free again, {seen} came");
        seen += received.messages().len();
    }
}

#[tokio::test]
async fn tag_filters_decide_what_comes() {
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    let tagged = |id: &str, tag: &str| crate::support::message_with(id, |system| system.tag = Some(tag.to_owned()));
    client.send_ok(vec![tagged("a", "x"), tagged("b", "y"), tagged("c", "z")]).await;
    let expression = v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression: "x || z".to_owned() };
    let filtered =
        v2::ReceiveMessageRequest { filter_expression: Some(expression), ..receive(32, Duration::from_secs(5)) };
    let received = client.receive(filtered).await;
    assert_eq!(received.messages().into_iter().map(message_id).collect::<Vec<_>>(), ["a", "c"]);
}

#[tokio::test]
async fn pulls_lease_nothing_and_say_where_to_go_on() {
    use grpc::v2::pull_message_response::Content;
    let world = World::start().await;
    let client = consumer(&world, "c").await;
    client.send_ok(vec![message("a"), message("b")]).await;
    let received = client.receive(receive(2, Duration::from_secs(5))).await;
    let queue = received.messages()[0].system_properties.as_ref().expect("set").queue_id;
    let pull = |offset| {
        let message_queue = v2::MessageQueue { topic: resource("orders"), id: queue, ..v2::MessageQueue::default() };
        let request = v2::PullMessageRequest {
            group: resource("pullers"),
            message_queue: Some(message_queue),
            offset,
            batch_size: 32,
            ..v2::PullMessageRequest::default()
        };
        let (mut service, request) = (client.service.clone(), client.request(request));
        async move {
            let mut stream = service.pull_message(request).await.expect("gRPC OK").into_inner();
            let mut contents = Vec::new();
            while let Some(frame) = stream.message().await.expect("gRPC OK") {
                contents.push(frame.content.expect("set"));
            }
            contents
        }
    };
    for _ in 0..2 {
        let contents = pull(0).await;
        assert!(matches!(&contents[0], Content::Status(status) if status.code() == Code::Ok));
        assert!(matches!(&contents[1], Content::Message(message) if message_id(message) == "a"));
        assert!(matches!(&contents[2], Content::Message(message) if message_id(message) == "b"));
        assert_eq!(contents[3], Content::NextOffset(2));
    }
    let beyond = pull(99).await;
    assert!(matches!(&beyond[0], Content::Status(status) if status.code() == Code::IllegalOffset), "{beyond:?}");
}
