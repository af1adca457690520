//! Sends, and receives with acks, in closed loops over HTTP: each worker has a connection of its own, as HTTP/1.1 carries one
//! request at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;

use super::closed::{Step, work};
use super::gauge::{Gauge, Window, Workers, measure};
use super::receive::{DRAINED_PERCENT, FILL_BATCH};
use super::{CONNECTIONS, GROUP, IN_FLIGHT, TOPIC, body, fill};
use crate::measurement::Measurement;
use crate::server::Server;

/// Messages of one receive. Source: issue 6.
pub(crate) const HTTP_BATCH: u32 = 16;
/// Callers at a time, as many as requests of the other protocols are in flight.
const CALLERS: usize = CONNECTIONS * IN_FLIGHT;
const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";

/// Sends one message, which makes the topic where messages are stored.
pub(crate) async fn make_topic_by_http(address: SocketAddr) -> Result<()> {
    Send { caller: Caller::connect(address).await?, body: body() }.step().await.map(drop)
}

/// Sends one message a request, raw, for the window.
pub(crate) async fn send_by_http(server: &Server, window: Window) -> Result<Measurement> {
    let (gauge, body) = (Arc::new(Gauge::default()), body());
    let mut workers = Workers::new();
    for _ in 0..CALLERS {
        let caller = Caller::connect(server.address()).await?;
        workers.spawn(work(Send { caller, body: body.clone() }, Arc::clone(&gauge)));
    }
    measure(server, &gauge, workers, window, u64::MAX).await
}

/// Receives and acknowledges for the window; of a server that stores, from so many messages that are sent before.
pub(crate) async fn receive_by_http(server: &Server, backlog: Option<u64>, window: Window) -> Result<Measurement> {
    let gauge = Arc::new(Gauge::default());
    if let Some(backlog) = backlog {
        // A new group starts at the end of its queues: it has to exist before the backlog does. The message that made the
        // topic may come to it.
        Receive::new(Caller::connect(server.address()).await?).step().await?;
        fill(server.grpc(), FILL_BATCH, &body(), backlog).await.context("storing the backlog")?;
    }
    let mut workers = Workers::new();
    for _ in 0..CALLERS {
        let caller = Caller::connect(server.address()).await?;
        workers.spawn(work(Receive::new(caller), Arc::clone(&gauge)));
    }
    let messages_max = backlog.map_or(u64::MAX, |backlog| backlog * DRAINED_PERCENT / 100);
    measure(server, &gauge, workers, window, messages_max).await
}

/// A client's connection.
struct Caller {
    requests: SendRequest<Full<Bytes>>,
    host: String,
}

impl Caller {
    async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        // Its error is that of the request under way.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { requests, host: address.to_string() })
    }

    async fn post(&mut self, path: &str, media_type: &'static str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let request = Request::post(path).header(HOST, &self.host).header(CONTENT_TYPE, media_type);
        self.requests.ready().await?;
        let response = self.requests.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

struct Send {
    caller: Caller,
    body: Bytes,
}

impl Step for Send {
    async fn step(&mut self) -> Result<usize> {
        let path = format!("/v1/topics/{TOPIC}/messages");
        let (status, answer) = self.caller.post(&path, OCTETS, self.body.clone()).await.context("sending")?;
        ensure!(status == StatusCode::CREATED, "{status}: {}", String::from_utf8_lossy(&answer));
        Ok(1)
    }
}

struct Receive {
    caller: Caller,
    request: Bytes,
}

/// What a client needs of an answer, at least.
#[derive(Deserialize)]
struct Received {
    messages: Vec<Leased>,
}

#[derive(Deserialize)]
struct Leased {
    handle: String,
}

impl Receive {
    fn new(caller: Caller) -> Self {
        let request = json!({ "topic": TOPIC, "max": HTTP_BATCH, "wait": "1s", "invisible": "60s" });
        Self { caller, request: request.to_string().into() }
    }

    /// The handles of what came in time.
    async fn receive(&mut self) -> Result<Vec<String>> {
        let path = format!("/v1/groups/{GROUP}/receive");
        let (status, answer) = self.caller.post(&path, JSON, self.request.clone()).await.context("receiving")?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&answer));
        let received: Received = serde_json::from_slice(&answer)?;
        Ok(received.messages.into_iter().map(|message| message.handle).collect())
    }

    /// Acknowledges them in one request.
    async fn ack(&mut self, handles: &[String]) -> Result<()> {
        let request = json!({ "topic": TOPIC, "handles": handles }).to_string();
        let path = format!("/v1/groups/{GROUP}/ack");
        let (status, answer) = self.caller.post(&path, JSON, request.into()).await.context("acknowledging")?;
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}

impl Step for Receive {
    async fn step(&mut self) -> Result<usize> {
        let handles = self.receive().await?;
        if !handles.is_empty() {
            self.ack(&handles).await?;
        }
        Ok(handles.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noop::{self, Protocol};

    #[tokio::test]
    async fn the_no_op_server_answers_what_a_load_asks() {
        let address = noop::started(Protocol::Http).await;
        make_topic_by_http(address).await.expect("stored");
        let mut receiver = Receive::new(Caller::connect(address).await.expect("connected"));
        assert_eq!(receiver.step().await.expect("received and acknowledged"), HTTP_BATCH as usize);
        let elsewhere = receiver.caller.post("/v1/groups/g/nack", JSON, Bytes::new()).await.expect("an answer");
        assert_eq!(elsewhere.0, StatusCode::NOT_FOUND);
    }
}
