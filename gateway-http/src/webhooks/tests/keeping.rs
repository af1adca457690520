//! What webhooks there are: made, changed and deleted by one gateway, known to all, sealed in the topic.

use super::*;

/// The kind of a problem document.
fn kind(problem: &Value) -> String {
    problem["type"].as_str().unwrap_or_default().replace("urn:gantry:problem:", "")
}

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
async fn its_topic_and_group_are_not_among_those_that_clients_may_look_at() {
    let world = World::new();
    let gateway = world.gateway();
    gateway.create("https://example.org/in", json!({"enabled": false})).await;
    for kind in ["topics", "groups"] {
        let (status, list) = gateway.ask(Method::GET, &format!("/v1/admin/{kind}"), None).await;
        assert_eq!(status, 200, "{list}");
        for item in list[kind].as_array().expect("a list") {
            let path = format!("/v1/admin/{kind}/{}", item["name"].as_str().expect("a name"));
            assert_eq!(gateway.ask(Method::GET, &path, None).await.0, 200, "{path}");
        }
        let path = format!("/v1/admin/{kind}/{}", topic::NAME);
        assert_eq!(gateway.ask(Method::GET, &path, None).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn what_may_not_be_is_refused_with_its_limit() {
    let world = World::new();
    let gateway = world.gateway();
    let url = "https://example.org/in";
    gateway.create(url, json!({"enabled": false})).await;
    let refused = async |others: Value| {
        let others = [json!({"group": "g", "enabled": false}), others];
        let webhook = others.into_iter().fold(webhook(url, json!({})), |mut all, some| {
            all.as_object_mut().expect("an object").extend(some.as_object().expect("an object").clone());
            all
        });
        let (status, problem) = gateway.ask(Method::POST, "/v1/webhooks", Some(webhook)).await;
        (status, kind(&problem), problem["detail"].to_string())
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
    let private = webhook("http://10.0.0.1/", json!({}));
    let (status, problem) = gateway.ask(Method::POST, "/v1/webhooks", Some(private)).await;
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
    assert_eq!(world.records().await, 1);
    until("it is written again", async || world.records().await >= 3).await;
    assert_eq!(gateway.list().await, json!([made]), "and is what it was");
}

#[tokio::test]
async fn a_gateway_that_was_away_for_longer_than_records_live_begins_anew() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut options = broker::Options::local(dir.path().to_owned());
    options.segment_bytes = 256 * 1024;
    let at_once = Duration::from_millis(100);
    let every_hour = broker::retention::Hours::EVERY;
    options.retention = broker::retention::Settings {
        delete_when: every_hour,
        reserved: at_once,
        interval: at_once,
        // How full the machine's disk is says nothing of what is tested here.
        disk_warning: 100,
        ..options.retention
    };
    let broker = broker::LocalBroker::start(Env::real(), options).expect("a broker");
    let messaging = Messaging::new(Arc::new(broker.clone()), CancellationToken::new(), TaskTracker::new());
    let keys = Arc::new(Keys::parse(&Keys::generate()).expect("valid"));
    let (mut away, writer) = (topic::Topic::new(messaging.clone(), keys.clone()), topic::Topic::new(messaging, keys));
    let record = |id: &str, revision| Record {
        id: id.to_owned(),
        since: None,
        revision,
        tie: 0,
        changed_at_ms: 0,
        wanted: None,
        disabled_because: None,
    };
    writer.write(&record("wh_0", 1)).await.expect("written");
    let news = away.news().await.expect("read");
    assert_eq!((news.stored.len(), news.is_all), (1, false));
    // Its end, which expires unread.
    writer.write(&record("wh_0", 2)).await.expect("written");
    let name = TopicName::new(topic::NAME).expect("valid");
    until("both have expired", async || {
        let filler = types::Message::new(TopicName::new("filler").expect("valid"), Bytes::from(vec![7; 32 * 1024]));
        drop(broker.send(types::QueueId(0), vec![filler]).await);
        let first = broker.queue_offset(&name, types::QueueId(0), types::broker::OffsetAt::Beginning).await;
        first.expect("known").0 == 2
    })
    .await;
    writer.write(&record("wh_1", 1)).await.expect("written");
    let news = away.news().await.expect("read");
    let ids: Vec<_> = news.stored.iter().map(|(record, ..)| record.id.as_str()).collect();
    assert_eq!((ids, news.is_all), (vec!["wh_1"], true));
    let news = away.news().await.expect("read");
    assert_eq!((news.stored.len(), news.is_all), (0, false));
    broker.stop().await;
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
async fn of_two_gateways_that_make_webhooks_for_one_group_at_once_one_does() {
    let world = World::new();
    let options = || Options { webhooks_max: 100, ..world.options() };
    let (first, second) = (world.gateway_with(options()), world.gateway_with(options()));
    first.list().await;
    second.list().await;
    for round in 0..5 {
        let make = |url: &str| Some(webhook(url, json!({"group": format!("g{round}"), "enabled": false})));
        let (one, other) = tokio::join!(
            first.ask(Method::POST, "/v1/webhooks", make("https://one.example.org/")),
            second.ask(Method::POST, "/v1/webhooks", make("https://other.example.org/")),
        );
        let (made, refused) = if one.0 == 201 { (one, other) } else { (other, one) };
        assert_eq!((made.0, refused.0, kind(&refused.1)), (201, 409, "webhook-group-taken".to_owned()), "{refused:?}");
        let path = format!("/v1/webhooks/{}", made.1["id"].as_str().expect("an id"));
        for gateway in [&first, &second] {
            until("it stays", async || gateway.ask(Method::GET, &path, None).await == (200, made.1.clone())).await;
        }
        until("both agree", async || first.list().await == second.list().await).await;
        assert_eq!(first.list().await.as_array().map(Vec::len), Some(round + 1));
    }
}

#[tokio::test]
async fn a_webhook_whose_maker_died_before_it_saw_that_its_group_was_taken_is_ended() {
    let world = World::new();
    let gateway = world.gateway();
    let made = gateway.create("https://example.org/in", json!({"enabled": false})).await;
    let rival = Record {
        id: "wh_0".to_owned(),
        since: None,
        revision: 1,
        tie: 0,
        changed_at_ms: 0,
        wanted: serde_json::from_value(webhook("https://rival.example.org/", json!({}))).expect("valid"),
        disabled_because: None,
    };
    topic::Topic::new(world.messaging(), world.keys.clone()).write(&rival).await.expect("written");
    until("a tombstone is written", async || world.records().await == 3).await;
    assert_eq!(gateway.list().await, json!([made]));
    let path = format!("/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    assert_eq!(gateway.ask(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(gateway.list().await, json!([]), "it does not come back when the group is free");
    assert_eq!(world.gateway().list().await, json!([]));
}

#[tokio::test]
async fn nothing_is_known_and_nothing_changed_while_the_brokers_cannot_be_asked() {
    let world = World::new();
    let nobody = proxy::cluster::Options {
        name_servers: vec!["127.0.0.1:1".to_owned()],
        name: "C".to_owned(),
        shared_broker: Some("broker-a".to_owned()),
        clock: Env::real().clock,
    };
    let broker = Arc::new(proxy::cluster::Cluster::new(nobody));
    let messaging = Messaging::new(broker, CancellationToken::new(), TaskTracker::new());
    let metrics = prometheus::Registry::new();
    let front = Front { messaging, checks: messaging::tests::server(&world.broker).checks() };
    let webhooks = Webhooks::start(Env::real(), front, &metrics, world.options()).expect("started");
    let gateway = Gateway { routes: routes(Some(webhooks.clone())), webhooks, metrics };
    let made = Some(webhook("https://example.org/in", json!({})));
    for (method, body) in [(Method::GET, None), (Method::POST, made)] {
        let (status, problem) = gateway.ask(method, "/v1/webhooks", body).await;
        assert_eq!((status, kind(&problem).as_str()), (503, "webhooks-unknown"), "{problem}");
    }
}

#[tokio::test]
async fn a_body_of_the_wrong_type_is_refused_without_showing_secrets() {
    let world = World::new();
    let gateway = world.gateway();
    let made = gateway.create("https://example.org/in", json!({"enabled": false})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    for secrets in [json!(SECRET), json!({"old": SECRET}), json!([SECRET, 712_712]), json!([[SECRET]])] {
        let whole = webhook("https://example.org/in", json!({"secrets": secrets}));
        let part = json!({"secrets": secrets});
        let calls = [(Method::POST, "/v1/webhooks", whole), (Method::PATCH, path.as_str(), part)];
        for (method, path, body) in calls {
            let (status, problem) = gateway.ask(method, path, Some(body)).await;
            let text = problem.to_string();
            assert!(status == 422 && text.contains("secrets"), "{status} {text}");
            assert!(!text.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") && !text.contains("712712"), "{text}");
        }
    }
    let (status, _) = gateway.ask(Method::PATCH, &path, Some(json!({"secrets": null}))).await;
    assert_eq!(status, 200, "as if it were missing");
}

#[tokio::test]
async fn clients_may_not_use_the_topic_nor_the_group_that_webhooks_are_kept_by() {
    let world = World::new();
    let gateway = world.gateway();
    gateway.create("https://example.org/in", json!({"enabled": false})).await;
    let name = topic::NAME;
    let refused = async |method: Method, path: String, body: Value| {
        let (status, problem) = gateway.ask(method, &path, Some(body)).await;
        assert_eq!((status, kind(&problem).as_str()), (403, "invalid-name"), "{path}: {problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.ends_with("names that begin with gantry_sys_ are Gantry's own"), "{path}: {detail}");
    };
    let (post, delete) = (|| Method::POST, || Method::DELETE);
    refused(post(), format!("/v1/topics/{name}/messages"), json!({"messages": [{"body": "x"}]})).await;
    refused(post(), format!("/v1/topics/{name}/transactions"), json!({"body": "x"})).await;
    refused(post(), "/v1/groups/g/receive".to_owned(), json!({"topic": name})).await;
    refused(post(), format!("/v1/groups/{name}/receive"), json!({"topic": "orders"})).await;
    refused(Method::GET, format!("/v1/groups/g/stream?topic={name}"), Value::Null).await;
    for what in ["topics", "groups"] {
        for method in [post(), delete(), Method::PATCH, Method::GET] {
            refused(method, format!("/v1/admin/{what}/{name}"), json!({})).await;
        }
    }
    refused(Method::GET, format!("/v1/admin/topics/{name}/messages"), Value::Null).await;
    refused(post(), "/v1/webhooks".to_owned(), webhook("https://example.org/", json!({"topic": name}))).await;
    refused(post(), "/v1/webhooks".to_owned(), webhook("https://example.org/", json!({"group": name}))).await;
    assert_eq!(world.records().await, 1);
    assert_eq!(gateway.list().await.as_array().map(Vec::len), Some(1), "the gateway itself goes on");
}

#[tokio::test]
async fn a_gateway_without_a_key_says_so() {
    let request = Request::builder().uri("/v1/webhooks").body(Body::empty()).expect("valid");
    let response = routes(None).oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 501);
}
