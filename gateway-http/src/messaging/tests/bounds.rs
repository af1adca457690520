//! Bad input and too much of it: each its documented answer, and nothing is stored.

use super::*;

fn small() -> Limits {
    Limits { request_bytes_max: 64, request_timeout: Duration::from_millis(50), ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_and_named() {
    let world = World::start();
    let many = |messages: Value| json!({"messages": messages});
    let long = "a".repeat(128);
    for (path, body, status, kind, detail) in [
        ("/v1/topics/orders/messages", many(json!([])), 400, "invalid-request", "messages is empty"),
        // They are counted before one is looked at.
        ("/v1/topics/orders/messages", many(json!(vec![1; 1025])), 400, "invalid-request", "1025"),
        (
            "/v1/topics/orders/messages",
            many(json!([{"body": "x", "colour": "red"}])),
            422,
            "invalid-body",
            "unknown field `colour`",
        ),
        ("/v1/topics/orders/messages", json!({"order": 1}), 422, "invalid-body", "unknown field `order`"),
        ("/v1/topics/orders/messages", many(json!([{"body": 1}])), 422, "invalid-body", "expected a string"),
        ("/v1/topics/a.b/messages", many(json!([{"body": "x"}])), 400, "invalid-name", "a.b"),
        ("/v1/topics/..%2f..%2fadmin/messages", many(json!([{"body": "x"}])), 400, "invalid-name", "../../admin"),
        ("/v1/topics/a%00b/messages", many(json!([{"body": "x"}])), 400, "invalid-name", "a\\0b"),
        ("/v1/topics/%ff/messages", many(json!([{"body": "x"}])), 400, "invalid-request", "UTF-8"),
        ("/v1/topics/TBW102/messages", many(json!([{"body": "x"}])), 403, "invalid-name", "TBW102"),
        (
            "/v1/groups/g/receive",
            json!({"topic": "orders", "maximum": 1}),
            422,
            "invalid-body",
            "unknown field `maximum`",
        ),
        (
            "/v1/groups/g/receive",
            json!({"topic": "orders", "max": 33}),
            400,
            "invalid-request",
            "max is 33, allowed are 1 to 32",
        ),
        (
            "/v1/groups/g/receive",
            json!({"topic": "orders", "wait": "21s"}),
            400,
            "invalid-request",
            "limit is 20000 ms",
        ),
        (
            "/v1/groups/g/receive",
            json!({"topic": "orders", "invisible": "9s"}),
            400,
            "invalid-request",
            "the shortest allowed is 10000 ms",
        ),
        (
            "/v1/groups/g/receive",
            json!({"topic": "orders", "filter": "a", "sql": "b > 1"}),
            400,
            "invalid-request",
            "together",
        ),
        ("/v1/groups/g/receive", json!({"topic": "orders", "sql": "b >"}), 400, "invalid-request", ""),
        (
            "/v1/groups/g/receive",
            json!({"topic": "orders", "attemptId": "a".repeat(257)}),
            400,
            "invalid-request",
            "attemptId is 257 bytes",
        ),
        ("/v1/groups/g/receive", json!({}), 422, "invalid-body", "missing field `topic`"),
        (&format!("/v1/groups/{long}x/receive"), json!({"topic": "orders"}), 400, "invalid-name", ""),
        (
            "/v1/groups/g/ack",
            json!({"topic": "orders", "handles": []}),
            400,
            "invalid-request",
            "allowed are 1 to 1024",
        ),
        ("/v1/groups/g/ack", json!({"topic": "orders", "handles": vec!["h"; 1025]}), 400, "invalid-request", "1025"),
        (
            "/v1/groups/g/nack",
            json!({"topic": "orders", "handles": ["h"], "delay": "soon"}),
            400,
            "invalid-request",
            "delay is \"soon\"",
        ),
    ] {
        let answer = world.post(path, body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, kind), "{path} {answer:?}");
        assert!(answer.json()["detail"].as_str().expect("text").contains(detail), "{answer:?}");
    }
    let cut = world.ask(json_request("/v1/topics/orders/messages"), "{\"messages\": [").await;
    assert_eq!((cut.status, cut.problem().as_str()), (400, "invalid-body"));
    assert!(world.receive(16).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_in_size_whether_their_length_is_told_or_not() {
    let world = World::with(small());
    let told = world.ask(raw("/v1/topics/orders/messages").header("content-length", "65"), "x").await;
    assert_eq!((told.status, told.problem().as_str()), (413, "request-too-large"));
    let pieces = tokio_stream::iter(std::iter::repeat_n(Ok::<_, std::convert::Infallible>("0123456789"), 7));
    let untold = world.ask(raw("/v1/topics/orders/messages"), Body::from_stream(pieces)).await;
    assert_eq!((untold.status, untold.json()["codeName"].clone()), (413, json!("MESSAGE_BODY_TOO_LARGE")));
    let pieces = tokio_stream::iter(std::iter::repeat_n(Ok::<_, std::convert::Infallible>("0123456789"), 6));
    let fits = world.ask(raw("/v1/topics/orders/messages"), Body::from_stream(pieces)).await;
    assert_eq!(fits.status, 201);
    let long = world.post("/v1/groups/g/receive", json!({"topic": "orders", "filter": "x".repeat(64 * 1024)})).await;
    assert_eq!((long.status, long.problem().as_str()), (413, "request-too-large"));
    assert_eq!(world.receive(16).await[0]["body"].as_str().map(str::len), Some(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_given_up() {
    let world = World::with(small());
    for request in
        [raw("/v1/topics/orders/messages"), json_request("/v1/groups/g/receive"), json_request("/v1/groups/g/ack")]
    {
        let endless = tokio_stream::pending::<Result<Bytes, std::convert::Infallible>>();
        let answer = world.ask(request, Body::from_stream(endless)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (408, "request-timeout"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_says_when_to_come_again() {
    let world = World::with(Limits { inbound_bytes_max: 64, undelivered_bytes_max: 1, ..Limits::default() });
    let answer = world.ask(raw("/v1/topics/orders/messages"), "x".repeat(65)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
    assert_eq!(answer.json()["codeName"], "TOO_MANY_REQUESTS");
    world.send(&[], "1234").await;
    let first = world.begin(json_request("/v1/groups/g/receive"), json!({"topic": "orders"}).to_string()).await;
    let second = world.post("/v1/groups/g/receive", json!({"topic": "orders", "wait": "0"})).await;
    assert_eq!((second.status, second.problem().as_str()), (429, "busy"));
    drop(first);
    let third = world.post("/v1/groups/other/receive", json!({"topic": "orders", "wait": "0"})).await;
    assert_eq!(third.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_that_began_before_the_bound_was_reached_do_not_pass_it() {
    let world = World::with(Limits { undelivered_bytes_max: 1, ..Limits::default() });
    let begin = |group: &str| {
        let routes = world.routes.clone();
        let request = json_request(&format!("/v1/groups/{group}/receive"));
        let body = json!({"topic": "orders", "wait": "20s"}).to_string();
        tokio::spawn(routes.oneshot(request.body(Body::from(body)).expect("valid")))
    };
    let waits = ["a", "b", "c"].map(begin);
    while world.broker.status().waiting < 3 {
        tokio::task::yield_now().await;
    }
    world.send(&[], "1").await;
    let mut answers = Vec::new();
    for wait in waits {
        // Its body is not taken.
        answers.push(wait.await.expect("no panic").expect("infallible"));
    }
    let count = |status| answers.iter().filter(|answer| answer.status().as_u16() == status).count();
    assert_eq!((count(200), count(429)), (1, 2));
    drop(answers);
    world.tasks.close();
    world.tasks.wait().await;
    assert_eq!(world.broker.status().in_flight, 0, "what was refused is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_pages_may_not_send() {
    let world = World::start();
    for headers in [
        [("origin", "https://evil.example"), ("host", "mq.example:8082")],
        [("sec-fetch-site", "cross-site"), ("host", "a")],
    ] {
        let answer = world.ask(with(raw("/v1/topics/orders/messages"), &headers), "x").await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "cross-site"));
        let checks = Request::builder().uri("/v1/producers/orders/checks?wait=0");
        let answer = world.ask(with(checks, &headers), "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "cross-site"));
    }
    let own = [("origin", "http://mq.example:8082"), ("host", "mq.example:8082")];
    assert_eq!(world.ask(with(raw("/v1/topics/orders/messages"), &own), "x").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_bounded_and_the_rest_is_free_at_once() {
    let world = World::start();
    let body = "x".repeat(3 * 1024 * 1024);
    for _ in 0..4 {
        let answer = world.ask(raw("/v1/topics/orders/messages"), body.clone()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    assert_eq!(world.receive(16).await.len(), 3, "8 MiB are passed by the third");
    world.tasks.close();
    world.tasks.wait().await;
    assert_eq!(world.receive(16).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_leases_nothing_to_those_that_it_sends_away() {
    let world = World::start();
    world.send(&[], "x").await;
    world.draining.cancel();
    let answer = world.post("/v1/groups/g/receive", json!({"topic": "orders"})).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "stopping"));
    assert_eq!(world.broker.status().in_flight, 0);
}
