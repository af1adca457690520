//! gRPC-web as browsers speak it: HTTP/1.1, one call at a time, trailers in the body, and a question before (CORS).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes};
use grpc::v2;
use grpc::v2::Code;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{GROUP, Received, SOON, TOPIC, World, code, consumer, handle, message, receive, resource};

const APP: &str = "https://app.example.org";
const MESSAGING: &str = "/apache.rocketmq.v2.MessagingService";
const WEB: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";
/// Marks the trailers in a body. Source: gRPC's `PROTOCOL-WEB.md`.
const TRAILERS: u8 = 0x80;

async fn world() -> World {
    World::with(proxy::Options { web: APP.parse().expect("an origin"), ..proxy::Options::default() }, |_| {}).await
}

/// What a page got.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The messages and the trailers of a body.
    fn parts(&self) -> (Vec<Bytes>, String) {
        let (mut body, mut messages) = (self.body.clone(), Vec::new());
        while body.has_remaining() {
            let (flag, length) = (body.get_u8(), body.get_u32() as usize);
            let part = body.split_to(length);
            if flag == TRAILERS {
                assert!(body.is_empty(), "trailers come last");
                return (messages, String::from_utf8(part.to_vec()).expect("text"));
            }
            messages.push(part);
        }
        panic!("no trailers: {self:?}");
    }

    /// The messages of a call that succeeded.
    fn messages<T: Message + Default>(&self) -> Vec<T> {
        let (messages, trailers) = self.parts();
        assert!(trailers.contains("grpc-status:0"), "{trailers}");
        messages.into_iter().map(|message| T::decode(message).expect("a message")).collect()
    }

    fn one<T: Message + Default>(&self) -> T {
        self.messages().pop().expect("an answer")
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// A page's connection.
struct Page(hyper::client::conn::http1::SendRequest<Full<Bytes>>, String);

impl Page {
    async fn open(world: &World) -> Self {
        let stream = TcpStream::connect(world.server.address).await.expect("connected");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self(sender, world.server.address.to_string())
    }

    async fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", &self.1);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::new(body)).expect("valid");
        let answer =
            tokio::time::timeout(SOON, self.0.send_request(request)).await.expect("in time").expect("answered");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("whole").to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn call(&mut self, method: &str, message: &impl Message) -> Answer {
        let headers = [("content-type", WEB), ("origin", APP), ("x-mq-client-id", "page"), ("x-grpc-web", "1")];
        self.ask(Method::POST, &format!("{MESSAGING}/{method}"), &headers, framed(message)).await
    }
}

fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut framed = vec![0];
    framed.put_u32(u32::try_from(bytes.len()).expect("short"));
    framed.extend(bytes);
    framed.into()
}

#[tokio::test]
async fn a_page_sends_receives_and_acknowledges_beside_other_clients() {
    let world = world().await;
    let client = consumer(&world, "go").await;
    let mut page = Page::open(&world).await;
    let query = v2::QueryRouteRequest { topic: resource(TOPIC), endpoints: None };
    let route: v2::QueryRouteResponse = page.call("QueryRoute", &query).await.one();
    let broker = route.message_queues[0].broker.clone().expect("set");
    let address = &broker.endpoints.expect("set").addresses[0];
    assert_eq!(format!("{}:{}", address.host, address.port), world.server.address.to_string(), "as it was dialled");

    let sent = page.call("SendMessage", &v2::SendMessageRequest { messages: vec![message("of a page")] }).await;
    assert_eq!((sent.status, sent.header("content-type")), (200, WEB));
    let sent: v2::SendMessageResponse = sent.one();
    assert_eq!(code(&sent.status), Code::Ok, "{sent:?}");
    client.send_ok(vec![message("of a client")]).await;
    let mut received = Vec::new();
    while received.len() < 2 {
        let contents = page.call("ReceiveMessage", &receive(16, SOON)).await.messages::<v2::ReceiveMessageResponse>();
        let contents = contents.into_iter().map(|frame| frame.content.expect("set")).collect();
        received.extend(Received { contents }.messages().into_iter().cloned());
    }
    let mut bodies: Vec<_> = received.iter().map(|message| message.body.clone()).collect();
    bodies.sort();
    assert_eq!(bodies, ["of a client", "of a page"]);
    for message in &received {
        let entry = v2::AckMessageEntry {
            message_id: "id".to_owned(),
            receipt_handle: handle(message).to_owned(),
            lite_topic: None,
        };
        let request = v2::AckMessageRequest { group: resource(GROUP), topic: resource(TOPIC), entries: vec![entry] };
        let acked: v2::AckMessageResponse = page.call("AckMessage", &request).await.one();
        assert_eq!(code(&acked.status), Code::Ok, "{acked:?}");
    }
    assert_eq!(world.broker.status().in_flight, 0);
}

#[tokio::test]
async fn bodies_may_be_text() {
    let world = world().await;
    let mut page = Page::open(&world).await;
    let headers = [("content-type", TEXT), ("accept", TEXT), ("x-mq-client-id", "page")];
    let body = STANDARD.encode(framed(&v2::SendMessageRequest { messages: vec![message("text")] }));
    let answer = page.ask(Method::POST, &format!("{MESSAGING}/SendMessage"), &headers, body.into()).await;
    // Each part of an answer is encoded by itself, so what fills one up may stand in the middle.
    let bytes: Vec<u8> = answer.body.chunks(4).flat_map(|four| STANDARD.decode(four).expect("Base64")).collect();
    let answer = Answer { body: bytes.into(), ..answer };
    assert_eq!(code(&answer.one::<v2::SendMessageResponse>().status), Code::Ok);
}

#[tokio::test]
async fn only_pages_of_the_origin_are_let_in() {
    let world = world().await;
    let mut page = Page::open(&world).await;
    let path = format!("{MESSAGING}/SendMessage");
    for (origin, allowed) in [(APP, APP), ("https://other.example.org", "")] {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-grpc-web,x-mq-client-id"),
        ];
        let asked = page.ask(Method::OPTIONS, &path, &headers, Bytes::new()).await;
        assert_eq!((asked.status, asked.header("access-control-allow-origin")), (200, allowed));
    }
    // A refusal comes in headers, which the page may read.
    let unknown = page.call("NoSuchMethod", &v2::SendMessageRequest::default()).await;
    assert_eq!((unknown.status, unknown.header("grpc-status")), (200, "12"));
    assert_eq!(unknown.header("access-control-expose-headers"), "*");
    let call = framed(&v2::SendMessageRequest { messages: vec![message("x")] });
    let headers = [("content-type", WEB), ("x-mq-client-id", "page"), ("origin", "https://other.example.org")];
    assert_eq!(page.ask(Method::POST, &path, &headers, call.clone()).await.status, 403);
    // What a page may send without asking before is not taken, and gRPC itself needs HTTP/2.
    for media_type in ["text/plain", "application/grpc"] {
        let answer = page.ask(Method::POST, &path, &[("content-type", media_type)], call.clone()).await;
        assert_eq!(answer.status, 400, "{media_type}");
    }
    assert_eq!(world.broker.status().messages_in, 0, "nothing was stored");
}

#[tokio::test]
async fn a_stop_waits_for_the_call_that_is_open() {
    let world = world().await;
    drop(consumer(&world, "c").await);
    // Its wait is over, whether the broker has noticed it or not.
    while world.broker.status().waiting > 0 {
        tokio::task::yield_now().await;
    }
    let mut page = Page::open(&world).await;
    let waiting = tokio::spawn(async move { page.call("ReceiveMessage", &receive(1, SOON)).await });
    while world.broker.status().waiting == 0 {
        tokio::task::yield_now().await;
    }
    world.server.shutdown.cancel();
    let answer = waiting.await.expect("no panic");
    assert_eq!(answer.status, 200);
    assert!(answer.parts().1.contains("grpc-status:0"), "{answer:?}");
    tokio::time::timeout(SOON, world.server.task).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn without_an_origin_it_is_not_served() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.server.address).await.expect("connected");
    stream.write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("open");
    let mut answer = Vec::new();
    // Closed, with or without what was sent being read.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("closed");
    assert!(answer.is_empty(), "{answer:?}");
}
