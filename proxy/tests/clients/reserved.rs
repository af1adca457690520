//! Names that gateways keep for themselves.

use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;
use grpc::v2::receive_message_response::Content;
use grpc::v2::telemetry_command::Command;
use types::{Admin as _, Broker as _, TopicName};

use crate::support::{GROUP, TOPIC, World, consumer_settings, message, producer_settings, receive, resource};

const NAME: &str = "gantry_sys_webhooks";
const RULE: &str = "names that begin with gantry_sys_ are Gantry's own";

fn check(what: &str, status: Option<&v2::Status>, code: Code) {
    let status = status.unwrap_or_else(|| panic!("{what}: no status"));
    assert_eq!(status.code(), code, "{what}: {status:?}");
    assert!(status.message.ends_with(RULE), "{what}: {status:?}");
}

fn receive_from(topic: &str, group: &str) -> v2::ReceiveMessageRequest {
    let request = receive(1, Duration::from_millis(1));
    let message_queue = request.message_queue.map(|queue| v2::MessageQueue { topic: resource(topic), ..queue });
    v2::ReceiveMessageRequest { group: resource(group), message_queue, ..request }
}

#[tokio::test]
async fn topics_and_groups_of_gateways_are_refused_by_their_rule() {
    let world = World::start().await;
    let shared = TopicName::new(NAME).expect("valid");
    world.broker.shared_topic(&shared, true).await.expect("a gateway makes it");
    let client = world.client("c").await;
    let mut service = client.service.clone();

    let route = client.request(v2::QueryRouteRequest { topic: resource(NAME), endpoints: None });
    let route = service.query_route(route).await.expect("gRPC OK").into_inner();
    check("query route", route.status.as_ref(), Code::IllegalTopic);

    let sent = client.send(vec![v2::Message { topic: resource(NAME), ..message("a") }]).await;
    check("send", sent.status.as_ref(), Code::IllegalTopic);

    for (topic, group, code) in [(NAME, GROUP, Code::IllegalTopic), (TOPIC, NAME, Code::IllegalConsumerGroup)] {
        let received = client.receive(receive_from(topic, group)).await;
        let Some(Content::Status(status)) = received.contents.first() else { panic!("{received:?}") };
        check("receive", Some(status), code);
        let assignment = client.request(v2::QueryAssignmentRequest {
            topic: resource(topic),
            group: resource(group),
            endpoints: None,
        });
        let assignment = service.query_assignment(assignment).await.expect("gRPC OK").into_inner();
        check("query assignment", assignment.status.as_ref(), code);
    }

    for (settings, code) in
        [(producer_settings(&[NAME]), Code::IllegalTopic), (consumer_settings(NAME), Code::IllegalConsumerGroup)]
    {
        let mut telemetry = client.telemetry().await;
        telemetry.say(Command::Settings(settings)).await;
        check("settings", telemetry.next().await.status.as_ref(), code);
    }

    let queues = world.broker.describe_topic(&shared).await.expect("there").queues;
    assert!(queues.iter().all(|(first, end)| first == end), "nothing was stored");
}
