//! Half messages that are asked about at URLs, as a broker makes checks.

use super::*;

/// An answer with an outcome.
fn outcome(outcome: &str) -> Response {
    axum::Json(json!({"outcome": outcome})).into_response()
}

fn check_url(url: &str, others: Value) -> Value {
    let mut check_url = json!({"topic": "orders", "url": url, "secrets": [SECRET]});
    check_url.as_object_mut().expect("an object").extend(others.as_object().expect("an object").clone());
    check_url
}

impl Gateway {
    /// Registers a check URL, with these members beside the usual.
    async fn register(&self, url: &str, others: Value) -> String {
        self.list().await;
        let (status, shown) = self.ask(Method::POST, "/v1/check-urls", Some(check_url(url, others))).await;
        assert_eq!(status, 201, "{shown}");
        format!("/v1/check-urls/{}", shown["id"].as_str().expect("an id"))
    }

    /// Begins a transaction and says its id.
    async fn half(&self, body: &str) -> String {
        let request = Request::builder().method(Method::POST).uri("/v1/topics/orders/transactions");
        let request = request.body(Body::from(body.to_owned())).expect("valid");
        let response = self.routes.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), 201);
        let bytes = response.into_body().collect().await.expect("in memory").to_bytes();
        let sent: Value = serde_json::from_slice(&bytes).expect("JSON");
        sent["transactionId"].as_str().expect("an id").to_owned()
    }

    /// The body of a message that comes, if one does in time.
    async fn received(&self, wait: &str) -> Option<Value> {
        let asked = json!({"topic": "orders", "wait": wait});
        let (status, answer) = self.ask(Method::POST, "/v1/groups/g/receive", Some(asked)).await;
        (status == 200).then(|| answer["messages"][0]["body"].clone())
    }

    /// What the last calls came to, the newest first.
    async fn outcomes(&self, path: &str) -> Vec<Value> {
        let (status, log) = self.ask(Method::GET, &format!("{path}/deliveries"), None).await;
        assert_eq!(status, 200, "{log}");
        log["deliveries"].as_array().expect("a list").iter().map(|call| call["outcome"].clone()).collect()
    }
}

#[tokio::test]
async fn an_orphan_is_asked_about_signed_and_ends_as_the_answer_says() {
    let world = World::new();
    let gateway = world.asking_gateway().await;
    let endpoint = Endpoint::new(|_| outcome("commit")).await;
    let path = gateway.register(&endpoint.url, json!({})).await;
    gateway.half("paid").await;
    endpoint.has(1).await;
    let call = endpoint.calls().remove(0);
    let asked: Value = serde_json::from_slice(&call.body).expect("JSON");
    assert_eq!((&asked["message"]["body"], call.header("content-type")), (&json!("paid"), "application/json"));
    assert!(asked["transactionId"].is_string(), "{asked}");
    assert_eq!(call.header("webhook-id"), format!("check_{}", asked["message"]["messageId"].as_str().expect("an id")));
    let secrets = [signature::Secret::parse(SECRET).expect("valid")];
    let at = call.header("webhook-timestamp").parse().expect("a number");
    let signed = signature::header(&secrets, call.header("webhook-id"), at, &call.body);
    assert_eq!(call.header("webhook-signature"), signed);
    assert_eq!(gateway.received("20s").await, Some(json!("paid")));
    assert_eq!(gateway.outcomes(&path).await.last(), Some(&json!("delivered")));
}

#[tokio::test]
async fn who_says_nothing_or_does_not_know_is_asked_again_until_there_is_an_outcome() {
    let world = World::new();
    let gateway = world.asking_gateway().await;
    let endpoint = Endpoint::new(|call| match call {
        0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        1 => "fine".into_response(),
        2 => outcome("unknown"),
        _ => outcome("rollback"),
    })
    .await;
    let path = gateway.register(&endpoint.url, json!({"concurrency": 1})).await;
    let id = gateway.half("dropped").await;
    endpoint.has(4).await;
    let calls = endpoint.calls();
    let ids: Vec<_> = calls.iter().map(|call| call.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let expected = ["delivered", "delivered", "failed", "failed"];
    until("they are noted", async || gateway.outcomes(&path).await.len() >= 4).await;
    let outcomes = gateway.outcomes(&path).await;
    assert_eq!(outcomes[outcomes.len() - 4..], expected.map(Value::from));
    until("it is rolled back", async || {
        gateway.ask(Method::POST, &format!("/v1/transactions/{id}/commit"), None).await.0 == 409
    })
    .await;
    assert_eq!(gateway.received("0").await, None);
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_asked_no_more() {
    let world = World::new();
    let gateway = world.asking_gateway().await;
    let endpoint = Endpoint::new(|_| StatusCode::GONE.into_response()).await;
    let path = gateway.register(&endpoint.url, json!({})).await;
    gateway.half("lonely").await;
    let shown = async || gateway.ask(Method::GET, &path, None).await.1;
    until("it is disabled", async || shown().await["enabled"] == json!(false)).await;
    let why = shown().await["disabledBecause"].clone();
    assert!(why.as_str().is_some_and(|why| why.contains("410")), "{why}");
    let (status, changed) = gateway.ask(Method::PATCH, &path, Some(json!({"enabled": true}))).await;
    assert_eq!((status, changed.get("disabledBecause")), (200, None));
}

#[tokio::test]
async fn a_check_url_lives_through_its_calls_on_any_gateway() {
    let world = World::new();
    let (first, second) = (world.gateway(), world.gateway());
    let path = first.register("https://example.org/in", json!({"enabled": false})).await;
    until("the other gateway knows it", async || second.ask(Method::GET, &path, None).await.0 == 200).await;
    let (status, changed) = second.ask(Method::PATCH, &path, Some(json!({"timeout": "3s"}))).await;
    assert_eq!((status, &changed["timeout"], &changed["revision"]), (200, &json!("3s"), &json!(2)));
    assert_eq!(changed["secrets"], json!([{"version": "v1"}]));
    let all = async || first.ask(Method::GET, "/v1/check-urls", None).await.1["checkUrls"].clone();
    until("and its change", async || all().await == json!([changed.clone()])).await;
    assert_eq!(first.list().await, json!([]), "it is no webhook");
    let as_webhook = path.replace("check-urls", "webhooks");
    let (status, problem) = first.ask(Method::DELETE, &as_webhook, None).await;
    assert_eq!((status, &problem["type"]), (404, &json!("urn:gantry:problem:webhook-not-found")));
    assert_eq!(first.ask(Method::DELETE, &path, None).await.0, 204);
    let (status, problem) = first.ask(Method::GET, &path, None).await;
    assert_eq!((status, &problem["type"]), (404, &json!("urn:gantry:problem:check-url-not-found")));
}

#[tokio::test]
async fn a_topic_has_one_check_url_and_bad_ones_are_refused() {
    let world = World::new();
    let gateway = world.gateway_with(Options { allowed: Allowed::default(), ..world.options() });
    let url = "https://example.org/in";
    gateway.register(url, json!({"enabled": false})).await;
    for (others, status, kind, detail) in [
        (json!({}), 409, "check-url-taken", "topic orders has check URL"),
        (json!({"url": "http://10.0.0.1/"}), 400, "invalid-request", "which is private"),
        (json!({"topic": "a.b"}), 400, "invalid-name", "a.b"),
        (json!({"concurrency": 65}), 400, "invalid-request", "concurrency is 65, allowed are 1 to 64"),
        (json!({"group": "g"}), 422, "invalid-body", "unknown field `group`"),
    ] {
        let asked = check_url(url, others);
        let (answered, problem) = gateway.ask(Method::POST, "/v1/check-urls", Some(asked)).await;
        assert_eq!((answered, &problem["type"]), (status, &json!(format!("urn:gantry:problem:{kind}"))));
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(detail)), "{problem}");
    }
    // A webhook's group and a topic may have one name.
    gateway.create(url, json!({"group": "orders", "enabled": false})).await;
    gateway.register(url, json!({"topic": "shop", "enabled": false})).await;
    let (status, problem) = gateway.ask(Method::POST, "/v1/webhooks", Some(webhook(url, json!({})))).await;
    assert_eq!((status, &problem["type"]), (429, &json!("urn:gantry:problem:too-many-webhooks")));
}
