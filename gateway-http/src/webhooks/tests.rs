//! Webhooks over a broker on a directory of its own, with an endpoint of their own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use types::{Admin as _, Broker as _, GroupConfig, GroupName, RetryPolicy, TopicName};

use super::*;
use crate::messaging;

mod asking;
mod delivering;
mod keeping;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WITHIN: Duration = Duration::from_secs(30);

/// A broker, and what its gateways have in common.
struct World {
    broker: broker::LocalBroker,
    keys: Arc<Keys>,
    _dir: tempfile::TempDir,
}

/// A gateway of it.
struct Gateway {
    webhooks: Webhooks,
    routes: Router,
    metrics: prometheus::Registry,
}

impl World {
    fn new() -> Self {
        let (broker, dir) = messaging::tests::broker();
        Self { broker, keys: Arc::new(Keys::parse(&Keys::generate()).expect("valid")), _dir: dir }
    }

    fn options(&self) -> Options {
        let allowed = "private".parse().expect("all");
        let rewrite_after = Duration::from_secs(3600);
        let (keys, authorities) = (self.keys.clone(), Authorities::default());
        Options { keys, allowed, authorities, webhooks_max: 3, rewrite_after }
    }

    fn messaging(&self) -> Messaging {
        Messaging::new(Arc::new(self.broker.clone()), CancellationToken::new(), TaskTracker::new())
    }

    fn gateway(&self) -> Gateway {
        self.gateway_with(self.options())
    }

    fn gateway_with(&self, options: Options) -> Gateway {
        let room = Room::new(room::CALLS_MAX, room::BYTES_MAX, options.webhooks_max);
        self.gateway_in(room, options)
    }

    fn gateway_in(&self, room: Room, options: Options) -> Gateway {
        self.gateway_beside(&messaging::tests::server(&self.broker), room, options)
    }

    /// One beside a gRPC port, whose producers are asked about half messages.
    async fn asking_gateway(&self) -> Gateway {
        let server = messaging::tests::server(&self.broker);
        let options = self.options();
        let room = Room::new(room::CALLS_MAX, room::BYTES_MAX, options.webhooks_max);
        let gateway = self.gateway_beside(&server, room, options);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        tokio::spawn(server.serve(listener, CancellationToken::new()));
        gateway
    }

    fn gateway_beside(&self, server: &proxy::Server, room: Room, options: Options) -> Gateway {
        let (messaging, checks, metrics) = (self.messaging(), server.checks(), prometheus::Registry::new());
        let front = Front { messaging: messaging.clone(), checks: checks.clone() };
        let webhooks = Webhooks::start_in(room, Env::real(), front, &metrics, options).expect("started");
        let admin = Arc::new(self.broker.clone());
        let routes = Router::new()
            .merge(crate::admin::routes(crate::admin::Managed { admin, readiness: crate::Readiness::default() }))
            .merge(routes(Some(webhooks.clone())))
            .merge(messaging::routes(messaging, checks, crate::Limits::default()));
        Gateway { webhooks, routes, metrics }
    }

    /// How many records were written.
    async fn records(&self) -> u64 {
        let name = TopicName::new(topic::NAME).expect("valid");
        let end = self.broker.queue_offset(&name, types::QueueId(0), types::broker::OffsetAt::End).await;
        end.expect("known").0
    }

    /// A group whose failed messages come again soon.
    async fn group(&self, name: &str, attempts_max: u32) {
        let retry = RetryPolicy::Customized { next: vec![Duration::from_millis(50)] };
        let name = GroupName::new(name).expect("valid");
        let config = GroupConfig { attempts_max, retry, ..GroupConfig::new(name) };
        self.broker.put_group(config, false).await.expect("made");
    }
}

impl Gateway {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let response = self.routes.clone().oneshot(request.body(body).expect("valid")).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("in memory").to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Once what webhooks there are is known.
    async fn list(&self) -> Value {
        loop {
            let (status, list) = self.ask(Method::GET, "/v1/webhooks", None).await;
            if status == 200 {
                return list["webhooks"].clone();
            }
            pause().await;
        }
    }

    /// Makes a webhook, with these members beside the usual.
    async fn create(&self, url: &str, others: Value) -> Value {
        self.list().await;
        let (status, shown) = self.ask(Method::POST, "/v1/webhooks", Some(webhook(url, others))).await;
        assert_eq!(status, 201, "{shown}");
        shown
    }

    /// What `gantry_webhook_…` shows.
    fn counted(&self, name: &str) -> u32 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.metrics.gather()).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix("gantry_webhook_")?.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    async fn send(&self, headers: &[(&str, &str)], body: &str) {
        let mut request = Request::builder().method(Method::POST).uri("/v1/topics/orders/messages");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("valid");
        let response = self.routes.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), 201);
    }
}

/// What makes a webhook, with these members beside the usual.
fn webhook(url: &str, others: Value) -> Value {
    let mut webhook = json!({"topic": "orders", "group": "hook", "url": url, "secrets": [SECRET]});
    webhook.as_object_mut().expect("an object").extend(others.as_object().expect("an object").clone());
    webhook
}

async fn pause() {
    Env::real().clock.sleep(Duration::from_millis(20)).await;
}

/// Waits until something is so.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let all = async {
        while !is().await {
            pause().await;
        }
    };
    tokio::time::timeout(WITHIN, all).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// A call that came.
#[derive(Clone, Debug)]
struct Call {
    at: env::clock::Moment,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("UTF-8")
    }
}

/// An endpoint that answers the n-th call, from 0, as it is told, once it may.
#[derive(Clone)]
struct Endpoint {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    /// Answers that may be given.
    answers: Arc<Semaphore>,
}

impl Endpoint {
    /// One that answers at once.
    async fn new(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        let endpoint = Self::held(answer).await;
        endpoint.answers.close();
        endpoint
    }

    /// One that lets calls wait until `answers` are allowed, or are not counted any longer.
    async fn held(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}/in", listener.local_addr().expect("bound"));
        let (calls, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let (seen, allowed) = (calls.clone(), answers.clone());
        let (count, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let route = post(async move |headers: HeaderMap, body: Bytes| {
            let call = count.fetch_add(1, Ordering::Relaxed);
            seen.lock().push(Call { at: Env::real().clock.moment(), headers, body });
            if let Ok(permit) = allowed.acquire().await {
                permit.forget();
            }
            answer(call)
        });
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/in", route)).await });
        Self { url, calls, answers }
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    async fn has(&self, calls: usize) {
        until(&format!("{calls} calls"), async || self.calls.lock().len() >= calls).await;
    }
}

fn ok(_: usize) -> Response {
    "ok".into_response()
}
