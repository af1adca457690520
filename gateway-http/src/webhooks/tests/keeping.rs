//! What webhooks there are: made, changed and deleted by one gateway, known to all, sealed in the topic.

use super::*;

#[tokio::test]
async fn a_webhook_lives_through_its_calls_on_any_gateway() {
    let world = World::new();
    let (first, second) = (world.gateway(), world.gateway());
    let made = first.create("https://example.org/in", json!({"enabled": false})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    assert_eq!((&made["revision"], &made["secrets"]), (&json!(1), &json!([{"version": "v1"}])));
    until("the other gateway knows it", async || second.ask(Method::GET, &path, None).await == (200, made.clone()))
        .await;

    let change = json!({"concurrency": 3, "retry": ["1s", "5s"]});
    let (status, changed) = second.ask(Method::PATCH, &path, Some(change)).await;
    assert_eq!((status, &changed["concurrency"], &changed["revision"]), (200, &json!(3), &json!(2)));
    until("and its change", async || first.list().await == json!([changed.clone()])).await;

    assert_eq!(first.ask(Method::DELETE, &path, None).await.0, 204);
    until("and its end", async || second.ask(Method::GET, &path, None).await.0 == 404).await;
    let third = world.gateway();
    assert_eq!(third.list().await, json!([]), "one that starts later reads the same");
    let (status, problem) = first.ask(Method::DELETE, &path, None).await;
    assert_eq!((status, problem["type"].as_str()), (404, Some("urn:gantry:problem:webhook-not-found")));
}

#[tokio::test]
async fn what_may_not_be_is_refused_with_its_limit() {
    let world = World::new();
    let gateway = world.gateway();
    let url = "https://example.org/in";
    gateway.create(url, json!({"enabled": false})).await;
    let refused = async |others: Value| {
        let mut webhook = json!({"topic": "orders", "group": "g", "url": url, "secrets": [SECRET], "enabled": false});
        webhook.as_object_mut().expect("an object").extend(others.as_object().expect("an object").clone());
        let (status, problem) = gateway.ask(Method::POST, "/v1/webhooks", Some(webhook)).await;
        (
            status,
            problem["type"].as_str().unwrap_or_default().replace("urn:gantry:problem:", ""),
            problem["detail"].to_string(),
        )
    };
    assert_eq!(refused(json!({"group": "hook"})).await.1, "webhook-group-taken");
    let (status, kind, detail) = refused(json!({"concurrency": 65})).await;
    assert_eq!((status, kind.as_str()), (400, "invalid-request"));
    assert!(detail.contains("allowed are 1 to 64"), "{detail}");
    let (status, kind, detail) = refused(json!({"colour": "red"})).await;
    assert_eq!((status, kind.as_str()), (422, "invalid-body"));
    assert!(detail.contains("colour"), "{detail}");
    for group in ["g1", "g2"] {
        gateway.create(url, json!({"group": group, "enabled": false})).await;
    }
    let (status, kind, detail) = refused(json!({})).await;
    assert_eq!((status, kind.as_str()), (429, "too-many-webhooks"));
    assert!(detail.contains("limit is 3"), "{detail}");
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_refused_when_it_can_be_told() {
    let world = World::new();
    let gateway = world.gateway_with(Options { allowed: Allowed::default(), ..world.options() });
    gateway.list().await;
    let webhook = json!({"topic": "orders", "group": "g", "url": "http://10.0.0.1/", "secrets": [SECRET]});
    let (status, problem) = gateway.ask(Method::POST, "/v1/webhooks", Some(webhook)).await;
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(status == 400 && detail.contains("10.0.0.1, which is private"), "{status} {detail}");
}

#[tokio::test]
async fn the_topic_holds_no_secret_and_takes_nothing_that_is_not_sealed() {
    let world = World::new();
    let gateway = world.gateway();
    gateway.create("https://example.org/in", json!({"enabled": false})).await;
    let name = TopicName::new(topic::NAME).expect("valid");
    let forged = types::Message::new(name.clone(), Bytes::from_static(b"{\"id\": \"wh_1\"}"));
    world.broker.send(types::QueueId(0), vec![forged]).await.pop().expect("one").expect("stored");

    let query = types::admin::MessageQuery {
        topic: name,
        by: types::admin::FindBy::Time(None),
        stored: types::Timestamp(0)..types::Timestamp::FAR_FUTURE,
        messages_max: 10,
    };
    let records = world.broker.find_messages(query).await.expect("read").records;
    assert_eq!(records.len(), 2);
    for hidden in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "example.org", "hook\""] {
        let shows = |record: &Bytes| record.windows(hidden.len()).any(|part| part == hidden.as_bytes());
        assert!(!records.iter().any(shows), "{hidden}");
    }
    let fresh = world.gateway();
    assert_eq!(fresh.list().await.as_array().expect("a list").len(), 1, "the forged one is left out");
    let stranger = world
        .gateway_with(Options { keys: Arc::new(Keys::parse(&Keys::generate()).expect("valid")), ..world.options() });
    assert_eq!(stranger.list().await, json!([]));
}

#[tokio::test]
async fn a_live_record_is_written_again_before_it_expires() {
    let world = World::new();
    let options = Options { rewrite_after: Duration::from_millis(1500), ..world.options() };
    let gateway = world.gateway_with(options);
    let made = gateway.create("https://example.org/in", json!({"enabled": false})).await;
    let name = TopicName::new(topic::NAME).expect("valid");
    let end = async || {
        let end = world.broker.queue_offset(&name, types::QueueId(0), types::broker::OffsetAt::End).await;
        end.expect("known").0
    };
    assert_eq!(end().await, 1);
    until("it is written again", async || end().await >= 3).await;
    assert_eq!(gateway.list().await, json!([made]), "and is what it was");
}

#[tokio::test]
async fn two_changes_at_once_do_not_mix() {
    let world = World::new();
    let (first, second) = (world.gateway(), world.gateway());
    let made = first.create("https://example.org/in", json!({"enabled": false})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    until("known to both", async || second.ask(Method::GET, &path, None).await.0 == 200).await;
    for round in 0..5_u32 {
        let change = |n: u32| Some(json!({"concurrency": 2 * round + n, "timeout": format!("{}s", 2 * round + n)}));
        let (one, other) =
            tokio::join!(first.ask(Method::PATCH, &path, change(1)), second.ask(Method::PATCH, &path, change(2)));
        assert!([one.0, other.0].iter().all(|status| matches!(status, 200 | 409)), "{one:?} {other:?}");
        until("both agree", async || first.list().await == second.list().await).await;
        let agreed = &first.list().await[0];
        assert_eq!(agreed["timeout"], json!(format!("{}s", agreed["concurrency"])), "of one change as a whole");
    }
}

#[tokio::test]
async fn a_gateway_without_a_key_says_so() {
    let request = Request::builder().uri("/v1/webhooks").body(Body::empty()).expect("valid");
    let response = Router::new().nest("/v1", routes(None)).oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 501);
}
