//! Streams over WebSockets, with a client that is a bare socket: what it writes need not be right.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use types::{Admin as _, GroupConfig, GroupName};

use super::*;
use crate::Hosts;
use crate::server::{Door, serve};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LONG: Duration = Duration::from_secs(60);

/// A gateway's port.
struct Port {
    world: World,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Port {
    async fn start() -> Self {
        Self::with(16).await
    }

    async fn with(connections_max: usize) -> Self {
        let world = World::start();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let door = Door { routes: world.routes.clone(), tls: None, hosts: Hosts::Any, connections_max, drain: LONG };
        let serving = tokio::spawn(serve(listener, door, stop.clone()));
        Self { world, address, stop, serving }
    }

    async fn open(&self, query: &str) -> Client {
        let (head, client) = self.ask(query, "").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        // Source: RFC 6455, section 1.3.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        client
    }

    /// The head of the answer to a handshake with further headers, and the connection.
    async fn ask(&self, query: &str, headers: &str) -> (String, Client) {
        let mut stream = TcpStream::connect(self.address).await.expect("listening");
        let request = format!(
            "GET /v1/groups/g/stream?topic=orders{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("answered"));
        }
        (String::from_utf8(head).expect("text"), Client(stream))
    }
}

struct Client(TcpStream);

impl Client {
    async fn write(&mut self, frames: &[u8]) {
        self.0.write_all(frames).await.expect("open");
    }

    async fn say(&mut self, frame: Value) {
        self.write(&masked(TEXT, frame.to_string().as_bytes())).await;
    }

    /// The next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let opcode = self.0.read_u8().await.expect("a frame") & 15;
        let bytes = match self.0.read_u8().await.expect("its length") {
            126 => self.0.read_u16().await.expect("two more bytes").into(),
            127 => self.0.read_u64().await.expect("eight more bytes"),
            bytes => bytes.into(),
        };
        let mut payload = vec![0; usize::try_from(bytes).expect("it fits")];
        self.0.read_exact(&mut payload).await.expect("whole");
        (opcode, payload)
    }

    async fn next(&mut self) -> Value {
        let (opcode, payload) = self.frame().await;
        assert_eq!(opcode, TEXT, "{payload:?}");
        serde_json::from_slice(&payload).expect("JSON")
    }

    async fn message(&mut self) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["type"], "message", "{frame}");
        frame["message"].clone()
    }

    /// What a frame is answered that is said now.
    async fn ask(&mut self, frame: Value) -> Value {
        self.say(frame).await;
        let answer = self.next().await;
        assert_eq!(answer["type"], "answer", "{answer}");
        answer
    }

    /// The code that the socket is closed with; closes it too.
    async fn closed(&mut self) -> u16 {
        let (opcode, payload) = self.frame().await;
        assert_eq!(opcode, CLOSE, "{payload:?}");
        let code = *payload.first_chunk::<2>().expect("a code");
        // The other side may not read any longer.
        let _ = self.0.write_all(&masked(CLOSE, &code)).await;
        u16::from_be_bytes(code)
    }
}

/// A client's frame.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        bytes @ 0..126 => frame.push(0x80 | bytes as u8),
        bytes @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((bytes as u16).to_be_bytes());
        }
        bytes => {
            frame.push(0x80 | 127);
            frame.extend((bytes as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn problem(answer: &Value) -> (u64, &str) {
    let kind = answer["problem"]["type"].as_str().expect("a problem");
    (answer["status"].as_u64().expect("a status"), kind.strip_prefix("urn:gantry:problem:").expect("ours"))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_for_credits_and_are_finished_over_the_socket() {
    let port = Port::start().await;
    for body in ["1", "2", "3"] {
        port.world.send(&[("tag", "t")], body).await;
    }
    let mut client = port.open("&invisible=1h").await;
    let granted = client.ask(json!({"type": "credit", "credits": 2, "id": "a"})).await;
    assert_eq!(granted, json!({"type": "answer", "id": "a", "status": 200, "credits": 2}));
    let (first, second) = (client.message().await, client.message().await);
    assert_eq!((&first["tag"], &first["attempt"]), (&json!("t"), &json!(1)));
    let acked = client.ask(json!({"type": "ack", "id": "b", "handles": [first["handle"], "rubbish"]})).await;
    assert_eq!((&acked["id"], &acked["status"]), (&json!("b"), &json!(207)));
    assert_eq!(acked["results"][0], json!({"status": 200, "handle": first["handle"]}));
    assert_eq!(acked["results"][1]["problem"]["type"], "urn:gantry:problem:invalid-handle");
    let kept = client.ask(json!({"type": "extend", "handles": [second["handle"]], "invisible": "2h"})).await;
    let handle = kept["results"][0]["handle"].clone();
    assert_eq!((kept.get("id"), &kept["status"]), (None, &json!(200)));
    let again = client.ask(json!({"type": "nack", "handles": [handle], "countsAsAttempt": false})).await;
    assert_eq!(again["status"], 200);
    client.ask(json!({"type": "credit", "credits": 2})).await;
    let both = [client.message().await, client.message().await];
    assert!(both.iter().any(|message| message["messageId"] == second["messageId"]), "{both:?}");
    let given_up = client.ask(json!({"type": "dead-letter", "handles": [both[0]["handle"]]})).await;
    assert_eq!(given_up["status"], 200);
    let handles = json!({"topic": "orders", "handles": [both[1]["handle"]]});
    assert_eq!(port.world.post("/v1/groups/g/ack", handles).await.status, 200, "by any other way too");
    assert!(port.world.receive(16).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_written_when_a_socket_breaks_is_free_at_once() {
    let port = Port::start().await;
    let large: &'static str = "x".repeat(4_000_000).leak();
    for _ in 0..6 {
        port.world.send(&[], large).await;
    }
    let mut client = port.open("&credits=6&invisible=1h").await;
    // It takes nothing more, and then it is gone.
    client.0.read_u8().await.expect("the first byte");
    drop(client);
    let asked = json!({"topic": "orders", "wait": "20s"});
    let answer = port.world.post("/v1/groups/g/receive", asked).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["messages"][0]["attempt"], 1, "it was not delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_a_close_is_done() {
    let port = Port::start().await;
    port.world.send(&[], "1").await;
    let mut client = port.open("&credits=1&invisible=10s").await;
    let message = client.message().await;
    let ack = json!({"type": "ack", "handles": [message["handle"]]}).to_string();
    client.write(&[masked(TEXT, ack.as_bytes()), masked(CLOSE, &1000_u16.to_be_bytes())].concat()).await;
    while client.frame().await.0 != CLOSE {}
    port.stop.cancel();
    port.serving.await.expect("the stop waits for the work");
    let late = json!({"topic": "orders", "handles": [message["handle"]]});
    let nacked = port.world.post("/v1/groups/g/nack", late).await;
    assert_eq!((nacked.status, port.world.receive(1).await.len()), (410, 0), "it is finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_are_answered_and_the_socket_goes_on() {
    let port = Port::start().await;
    let mut client = port.open("").await;
    for (frame, status, kind) in [
        (json!([]), 422, "invalid-body"),
        (json!({"type": "send"}), 422, "invalid-body"),
        (json!({"type": "credit", "credits": 1, "colour": "red"}), 422, "invalid-body"),
        (json!({"type": "credit", "credits": 0}), 400, "invalid-request"),
        (json!({"type": "credit", "credits": 4097}), 400, "invalid-request"),
        (json!({"type": "ack", "handles": []}), 400, "invalid-request"),
        (json!({"type": "ack", "handles": vec!["h"; 1025]}), 400, "invalid-request"),
        (json!({"type": "nack", "handles": ["h"], "delay": "soon"}), 400, "invalid-request"),
        (json!({"type": "extend", "handles": ["h"]}), 422, "invalid-body"),
    ] {
        let answer = client.ask(frame.clone()).await;
        assert_eq!(problem(&answer), (status, kind), "{frame}");
    }
    client.write(&masked(TEXT, b"{")).await;
    assert_eq!(problem(&client.next().await), (400, "invalid-body"));
    client.write(&masked(BINARY, b"{}")).await;
    assert_eq!(problem(&client.next().await), (400, "invalid-request"));
    client.write(&masked(PING, b"here")).await;
    assert_eq!(client.frame().await, (PONG, b"here".to_vec()));
    let full = client.ask(json!({"type": "credit", "credits": 4096})).await;
    assert_eq!(full["credits"], 4096);
    let more = client.ask(json!({"type": "credit", "credits": 1, "id": "x"})).await;
    assert_eq!((problem(&more), &more["id"]), ((400, "invalid-request"), &json!("x")));
}

#[tokio::test]
async fn frames_beyond_those_that_are_worked_on_are_refused() {
    let port = Port::start().await;
    let mut client = port.open("").await;
    let frame = |id: usize| json!({"type": "ack", "handles": ["h"], "id": id.to_string()}).to_string();
    let frames: Vec<u8> = (0..18).flat_map(|id| masked(TEXT, frame(id).as_bytes())).collect();
    client.write(&frames).await;
    let mut refused = Vec::new();
    for _ in 0..18 {
        let answer = client.next().await;
        if answer["status"] == 429 {
            refused.push(answer["id"].as_str().expect("an id").to_owned());
        }
    }
    assert_eq!(refused, ["16", "17"]);
    assert_eq!(client.ask(serde_json::from_str(&frame(18)).expect("JSON")).await["status"], 400, "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_closes_the_socket_with_the_reason() {
    let port = Port::start().await;
    let unmasked = [vec![0x80 | TEXT, 2], b"{}".to_vec()].concat();
    for (frames, code) in [
        (masked(TEXT, &vec![b' '; 64 * 1024 + 1]), 1009),
        (unmasked, 1002),
        (masked(TEXT, b"\xff"), 1007),
        (masked(3, b""), 1002),
    ] {
        let mut client = port.open("").await;
        client.write(&frames).await;
        assert_eq!(client.closed().await, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_received_is_said_and_closes_the_socket() {
    let port = Port::start().await;
    let group = GroupName::new("g").expect("valid");
    let config = GroupConfig { is_enabled: false, ..GroupConfig::new(group) };
    port.world.broker.put_group(config, false).await.expect("made");
    port.world.send(&[], "1").await;
    let mut client = port.open("").await;
    client.ask(json!({"type": "credit", "credits": 1})).await;
    let said = client.next().await;
    assert_eq!(said["type"], "problem");
    assert_eq!(said["problem"]["type"], "urn:gantry:problem:group-disabled");
    assert_eq!(client.closed().await, 1011);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_handshakes_are_refused() {
    let port = Port::start().await;
    for (query, headers, status, kind) in [
        ("", "Origin: https://evil.example\r\n", 403, "cross-site"),
        ("", "Sec-Fetch-Site: cross-site\r\n", 403, "cross-site"),
        ("&credits=4097", "", 400, "invalid-request"),
        ("&wait=1s", "", 400, "invalid-request"),
    ] {
        let (head, mut client) = port.ask(query, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{headers} {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("its length");
        let mut body = vec![0; length.parse().expect("a number")];
        client.0.read_exact(&mut body).await.expect("whole");
        assert!(String::from_utf8_lossy(&body).contains(kind), "{head}");
    }
    let own = format!("Origin: http://{}\r\n", port.address);
    assert!(port.ask("", &own).await.0.starts_with("HTTP/1.1 101"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_closes_and_waits() {
    let port = Port::start().await;
    let mut client = port.open("&credits=1").await;
    port.stop.cancel();
    let refused = async { while TcpStream::connect(port.address).await.is_ok() {} };
    refused.await;
    assert!(!port.serving.is_finished(), "a socket is open");
    port.world.send(&[], "late").await;
    assert_eq!(client.message().await["body"], "late");
    port.world.draining.cancel();
    assert_eq!(client.closed().await, 1001);
    port.serving.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_socket_keeps_its_connections_place() {
    let port = Port::with(1).await;
    let mut client = port.open("").await;
    let waiting = async {
        let (head, _) = port.ask("", "").await;
        head
    };
    tokio::pin!(waiting);
    tokio::select! {
        head = &mut waiting => panic!("there is one place: {head}"),
        answer = client.ask(json!({"type": "credit", "credits": 1})) => assert_eq!(answer["status"], 200),
    }
    drop(client);
    assert!(waiting.await.starts_with("HTTP/1.1 101"));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_cut_off_and_one_that_does_is_not() {
    let port = Port::start().await;
    let (mut silent, mut alive) = (port.open("").await, port.open("").await);
    tokio::time::pause();
    let silent = async {
        assert_eq!([silent.frame().await.0, silent.frame().await.0], [PING, PING]);
        silent.closed().await
    };
    let alive = async {
        for _ in 0..4 {
            assert_eq!(alive.frame().await.0, PING);
            alive.write(&masked(PONG, b"")).await;
        }
    };
    assert_eq!(tokio::join!(silent, alive).0, 1008);
}
