//! The routes on a broker of maps.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use types::admin::{AdminError, GroupDescription, TopicDescription};
use types::broker::{LookupError, Unavailable};
use types::{GroupConfig, GroupName, MessageType, QueueOffset, TopicConfig, TopicName};

use super::*;

#[derive(Default)]
struct Maps {
    topics: Mutex<BTreeMap<TopicName, TopicConfig>>,
    groups: Mutex<BTreeMap<GroupName, GroupConfig>>,
    used: Vec<MessageType>,
}

#[async_trait]
impl Admin for Maps {
    async fn put_topic(&self, config: TopicConfig, is_update: bool) -> Result<(), AdminError> {
        let mut topics = self.topics.lock().expect("not poisoned");
        if topics.contains_key(&config.name) && !is_update {
            return Err(AdminError::Exists { what: "topic", name: config.name.to_string() });
        }
        topics.insert(config.name.clone(), config);
        Ok(())
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), AdminError> {
        let removed = self.topics.lock().expect("not poisoned").remove(name);
        removed.map(drop).ok_or(AdminError::Lookup(LookupError::TopicNotFound { topic: name.clone() }))
    }

    async fn topics(&self) -> Result<Vec<TopicConfig>, AdminError> {
        Ok(self.topics.lock().expect("not poisoned").values().cloned().collect())
    }

    async fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, AdminError> {
        let config = self.topics.lock().expect("not poisoned").get(name).cloned();
        let config = config.ok_or(LookupError::TopicNotFound { topic: name.clone() })?;
        let queues = vec![(QueueOffset(1), QueueOffset(5))];
        Ok(TopicDescription { config, queues, used: self.used.clone() })
    }

    async fn put_group(&self, config: GroupConfig, _is_update: bool) -> Result<(), AdminError> {
        self.groups.lock().expect("not poisoned").insert(config.name.clone(), config);
        Ok(())
    }

    async fn delete_group(&self, _name: &GroupName) -> Result<(), AdminError> {
        Err(Unavailable::Stopping.into())
    }

    async fn groups(&self) -> Result<Vec<GroupConfig>, AdminError> {
        panic!("a bug")
    }

    async fn describe_group(&self, name: &GroupName) -> Result<GroupDescription, AdminError> {
        let config = self.groups.lock().expect("not poisoned").get(name).cloned();
        let config = config.ok_or(LookupError::GroupNotFound { group: name.clone() })?;
        Ok(GroupDescription { config, progress: Vec::new() })
    }
}

struct Server(Router, Readiness);

impl Server {
    fn new(maps: Maps) -> Self {
        let readiness = Readiness::default();
        let version = Version { name: "gantry", version: "1.2.3" };
        let metrics = prometheus::Registry::new();
        let counter = prometheus::IntCounter::new("sent_total", "Sent").expect("valid name");
        metrics.register(Box::new(counter)).expect("new");
        let gateway = Gateway { admin: Arc::new(maps), readiness: readiness.clone(), metrics, version };
        Self(router(gateway), readiness)
    }

    /// Status, content type and text of an answer.
    async fn raw(&self, request: Request<Body>) -> (u16, String, String) {
        let response = self.0.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let header = response.headers().get(CONTENT_TYPE);
        let media_type = header.map_or("", |value| value.to_str().expect("text")).to_owned();
        let bytes = response.into_body().collect().await.expect("in memory").to_bytes();
        (status, media_type, String::from_utf8(bytes.to_vec()).expect("text"))
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let (status, _, text) = self.raw(Request::get(path).body(Body::empty()).expect("valid")).await;
        (status, text)
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_string())).expect("valid");
        let (status, media_type, text) = self.raw(request).await;
        assert_eq!(media_type == "application/problem+json", status >= 400, "{status} {text}");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn probes_tell_life_from_readiness() {
    let server = Server::new(Maps::default());
    assert_eq!(server.text("/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(server.text("/readyz").await.0, 503);
    server.1.set_ready();
    assert_eq!(server.text("/readyz").await, (200, "ready\n".to_owned()));
    server.1.set_draining();
    assert_eq!(server.text("/readyz").await.0, 503);
    assert_eq!(server.text("/livez").await.0, 200);
    assert_eq!(server.text("/version").await.1, r#"{"name":"gantry","version":"1.2.3"}"#);
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = Server::new(Maps::default());
    let (status, media_type, text) = server.raw(Request::get("/metrics").body(Body::empty()).expect("valid")).await;
    assert_eq!((status, media_type.as_str()), (200, prometheus::TEXT_FORMAT));
    assert!(text.contains("# TYPE sent_total counter\nsent_total 0\n"), "{text}");
}

#[tokio::test]
async fn topics_live_through_their_five_calls() {
    let server = Server::new(Maps { used: vec![MessageType::Fifo], ..Maps::default() });
    let path = "/v1/admin/topics/orders";
    let (status, topic) = server.json(Method::POST, path, json!({"messageType": "mixed", "readQueues": 4})).await;
    assert_eq!((status, &topic["messageType"], &topic["readQueues"]), (201, &json!("MIXED"), &json!(4)));
    assert_eq!(server.json(Method::POST, path, json!({})).await.0, 409);
    let (_, topic) = server.json(Method::PATCH, path, json!({"writable": false})).await;
    assert_eq!((&topic["writable"], &topic["readQueues"]), (&json!(false), &json!(4)));
    let (_, topic) = server.json(Method::POST, "/v1/admin/topics/orders/freeze", json!({})).await;
    assert_eq!(topic["messageType"], "FIFO");
    let (_, details) = server.json(Method::GET, path, json!({})).await;
    assert_eq!(details["queues"], json!([{"queue": 0, "firstOffset": 1, "endOffset": 5}]));
    let (_, topics) = server.json(Method::GET, "/v1/admin/topics", json!({})).await;
    assert_eq!(topics["topics"].as_array().expect("a list").len(), 1);
    assert_eq!(server.json(Method::DELETE, path, json!({})).await.0, 204);
    let (status, problem) = server.json(Method::GET, path, json!({})).await;
    assert_eq!((status, &problem["type"]), (404, &json!("urn:gantry:problem:topic-not-found")));
}

#[tokio::test]
async fn freezing_an_undecided_topic_asks_for_the_type() {
    let server = Server::new(Maps::default());
    server.json(Method::POST, "/v1/admin/topics/t", json!({})).await;
    let (status, problem) = server.json(Method::POST, "/v1/admin/topics/t/freeze", json!({})).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().expect("text").contains("gantry admin topic freeze t --type TYPE"));
    let named = json!({"messageType": "DELAY"});
    assert_eq!(server.json(Method::POST, "/v1/admin/topics/t/freeze", named).await.0, 200);
}

#[tokio::test]
async fn groups_check_their_bounds() {
    let server = Server::new(Maps::default());
    let path = "/v1/admin/groups/g";
    let retry = json!({"type": "CUSTOMIZED", "nextMs": [1000, 5000]});
    let (status, group) = server.json(Method::POST, path, json!({"retry": retry, "fifo": true})).await;
    assert_eq!((status, &group["retry"], &group["fifo"]), (201, &retry, &json!(true)));
    for bad in [
        json!({"maxAttempts": 0}),
        json!({"consumeTimeoutMs": 999}),
        json!({"retry": {"type": "CUSTOMIZED", "nextMs": []}}),
        json!({"retry": {"type": "EXPONENTIAL", "initialMs": 1, "maxMs": 2, "multiplier": 0}}),
    ] {
        let (status, problem) = server.json(Method::PATCH, path, bad.clone()).await;
        assert_eq!(status, 400, "{bad}");
        assert!(problem["detail"].as_str().expect("text").contains("allowed are"), "{problem}");
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let server = Server::new(Maps::default());
    let too_long = format!("/v1/admin/topics/{}", "a".repeat(128));
    for (method, path, body, status) in [
        (Method::GET, "/nothing", json!({}), 404),
        (Method::POST, "/livez", json!({}), 405),
        (Method::GET, "/v1/admin/topics/a.b", json!({}), 400),
        (Method::GET, "/v1/admin/topics/%20", json!({}), 400),
        (Method::GET, too_long.as_str(), json!({}), 400),
        (Method::GET, "/v1/admin/topics/TBW102", json!({}), 403),
        (Method::POST, "/v1/admin/topics/t", json!({"queues": 1}), 422),
        (Method::POST, "/v1/admin/topics/t", json!({"messageType": "LITE"}), 400),
        (Method::POST, "/v1/admin/topics/t", json!({"messageType": "a".repeat(70_000)}), 413),
        (Method::DELETE, "/v1/admin/groups/g", json!({}), 503),
        (Method::GET, "/v1/admin/groups", json!({}), 500),
    ] {
        let (answered, problem) = server.json(method, path, body).await;
        assert_eq!(answered, status, "{path}: {problem}");
        assert_eq!(problem["status"], json!(status));
    }
    let no_media_type = Request::post("/v1/admin/topics/t").body(Body::from("{}")).expect("valid");
    assert_eq!(server.raw(no_media_type).await.0, 415);
}
