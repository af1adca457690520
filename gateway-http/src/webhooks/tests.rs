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
use tower::ServiceExt;
use types::{Admin as _, Broker as _, GroupConfig, GroupName, RetryPolicy, TopicName};

use super::*;
use crate::messaging;

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
        Options { keys: self.keys.clone(), allowed, webhooks_max: 3, rewrite_after }
    }

    fn gateway(&self) -> Gateway {
        self.gateway_with(self.options())
    }

    fn gateway_with(&self, options: Options) -> Gateway {
        let messaging = Messaging::new(Arc::new(self.broker.clone()), CancellationToken::new(), TaskTracker::new());
        let metrics = prometheus::Registry::new();
        let webhooks = Webhooks::start(Env::real(), messaging.clone(), &metrics, options).expect("started");
        let checks = messaging::tests::server(&self.broker).checks();
        let routes = Router::new()
            .nest("/v1", routes(Some(webhooks.clone())))
            .nest("/v1", messaging::routes(messaging, checks, crate::Limits::default()));
        Gateway { webhooks, routes, metrics }
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
        let mut webhook = json!({"topic": "orders", "group": "hook", "url": url, "secrets": [SECRET]});
        webhook.as_object_mut().expect("an object").extend(others.as_object().expect("an object").clone());
        let (status, shown) = self.ask(Method::POST, "/v1/webhooks", Some(webhook)).await;
        assert_eq!(status, 201, "{shown}");
        shown
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

/// An endpoint that answers the n-th call, from 0, as it is told.
#[derive(Clone)]
struct Endpoint {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Endpoint {
    async fn new(answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}/in", listener.local_addr().expect("bound"));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (seen, count, answer) = (calls.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let route = post(async move |headers: HeaderMap, body: Bytes| {
            seen.lock().push(Call { headers, body });
            answer(count.fetch_add(1, Ordering::Relaxed))
        });
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/in", route)).await });
        Self { url, calls }
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
