//! The routes on a broker of maps.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower::util::BoxCloneService;
use types::admin::{
    AdminError, Blocked, FindBy, FoundMessages, GroupDescription, MessageQuery, ResetError, ResetTo, StoreAgainError,
    StoredAgain, TopicDescription,
};
use types::broker::{LookupError, OffsetAt, Unavailable};
use types::{
    GroupConfig, GroupName, Message, MessageType, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicConfig,
    TopicName,
};

use super::*;

#[derive(Default)]
struct Maps {
    topics: Mutex<BTreeMap<TopicName, TopicConfig>>,
    groups: Mutex<BTreeMap<GroupName, GroupConfig>>,
    used: Vec<MessageType>,
    resets: Mutex<Vec<(Option<QueueId>, ResetTo)>>,
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

    async fn reset_offsets(
        &self,
        group: &GroupName,
        topic: &TopicName,
        queue: Option<QueueId>,
        to: ResetTo,
    ) -> Result<Vec<(QueueId, QueueOffset)>, ResetError> {
        self.describe_group(group).await?;
        self.describe_topic(topic).await?;
        self.resets.lock().expect("not poisoned").push((queue, to));
        Ok(vec![(QueueId(0), QueueOffset(3))])
    }

    async fn find_messages(&self, query: MessageQuery) -> Result<FoundMessages, AdminError> {
        self.describe_topic(&query.topic).await?;
        let by_key = query.by == FindBy::Key("k1".to_owned());
        let from = query.by == FindBy::From(QueueId(0), QueueOffset(3));
        let is_there = (by_key || from) && query.stored.contains(&STORED_AT);
        let records = if is_there { vec![stored_message()] } else { Vec::new() };
        Ok(FoundMessages { records, is_complete: true })
    }

    async fn message_at(&self, offset: PhysicalOffset) -> Result<Option<Bytes>, AdminError> {
        Ok((offset == PhysicalOffset(133)).then(stored_message))
    }

    /// The first is stored, the second was before, the third is not there, the fourth cannot be stored now.
    async fn redrive(
        &self,
        group: &GroupName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<StoredAgain, StoreAgainError> {
        let topic = TopicName::dead_letter(group);
        match offset.0 {
            1 | 2 => Ok(StoredAgain { topic, offset, is_repeat: offset.0 == 2 }),
            3 => Err(StoreAgainError::NotFound { topic, queue, offset }),
            _ => Err(Unavailable::DiskFull { detail: "full".to_owned() }.into()),
        }
    }

    async fn parked(&self, from: QueueOffset, _messages_max: usize) -> Result<FoundMessages, AdminError> {
        let records = if from == QueueOffset(0) { vec![stored_message()] } else { Vec::new() };
        Ok(FoundMessages { is_complete: records.is_empty(), records })
    }

    async fn resume(&self, offset: QueueOffset) -> Result<StoredAgain, StoreAgainError> {
        self.redrive(&GroupName::new("g").expect("valid"), QueueId(0), offset).await
    }

    async fn blocked(&self, group: &GroupName) -> Result<Vec<Blocked>, AdminError> {
        self.describe_group(group).await?;
        Ok(vec![Blocked {
            topic: TopicName::new("orders").expect("valid"),
            queue: QueueId(2),
            offset: QueueOffset(7),
            message_id: Some("ID".to_owned()),
            message_group: None,
            attempts: 3,
            holder: Some("client-1".into()),
            until: Some(STORED_AT),
            waiting: 4,
        }])
    }
}

const STORED_AT: Timestamp = Timestamp(1_700_000_000_000);

/// A record at 133 of the log of 10.0.0.2:10911.
fn stored_message() -> Bytes {
    let mut message = Message::new(TopicName::new("orders").expect("valid"), Bytes::from_static(b"\xffbody"));
    message.properties.set("UNIQ_KEY", "ID").expect("valid");
    message.properties.set("KEYS", "k1 k2").expect("valid");
    let host = "10.0.0.2:10911".parse().expect("an address");
    let encoded = record::encode(&message, QueueId(2), host).expect("encodes");
    encoded.place(QueueOffset(7), PhysicalOffset(133), STORED_AT)
}

mod cors;

struct Server(
    BoxCloneService<Request<Body>, Response, Infallible>,
    Readiness,
    #[expect(dead_code, reason = "held as long as its broker")] tempfile::TempDir,
);

impl Server {
    fn new(maps: impl Into<Arc<Maps>>) -> Self {
        Self::open_to(Origins::None, maps)
    }

    fn open_to(origins: Origins, maps: impl Into<Arc<Maps>>) -> Self {
        Self::with_admin(origins, Some(maps.into()))
    }

    fn with_admin(origins: Origins, admin: Option<Arc<Maps>>) -> Self {
        let admin = admin.map(|maps| maps as Arc<dyn Admin>);
        let readiness = Readiness::default();
        let version = Version { name: "gantry", version: "1.2.3" };
        let metrics = prometheus::Registry::new();
        let counter = prometheus::IntCounter::new("sent_total", "Sent").expect("valid name");
        metrics.register(Box::new(counter)).expect("new");
        let (broker, dir) = messaging::tests::broker();
        let server = messaging::tests::server(&broker);
        let (messaging, checks) = (server.messaging(), server.checks());
        let probes = Probes { readiness: readiness.clone(), metrics, version };
        let gateway = Gateway { messaging, checks, limits: Limits::default(), origins, admin, webhooks: None, probes };
        Self(BoxCloneService::new(router(gateway)), readiness, dir)
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
async fn a_gateway_without_admin_neither_answers_nor_describes_it() {
    let server = Server::with_admin(Origins::None, None);
    let (status, problem) = server.json(Method::GET, "/v1/admin/topics", json!({})).await;
    assert_eq!((status, &problem["type"]), (404, &json!("urn:gantry:problem:no-such-path")));
    assert!(!server.text("/openapi.json").await.1.contains("/v1/admin"));
}

#[tokio::test]
async fn a_bug_in_one_request_is_that_requests_error() {
    async fn bug() -> &'static str {
        panic!("a bug")
    }
    let routes = layered(Router::new().route("/", get(bug)), Origins::None);
    let answer = routes.oneshot(Request::get("/").body(Body::empty()).expect("valid")).await.expect("infallible");
    assert_eq!(answer.status(), 500);
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
async fn pages_run_no_script_but_their_own_and_load_nothing_from_elsewhere() {
    let server = Server::new(Maps::default());
    for path in ["/", "/docs", "/ui/index.js", "/ui/docs.js", "/ui/style.css"] {
        let request = Request::get(path).body(Body::empty()).expect("valid");
        let answer = server.0.clone().oneshot(request).await.expect("infallible");
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        let bytes = answer.into_body().collect().await.expect("in memory").to_bytes();
        let text = str::from_utf8(&bytes).expect("text");
        for bad in ["://", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "onclick=", "style="] {
            assert!(!text.contains(bad), "{path}: {bad}");
        }
    }
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
async fn groups_go_on_where_they_are_told() {
    let maps = Arc::new(Maps::default());
    let server = Server::new(maps.clone());
    server.json(Method::POST, "/v1/admin/topics/orders", json!({})).await;
    server.json(Method::POST, "/v1/admin/groups/g", json!({})).await;
    let path = "/v1/admin/groups/g/offsets";
    let at = |ms| ResetTo::At(OffsetAt::Time(Timestamp(ms)));
    for (place, queue, to) in [
        (json!({"to": "first"}), None, ResetTo::At(OffsetAt::Beginning)),
        (json!({"to": "last", "queue": 2}), Some(QueueId(2)), ResetTo::At(OffsetAt::End)),
        (json!({"to": "1970-01-01T01:00:01+01:00"}), None, at(1_000)),
        (json!({"to": "1700000000000"}), None, at(1_700_000_000_000)),
        (json!({"offset": 7}), None, ResetTo::Offset(QueueOffset(7))),
    ] {
        let mut asked = json!({"topic": "orders"});
        asked.as_object_mut().expect("an object").extend(place.as_object().expect("an object").clone());
        let (status, set) = server.json(Method::POST, path, asked).await;
        assert_eq!((status, set), (200, json!({"queues": [{"queue": 0, "offset": 3}]})), "{place}");
        assert_eq!(maps.resets.lock().expect("not poisoned").pop(), Some((queue, to)));
    }
    for (path, asked, status, detail) in [
        (path, json!({"topic": "orders"}), 400, "to or offset is missing"),
        (path, json!({"topic": "orders", "to": "first", "offset": 1}), 400, "together"),
        (path, json!({"topic": "orders", "to": "soon"}), 400, "to is \"soon\""),
        (path, json!({"topic": "a.b", "to": "first"}), 400, "a.b"),
        (path, json!({"topic": "nowhere", "to": "first"}), 404, "nowhere"),
        (path, json!({"topic": "orders", "to": "first", "from": 1}), 422, "unknown field `from`"),
        ("/v1/admin/groups/none/offsets", json!({"topic": "orders", "to": "first"}), 404, "none"),
    ] {
        let (answered, problem) = server.json(Method::POST, path, asked).await;
        assert_eq!(answered, status, "{problem}");
        assert!(problem["detail"].as_str().expect("text").contains(detail), "{problem}");
    }
    assert!(maps.resets.lock().expect("not poisoned").is_empty());
}

#[tokio::test]
async fn messages_are_found_and_shown() {
    let server = Server::new(Maps::default());
    server.json(Method::POST, "/v1/admin/topics/orders", json!({})).await;
    let path = "/v1/admin/topics/orders/messages";
    let (status, found) = server.json(Method::GET, &format!("{path}?key=k1&max=5"), json!({})).await;
    assert_eq!((status, &found["complete"]), (200, &json!(true)));
    let message = &found["messages"][0];
    assert_eq!((&message["queue"], &message["offset"], &message["keys"]), (&json!(2), &json!(7), &json!(["k1", "k2"])));
    assert_eq!((&message["bodyBase64"], &message["bodyBytes"]), (&json!("/2JvZHk="), &json!(5)));
    let id = message["offsetMessageId"].as_str().expect("text");
    assert_eq!(id, "0A00000200002A9F0000000000000085");
    let (status, shown) = server.json(Method::GET, &format!("/v1/admin/messages/{id}"), json!({})).await;
    assert_eq!((status, &shown), (200, message));
    let later = format!("{path}?key=k1&fromMs={}&body=false", STORED_AT.0 + 1);
    assert_eq!(server.json(Method::GET, &later, json!({})).await.1["messages"], json!([]));
    for (path, status) in [
        (format!("{path}?key=k1&queue=1"), 400),
        (format!("{path}?max=257"), 400),
        (format!("{path}?max=x"), 400),
        (format!("{path}?fromMs=5&toMs=5"), 400),
        (format!("{path}?keys=k1"), 400),
        ("/v1/admin/topics/nowhere/messages".to_owned(), 404),
        ("/v1/admin/messages/0A00000200002A9F0000000000000086".to_owned(), 404),
        // Of another broker's log.
        ("/v1/admin/messages/0A00000300002A9F0000000000000085".to_owned(), 404),
        ("/v1/admin/messages/ID".to_owned(), 400),
    ] {
        let (answered, problem) = server.json(Method::GET, &path, json!({})).await;
        assert_eq!(answered, status, "{path}: {problem}");
        assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("urn:gantry:problem:")), "{problem}");
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
        (Method::GET, "/v1/nothing", json!({}), 404),
        (Method::GET, "/v1/groups/g/receive", json!({}), 405),
    ] {
        let (answered, problem) = server.json(method, path, body).await;
        assert_eq!(answered, status, "{path}: {problem}");
        assert_eq!(problem["status"], json!(status));
    }
    let no_media_type = Request::post("/v1/admin/topics/t").body(Body::from("{}")).expect("valid");
    assert_eq!(server.raw(no_media_type).await.0, 415);
}

/// The lines of a redrive of `g`, whose dead letters are 1 to 4.
async fn redriven(server: &Server, body: Value) -> Vec<Value> {
    let request = Request::post("/v1/admin/groups/g/dead-letters/redrive").header(CONTENT_TYPE, "application/json");
    let (status, media_type, text) = server.raw(request.body(Body::from(body.to_string())).expect("valid")).await;
    assert_eq!((status, media_type.as_str()), (200, "application/x-ndjson"), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn with_group() -> Server {
    let server = Server::new(Maps::default());
    server.json(Method::POST, "/v1/admin/groups/g", json!({})).await;
    server.1.set_ready();
    server
}

#[tokio::test]
async fn a_redrive_says_of_each_dead_letter_what_came_of_it() {
    let server = with_group().await;
    assert_eq!(redriven(&server, json!({})).await, [json!({"end": "done"})], "there are none");
    server.json(Method::POST, "/v1/admin/topics/%25DLQ%25g", json!({})).await;
    let lines = redriven(&server, json!({"rate": 1000})).await;
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
    assert_eq!(statuses, [Some(201), Some(200), Some(404), Some(507), None]);
    assert_eq!(lines[0], json!({"offset": 1, "status": 201, "stored": {"topic": "%DLQ%g", "offset": 1}}));
    assert_eq!(lines[2]["problem"]["type"], "urn:gantry:problem:message-not-found");
    assert_eq!(lines[4], json!({"end": "failed", "next": 4}));
    let path = "/v1/admin/groups/g/dead-letters/redrive";
    let (status, problem) = server.json(Method::POST, path, json!({"queue": 2000})).await;
    assert_eq!((status, &problem["type"]), (404, &json!("urn:gantry:problem:queue-not-found")));
    let some = redriven(&server, json!({"rate": 1000, "from": 2, "to": 3})).await;
    assert_eq!((some.len(), &some[0]["offset"], &some[1]), (2, &json!(2), &json!({"end": "done"})));
    let named = redriven(&server, json!({"rate": 1000, "offsets": [3, 1]})).await;
    assert_eq!((named.len(), &named[0]["status"], &named[1]["status"]), (3, &json!(404), &json!(201)));
}

#[tokio::test(start_paused = true)]
async fn a_redrive_keeps_to_its_rate_and_ends_with_the_server() {
    let server = with_group().await;
    let begin = tokio::time::Instant::now();
    redriven(&server, json!({"rate": 0.5, "offsets": [1, 2, 3]})).await;
    assert_eq!(begin.elapsed().as_secs(), 4, "two waits of two seconds");
    server.1.set_draining();
    assert_eq!(redriven(&server, json!({"offsets": [1, 2]})).await, [json!({"end": "stopping", "next": 1})]);
}

#[tokio::test]
async fn a_redrive_that_makes_no_sense_is_refused() {
    let server = with_group().await;
    let path = "/v1/admin/groups/g/dead-letters/redrive";
    for body in [json!({"rate": 0}), json!({"rate": 1001}), json!({"offsets": []}), json!({"offsets": [1], "from": 1})]
    {
        assert_eq!(server.json(Method::POST, path, body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(server.json(Method::POST, path, json!({"speed": 1})).await.0, 422);
    assert_eq!(server.json(Method::POST, path, json!({"offsets": [4, 1]})).await.0, 507, "not even the first");
    let nobody = "/v1/admin/groups/nobody/dead-letters/redrive";
    assert_eq!(server.json(Method::POST, nobody, json!({})).await.0, 404);
}

#[tokio::test]
async fn dead_letters_and_parked_transactions_are_listed_from_an_offset_on() {
    let server = with_group().await;
    let path = "/v1/admin/groups/g/dead-letters";
    assert_eq!(server.json(Method::GET, path, Value::Null).await, (200, json!({"deadLetters": []})));
    assert_eq!(server.json(Method::GET, "/v1/admin/groups/nobody/dead-letters", Value::Null).await.0, 404);
    server.json(Method::POST, "/v1/admin/topics/%25DLQ%25g", json!({})).await;
    let (_, found) = server.json(Method::GET, &format!("{path}?from=3&body=false"), Value::Null).await;
    assert_eq!(found["deadLetters"][0]["messageId"], "ID");
    assert_eq!(found["deadLetters"][0]["body"], Value::Null);
    assert_eq!(server.json(Method::GET, &format!("{path}?max=257"), Value::Null).await.0, 400);
    let (_, parked) = server.json(Method::GET, "/v1/admin/transactions/parked", Value::Null).await;
    assert_eq!((&parked["transactions"][0]["messageId"], &parked["next"]), (&json!("ID"), &json!(8)));
    let (_, rest) = server.json(Method::GET, "/v1/admin/transactions/parked?from=8", Value::Null).await;
    assert_eq!(rest, json!({"transactions": []}));
}

#[tokio::test]
async fn parked_transactions_are_resumed_with_a_result_each() {
    let server = with_group().await;
    let resume = async |offsets: Value| {
        server.json(Method::POST, "/v1/admin/transactions/parked/resume", json!({"offsets": offsets})).await
    };
    assert_eq!(resume(json!([1])).await.0, 201);
    assert_eq!(resume(json!([2])).await.0, 200);
    let (status, mixed) = resume(json!([1, 3])).await;
    assert_eq!((status, &mixed["results"][1]["status"]), (207, &json!(404)));
    assert_eq!(resume(json!([])).await.0, 400);
}

#[tokio::test]
async fn who_holds_a_message_group_is_shown() {
    let server = with_group().await;
    let (status, shown) = server.json(Method::GET, "/v1/admin/groups/g/blocked", Value::Null).await;
    let expected = json!({"blocked": [{"topic": "orders", "queue": 2, "offset": 7, "messageId": "ID", "attempts": 3,
        "holder": "client-1", "untilMs": 1_700_000_000_000_u64, "waiting": 4}]});
    assert_eq!((status, shown), (200, expected));
}
