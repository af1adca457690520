//! The routes over a broker on a directory of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use env::Env;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use proxy::messaging::body::Encoding;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use types::Timestamp;

use super::*;
use crate::router::refuse_other_sites;
use proxy::messaging::message::Received;

mod bounds;
mod described;
mod events;
mod leases;
mod sending;
mod sockets;
mod streams;
mod transactions;

/// A message as a broker gives it.
pub(crate) fn received() -> Received {
    Received {
        message_id: "id-1".to_owned(),
        body: Bytes::from_static(b"hello"),
        encoding: Encoding::Identity,
        tag: None,
        keys: Vec::new(),
        message_group: None,
        deliver_at: None,
        priority: None,
        properties: std::collections::BTreeMap::new(),
        handle: "handle".to_owned(),
        attempt: 1,
        queue: 0,
        offset: 0,
        born_at: Timestamp(0),
        stored_at: Timestamp(0),
        dead_letter_of: None,
    }
}

/// A broker on a directory that goes with it.
pub(crate) fn broker() -> (broker::LocalBroker, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let mut options = broker::Options::local(dir.path().to_owned());
    options.segment_bytes = 16 * 1024 * 1024;
    // How full the machine's disk is says nothing of what is tested here.
    options.retention.disk_warning = 100;
    // A check that nobody was there for is made again soon.
    let (check_after, check_interval) = (Duration::ZERO, Duration::from_millis(20));
    options.transaction = broker::transaction::Schedule { check_after, check_interval, checks_max: 10_000 };
    (broker::LocalBroker::start(Env::real(), options).expect("a broker"), dir)
}

/// The gRPC front door beside it.
pub(crate) fn server(broker: &broker::LocalBroker) -> proxy::Server {
    proxy::Server::new(Arc::new(broker.clone()), proxy::Options::default()).expect("a server")
}

/// A gateway over a broker.
struct World {
    routes: Router,
    broker: broker::LocalBroker,
    tasks: TaskTracker,
    /// Cancelled, the gateway stops.
    draining: CancellationToken,
    _dir: TempDir,
}

/// What it answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("in memory").to_bytes();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The kind of a problem document.
    fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        self.json()["type"].as_str().expect("a kind").replace("urn:gantry:problem:", "")
    }

    /// The text of a header.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| str::from_utf8(value.as_bytes()).expect("UTF-8"))
    }
}

impl World {
    fn start() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let (broker, dir) = broker();
        let (tasks, draining) = (TaskTracker::new(), CancellationToken::new());
        let messaging = Messaging::new(Arc::new(broker.clone()), draining.clone(), tasks.clone());
        let checks = server(&broker).checks();
        let routes = routes(messaging, checks, limits).layer(refuse_other_sites());
        Self { routes, broker, tasks, draining, _dir: dir }
    }

    async fn ask(&self, request: http::request::Builder, body: impl Into<Body>) -> Answer {
        Answer::of(self.begin(request, body).await).await
    }

    /// The answer's head, its body not yet read.
    async fn begin(&self, request: http::request::Builder, body: impl Into<Body>) -> Response<Body> {
        let request: Request = request.body(body.into()).expect("valid");
        self.routes.clone().oneshot(request).await.expect("infallible")
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(json_request(path), body.to_string()).await
    }

    /// Sends a message and returns the answer's document.
    async fn send(&self, headers: &[(&str, &str)], body: &'static str) -> Value {
        let answer = self.ask(with(raw("/v1/topics/orders/messages"), headers), body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// What a receive that does not wait gets.
    async fn receive(&self, max: u32) -> Vec<Value> {
        let answer = self.post("/v1/groups/g/receive", json!({"topic": "orders", "max": max, "wait": "0"})).await;
        match answer.status {
            204 => Vec::new(),
            200 => answer.json()["messages"].as_array().expect("a list").clone(),
            _ => panic!("{answer:?}"),
        }
    }
}

fn raw(path: &str) -> http::request::Builder {
    Request::builder().method(Method::POST).uri(path)
}

fn json_request(path: &str) -> http::request::Builder {
    raw(path).header("content-type", "application/json")
}

fn with(request: http::request::Builder, headers: &[(&str, &str)]) -> http::request::Builder {
    headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
    })
}
