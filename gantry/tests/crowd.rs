//! Many connections that do nothing, in a process of their own because each end of one is an open file.

#![allow(clippy::disallowed_methods, reason = "drives a real process in real time, above every seam of env")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use grpc::v2;
use grpc::v2::messaging_service_client::MessagingServiceClient;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use support::{Server, folder};

const CONNECTIONS: u64 = 10_000;
/// Most anonymous memory that an idle connection may cost; a debug build takes about 21 KiB.
const CONNECTION_KIB_MAX: u64 = 48;
/// The HTTP/2 preface and an empty SETTINGS frame. Source: RFC 9113 §3.4.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const FRAME_HEAD_BYTES: usize = 9;

#[test]
fn ten_thousand_idle_connections_cost_little_and_others_are_served() {
    allow_open_files(CONNECTIONS + 200);
    let folder = folder();
    let server = Server::start(folder.path());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut client = runtime.block_on(Client::connect(server.grpc));
    // The group begins at the end of the topic, so it has to be there first.
    runtime.block_on(client.receive());
    runtime.block_on(client.send());
    let before = anonymous_kib(&server);

    let idle: Vec<TcpStream> = (0..CONNECTIONS).map(|_| greeted(server.grpc)).collect();
    let grown = anonymous_kib(&server).saturating_sub(before);
    assert!(grown <= CONNECTIONS * CONNECTION_KIB_MAX, "{grown} KiB for {CONNECTIONS} connections");
    assert_eq!(server.get("/readyz").1, "ready\n");
    assert_eq!(runtime.block_on(client.receive()), 1, "what was sent before they came");
    runtime.block_on(client.send());
    assert_eq!(runtime.block_on(client.receive()), 1, "what was sent beside them");

    drop(idle);
    let mut late = runtime.block_on(Client::connect(server.grpc));
    runtime.block_on(late.send());
    assert_eq!(runtime.block_on(client.receive()), 1, "what was sent after they went");
}

/// This process and the servers that it starts may open as many files.
fn allow_open_files(files: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(
        maximum.is_none_or(|maximum| maximum >= files),
        "needs {files} open files, `ulimit -Hn` allows {maximum:?}"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the maximum anyone may");
}

/// A connection that the server has answered on.
fn greeted(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.write_all(GREETING).expect("taken");
    stream.read_exact(&mut [0; FRAME_HEAD_BYTES]).expect("the server's settings");
    stream
}

fn anonymous_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).expect("running");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Somebody who works.
struct Client(MessagingServiceClient<Channel>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
        Self(MessagingServiceClient::new(endpoint.connect().await.expect("served")))
    }

    async fn send(&mut self) {
        let system_properties = v2::SystemProperties { message_id: "id".into(), ..Default::default() };
        let message = v2::Message {
            topic: Some(resource("orders")),
            system_properties: Some(system_properties),
            body: bytes::Bytes::from_static(b"hello"),
            ..Default::default()
        };
        let request = v2::SendMessageRequest { messages: vec![message] };
        let sent = self.0.send_message(with_headers(request)).await.expect("answered").into_inner();
        assert_eq!(sent.status.expect("set").code(), v2::Code::Ok);
    }

    /// Receives what is there and returns how much it was.
    async fn receive(&mut self) -> usize {
        let request = v2::ReceiveMessageRequest {
            group: Some(resource("workers")),
            message_queue: Some(v2::MessageQueue { topic: Some(resource("orders")), ..Default::default() }),
            batch_size: 32,
            invisible_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        };
        let mut frames = self.0.receive_message(with_headers(request)).await.expect("answered").into_inner();
        let mut messages = 0;
        while let Some(frame) = frames.message().await.expect("whole") {
            messages += usize::from(matches!(frame.content, Some(v2::receive_message_response::Content::Message(_))));
        }
        messages
    }
}

fn with_headers<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-mq-client-id", "crowd".parse().expect("ASCII"));
    request.metadata_mut().insert("grpc-timeout", "10S".parse().expect("ASCII"));
    request
}

fn resource(name: &str) -> v2::Resource {
    v2::Resource { resource_namespace: String::new(), name: name.to_owned() }
}
