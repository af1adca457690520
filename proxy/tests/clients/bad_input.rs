//! What must not stop the server from serving others.

use std::time::Duration;

use grpc::v2;
use grpc::v2::Code;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use proxy::options::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{SOON, World, consumer, message, receive};

async fn limited(change: impl FnOnce(&mut ConnectionLimits)) -> World {
    let mut options = proxy::Options::default();
    change(&mut options.connections);
    World::with(options, |_| {}).await
}

#[tokio::test]
async fn random_bytes_are_closed_and_others_served() {
    let world = World::start().await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..64 {
        let bytes = proptest::collection::vec(any::<u8>(), 24..512).new_tree(&mut runner).expect("bytes").current();
        let mut stream = TcpStream::connect(world.server.address).await.expect("connected");
        let _ = stream.write_all(&bytes).await;
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {bytes:?}");
    }
    world.client("p").await.send_ok(vec![message("a")]).await;
}

#[tokio::test]
async fn random_frames_after_the_preface_are_survived() {
    let world = World::start().await;
    let mut runner = TestRunner::deterministic();
    for _ in 0..64 {
        let bytes = proptest::collection::vec(any::<u8>(), 1..512).new_tree(&mut runner).expect("bytes").current();
        let mut stream = TcpStream::connect(world.server.address).await.expect("connected");
        let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let _ = stream.write_all(&bytes).await;
    }
    world.client("p").await.send_ok(vec![message("a")]).await;
}

#[tokio::test]
async fn half_open_connections_are_closed_in_time() {
    let world = limited(|limits| limits.handshake_timeout = Duration::from_millis(200)).await;
    for begin in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"\x16\x03"] {
        let mut stream = TcpStream::connect(world.server.address).await.expect("connected");
        stream.write_all(begin).await.expect("written");
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {begin:?}");
    }
}

#[tokio::test]
async fn half_open_connections_do_not_hold_up_the_end() {
    let world = World::start().await;
    let _silent = TcpStream::connect(world.server.address).await.expect("connected");
    // It was accepted before this one, which is served.
    world.client("p").await.send_ok(vec![message("a")]).await;
    world.server.shutdown.cancel();
    let long_before_the_handshake_timeout = Duration::from_secs(5);
    tokio::time::timeout(long_before_the_handshake_timeout, world.server.task).await.expect("soon").expect("no panic");
}

#[tokio::test]
async fn connections_over_the_bound_are_closed_at_once() {
    let world = limited(|limits| limits.connections_max = 1).await;
    let client = world.client("p").await;
    client.send_ok(vec![message("a")]).await;
    let mut second = TcpStream::connect(world.server.address).await.expect("connected");
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(SOON, second.read_to_end(&mut rest)).await.expect("closed");
    assert!(matches!(closed, Ok(0) | Err(_)));
    client.send_ok(vec![message("b")]).await;
}

#[tokio::test]
async fn oversize_requests_are_refused_and_the_connection_lives() {
    let world = limited(|limits| limits.inbound_message_bytes_max = 64 * 1024).await;
    let client = world.client("p").await;
    let large = v2::Message { body: vec![7; 65 * 1024].into(), ..message("a") };
    let request = client.request(v2::SendMessageRequest { messages: vec![large] });
    let refused = client.service.clone().send_message(request).await.expect_err("too large");
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused}");
    client.send_ok(vec![message("b")]).await;
}

#[tokio::test]
async fn requests_under_way_are_bounded_together() {
    let world = limited(|limits| limits.inbound_bytes_max = 100 * 1024).await;
    let client = world.client("p").await;
    let large = v2::Message { body: vec![7; 200 * 1024].into(), ..message("a") };
    let request = client.request(v2::SendMessageRequest { messages: vec![large] });
    let refused = client.service.clone().send_message(request).await.expect_err("too much at once");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused}");
    client.send_ok(vec![message("b")]).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_no_more() {
    let world = limited(|limits| limits.undelivered_bytes_max = 1024 * 1024).await;
    let reader = consumer(&world, "reader").await;
    let large = |i: i32| v2::Message { body: vec![7; 512 * 1024].into(), ..message(&format!("id-{i}")) };
    for round in 0..2 {
        reader.send_ok((0..4).map(|i| large(4 * round + i)).collect()).await;
    }
    // A client that reads nothing of the call: its window stays full.
    let endpoint =
        world.server.endpoint().initial_stream_window_size(70_000).initial_connection_window_size(10_000_000);
    let mut deaf = world.client("deaf").await;
    deaf.service = MessagingServiceClient::new(endpoint.connect().await.expect("connected"));
    let request = deaf.request(receive(4, Duration::from_secs(5)));
    let unread = deaf.service.clone().receive_message(request).await.expect("begins");
    let refused = deaf.receive(receive(4, Duration::from_secs(5))).await;
    assert_eq!(refused.code(), Code::TooManyRequests);
    let served = reader.receive(receive(4, Duration::from_secs(5))).await;
    assert_eq!(served.code(), Code::Ok, "others are served");
    drop(unread);
}

#[tokio::test]
async fn unknown_services_and_methods_are_unimplemented() {
    let world = World::start().await;
    let channel = world.server.endpoint().connect().await.expect("connected");
    let mut admin = grpc::v2::admin_client::AdminClient::new(channel);
    let stats = admin.get_proxy_runtime_stats(v2::GetProxyRuntimeStatsRequest {}).await;
    assert_eq!(stats.expect_err("not served").code(), tonic::Code::Unimplemented);
}
