//! The port with clients that are bare sockets, speak TLS, or take nothing of what they asked for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt;
use remoting::tls::Identity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn door(routes: Router) -> Door<Router> {
    Door { routes, tls: None, hosts: Hosts::Any, connections_max: 16, drain: LONG }
}

async fn start(router: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    (address, stop.clone(), tokio::spawn(serve(listener, door(router), stop)))
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("open");
    stream
}

#[tokio::test]
async fn a_stop_waits_for_requests_that_were_begun() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enter, released) = (entered.clone(), release.clone());
    let slow = async move || {
        enter.notify_one();
        released.notified().await;
        "done"
    };
    let (address, stop, server) = start(Router::new().route("/slow", get(slow))).await;
    let mut stream = ask(address, "/slow").await;
    entered.notified().await;
    stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished());
    release.notify_one();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered, then closed");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    server.await.expect("no panic");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_a_stop() {
    let (address, stop, server) = start(Router::new().route("/", get(async || "hi"))).await;
    let silent = TcpStream::connect(address).await.expect("listening");
    let mut kept = ask(address, "/").await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"hi") {
        kept.read_buf(&mut answer).await.expect("answered");
    }
    stop.cancel();
    server.await.expect("no panic");
    drop((silent, kept));
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused() {
    let (address, stop, server) = start(Router::new().route("/", get(async || "hi"))).await;
    let many: String = (0..101).map(|n| format!("h{n}: x\r\n")).collect();
    let long = format!("h: {}\r\n", "x".repeat(512 * 1024));
    for headers in [many, long] {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
        // The server may have closed the connection before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.expect("answered");
        assert_eq!(str::from_utf8(&answer), Ok("HTTP/1.1 431"));
    }
    stop.cancel();
    server.await.expect("no panic");
}

/// Says when it is dropped.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A path `/` with an answer without end, and what hears that the answer was dropped.
fn endless() -> (Router, Arc<Notify>) {
    let gone = Arc::new(Notify::new());
    let held = gone.clone();
    let answer = async move || {
        let held = Gone(held.clone());
        let piece = move || {
            let _ = &held;
            Ok::<_, std::convert::Infallible>(vec![0_u8; 64 * 1024])
        };
        Body::from_stream(tokio_stream::iter(std::iter::repeat_with(piece)))
    };
    (Router::new().route("/", get(answer)).route("/short", get(async || "hi")), gone)
}

async fn start_impatiently(router: Router, patience: Patience) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let served = serve_patiently(listener, door(router), stop.clone(), patience);
    (address, stop, tokio::spawn(served))
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answer_is_cut_off() {
    let (router, gone) = endless();
    let soon = Patience { write: Duration::from_millis(50), ..PATIENCE };
    let (address, stop, server) = start_impatiently(router, soon).await;
    let unread = ask(address, "/").await;
    tokio::time::timeout(LONG, gone.notified()).await.expect("its answer is dropped");
    drop(unread);
    stop.cancel();
    server.await.expect("no panic");
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_reset_and_the_others_go_on() {
    let (router, gone) = endless();
    let soon = Patience { write: Duration::from_millis(50), ..PATIENCE };
    let (address, stop, server) = start_impatiently(router, soon).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("listening"));
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let get = |path: &str| http::Request::get(format!("http://test{path}")).body(Body::empty()).expect("valid");
    let unread = client.send_request(get("/")).await.expect("answered");
    tokio::time::timeout(LONG, gone.notified()).await.expect("its answer is dropped");
    let other = client.send_request(get("/short")).await.expect("answered");
    assert_eq!(&other.into_body().collect().await.expect("whole").to_bytes()[..], b"hi");
    assert!(unread.into_body().collect().await.is_err(), "it was reset");
    drop(client);
    connection.await.expect("no panic").expect("an end without fault");
    stop.cancel();
    server.await.expect("no panic");
}

#[tokio::test]
async fn a_peer_that_takes_its_answer_slowly_is_not_cut_off() {
    let patience = Patience { write: Duration::from_secs(2), ..PATIENCE };
    let router = Router::new().route("/", get(async || Body::from(vec![7_u8; 300 * 1024])));
    let (address, stop, server) = start_impatiently(router, patience).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("listening"));
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://test/").body(Body::empty()).expect("valid");
    let mut body = client.send_request(request).await.expect("answered").into_body();
    let mut bytes = 0;
    // Longer in all than the server's patience with one piece.
    while let Some(frame) = body.frame().await {
        bytes += frame.expect("not reset").into_data().expect("data").len();
        wait(Duration::from_millis(150)).await;
    }
    assert_eq!(bytes, 300 * 1024);
    drop((client, body));
    connection.await.expect("no panic").expect("an end without fault");
    stop.cancel();
    server.await.expect("no panic");
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_half_a_preface_is_cut_off() {
    let soon = Patience { header: Duration::from_millis(50), ..PATIENCE };
    let (address, stop, server) = start_impatiently(endless().0, soon).await;
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET /short HTTP"] {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        stream.write_all(said).await.expect("open");
        let mut answer = Vec::new();
        let end = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("closed");
        assert!(end.is_err() || !answer.starts_with(b"HTTP/1.1 200"), "{said:?}: {answer:?}");
    }
    stop.cancel();
    server.await.expect("no panic");
}

/// Believes the holder of this certificate alone, and speaks one protocol.
fn connector(identity: &Identity, protocol: &[u8]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(identity.certificates_pem.as_bytes()).expect("PEM");
    roots.add(certificate).expect("a certificate");
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    address: SocketAddr,
    connector: &TlsConnector,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    connector.connect(name, TcpStream::connect(address).await?).await
}

#[tokio::test]
async fn tls_and_plaintext_are_served_on_one_port() {
    let identity = Identity::self_signed(vec!["localhost".to_owned()]).expect("made");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let tls = Some(identity.server_config(PROTOCOLS).expect("usable"));
    let door = Door {
        tls,
        ..door(Router::new().route("/", get(async |request: http::Request<Body>| format!("{:?}", request.version()))))
    };
    let server = tokio::spawn(serve(listener, door, stop.clone()));
    let request =
        || http::Request::get("https://localhost/").header("Host", "localhost").body(Body::empty()).expect("valid");

    let stream = TokioIo::new(connect(address, &connector(&identity, b"http/1.1")).await.expect("believed"));
    let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await.expect("HTTP/1.1");
    let connection = tokio::spawn(connection);
    let answer = client.send_request(request()).await.expect("answered").into_body().collect().await.expect("whole");
    assert_eq!(&answer.to_bytes()[..], b"HTTP/1.1");
    drop(client);
    connection.await.expect("no panic").expect("an end without fault");

    let stream = TokioIo::new(connect(address, &connector(&identity, b"h2")).await.expect("believed"));
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let answer = client.send_request(request()).await.expect("answered").into_body().collect().await.expect("whole");
    assert_eq!(&answer.to_bytes()[..], b"HTTP/2.0");
    drop(client);
    connection.await.expect("no panic").expect("an end without fault");

    let mut plain = ask(address, "/").await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"HTTP/1.1") || answer.len() < 20 {
        assert_ne!(plain.read_buf(&mut answer).await.expect("answered"), 0, "cut off");
    }
    drop(plain);
    let half = TcpStream::connect(address).await.expect("listening");
    stop.cancel();
    server.await.expect("a handshake that was not begun does not hold up the stop");
    drop(half);
}

#[tokio::test]
async fn who_speaks_tls_where_there_is_no_certificate_is_refused() {
    let identity = Identity::self_signed(vec!["localhost".to_owned()]).expect("made");
    let (address, stop, server) = start(Router::new().route("/", get(async || "hi"))).await;
    let refused = tokio::time::timeout(LONG, connect(address, &connector(&identity, b"h2"))).await.expect("at once");
    assert!(refused.is_err());
    stop.cancel();
    server.await.expect("no panic");
}

#[tokio::test]
async fn who_asks_for_another_host_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let router = Router::new().route("/", get(async || "hi"));
    let door = Door { hosts: "mq.example.org".parse().expect("a name"), ..door(router) };
    let server = tokio::spawn(serve(listener, door, stop.clone()));
    for (host, status) in [("evil.example", 403), ("mq.example.org", 200), ("127.0.0.1:8082", 200)] {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
        assert_eq!(answer.contains("urn:gantry:problem:unknown-host"), status == 403, "{answer}");
    }
    stop.cancel();
    server.await.expect("no panic");
}
