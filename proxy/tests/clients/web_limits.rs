//! What a client of HTTP/1.1 on the gRPC port can hold, and for how long.

use std::time::Duration;

use proxy::Options;
use proxy::options::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{SOON, World};

const HEAD: &str = "POST /apache.rocketmq.v2.MessagingService/SendMessage HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/grpc-web+proto\r\n";

/// All that is answered to these bytes until the server closes.
async fn answer(world: &World, sent: &str) -> String {
    let mut stream = TcpStream::connect(world.server.address).await.expect("connected");
    stream.write_all(sent.as_bytes()).await.expect("open");
    let mut answer = Vec::new();
    // A close may tell that not all was read; what was answered before is here.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn world(keepalive_timeout: Duration) -> World {
    let connections = ConnectionLimits { keepalive_timeout, ..ConnectionLimits::default() };
    let web = "https://app.example.org".parse().expect("an origin");
    World::with(Options { web, connections, ..Options::default() }, |_| {}).await
}

#[tokio::test]
async fn a_call_whose_body_stops_in_the_middle_is_ended_with_its_connection() {
    let world = world(Duration::from_millis(50)).await;
    let answer = answer(&world, &format!("{HEAD}content-length: 1000\r\n\r\nfive!")).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("grpc-status:0"), "{answer}");
}

#[tokio::test]
async fn headers_of_a_call_are_bounded() {
    let world = world(SOON).await;
    let answer = answer(&world, &format!("{HEAD}filler: {}\r\n\r\n", "x".repeat(32 * 1024))).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}
