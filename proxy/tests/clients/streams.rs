//! Connections and headers (facts/grpc.md §19.3, §19.8).

use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::{World, code, message, receive, resource};

#[tokio::test]
async fn pitfall_21_frequent_pings_are_answered() {
    let world = World::start().await;
    let endpoint = world.server.endpoint();
    let often = Duration::from_millis(10);
    let pinging = endpoint.http2_keep_alive_interval(often).keep_alive_while_idle(true);
    let mut client = world.client("cpp").await;
    client.service = MessagingServiceClient::new(pinging.connect().await.expect("connected"));
    let received = client.receive(receive(1, Duration::from_secs(1))).await;
    assert_eq!(received.code(), Code::MessageNotFound, "a hundred pings later the connection is there");
    assert_eq!(code(&client.heartbeat(v2::ClientType::PushConsumer).await.status), Code::Ok);
}

#[tokio::test]
async fn pitfall_48_and_50_authorization_is_ignored_without_authentication() {
    let world = World::start().await;
    let client = world.client("python").await;
    let mut request = client.request(v2::SendMessageRequest { messages: vec![message("a")] });
    let header = "MQv2-HMAC-SHA1 Credential=, SignedHeaders=x-mq-date-time, Signature=00";
    request.metadata_mut().insert("authorization", header.parse().expect("a header"));
    request.metadata_mut().insert("x-mq-date-time", "not a time".parse().expect("a header"));
    let sent = client.service.clone().send_message(request).await.expect("gRPC OK").into_inner();
    assert_eq!(code(&sent.status), Code::Ok);
}

#[tokio::test]
async fn calls_without_a_client_id_are_refused() {
    let world = World::start().await;
    let mut service = world.client("unused").await.service;
    let sent = service.send_message(v2::SendMessageRequest { messages: vec![message("a")] }).await.expect("gRPC OK");
    assert_eq!(code(&sent.into_inner().status), Code::ClientIdRequired);
    let route = service.query_route(v2::QueryRouteRequest { topic: resource("orders"), endpoints: None }).await;
    assert_eq!(code(&route.expect("gRPC OK").into_inner().status), Code::ClientIdRequired);
}

#[tokio::test]
async fn health_says_serving() {
    let world = World::start().await;
    let channel = world.server.endpoint().connect().await.expect("connected");
    for service in ["", "apache.rocketmq.v2.MessagingService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        let response = HealthClient::new(channel.clone()).check(request).await.expect("known").into_inner();
        assert_eq!(response.status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn reflection_lists_the_messaging_service() {
    let world = World::start().await;
    let channel = world.server.endpoint().connect().await.expect("connected");
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let mut responses =
        ServerReflectionClient::new(channel).server_reflection_info(requests).await.expect("there").into_inner();
    let response = responses.message().await.expect("no error").expect("one").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = response else { panic!("{response:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    assert!(names.iter().any(|name| name == "apache.rocketmq.v2.MessagingService"), "{names:?}");
}
