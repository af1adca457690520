//! Many connections that do nothing, in a process of their own because each end of one is an open file.

#![allow(clippy::disallowed_methods, reason = "drives a real process in real time, above every seam of env")]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use support::client::Client;
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
    runtime.block_on(client.send("hello"));
    let before = anonymous_kib(&server);

    let idle: Vec<TcpStream> = (0..CONNECTIONS).map(|_| greeted(server.grpc)).collect();
    let grown = anonymous_kib(&server).saturating_sub(before);
    assert!(grown <= CONNECTIONS * CONNECTION_KIB_MAX, "{grown} KiB for {CONNECTIONS} connections");
    assert_eq!(server.get("/readyz").1, "ready\n");
    assert_eq!(runtime.block_on(client.receive()), 1, "what was sent before they came");
    runtime.block_on(client.send("hello"));
    assert_eq!(runtime.block_on(client.receive()), 1, "what was sent beside them");

    drop(idle);
    let mut late = runtime.block_on(Client::connect(server.grpc));
    runtime.block_on(late.send("hello"));
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
