//! Messages on their way to endpoints, with leases of a real broker.

use super::*;

#[tokio::test]
async fn a_message_is_posted_once_signed_and_acknowledged() {
    let world = World::new();
    let gateway = world.gateway();
    let endpoint = Endpoint::new(ok).await;
    let made = gateway.create(&endpoint.url, json!({})).await;
    gateway.send(&[("Tag", "t"), ("Property-Colour", "red")], "hello").await;
    endpoint.has(1).await;
    let call = endpoint.calls().remove(0);
    assert_eq!((call.text(), call.header("tag"), call.header("property-colour")), ("hello", "t", "red"));
    let id = call.header("message-id");
    assert_eq!(call.header("webhook-id"), id);
    let secrets = [signature::Secret::parse(SECRET).expect("valid")];
    let at = call.header("webhook-timestamp").parse().expect("a number");
    assert_eq!(call.header("webhook-signature"), signature::header(&secrets, id, at, &call.body));

    let path = format!("/v1/webhooks/{}/deliveries", made["id"].as_str().expect("an id"));
    let (status, log) = gateway.ask(Method::GET, &path, None).await;
    let first = &log["deliveries"][0];
    assert_eq!(
        (status, &first["webhookId"], &first["status"], &first["outcome"]),
        (200, &json!(id), &json!(200), &json!("delivered"))
    );
    let group = GroupName::new("hook").expect("valid");
    let unfinished = async || {
        let progress = world.broker.describe_group(&group).await.expect("known").progress;
        progress.iter().map(|queue| queue.end.0 - queue.committed.0).sum::<u64>()
    };
    until("it is finished", async || unfinished().await == 0).await;
    assert_eq!(endpoint.calls().len(), 1);
    assert_eq!(gateway.counted("calls_total{outcome=\"delivered\"}"), 1);
}

#[tokio::test]
async fn a_failed_message_comes_again_under_the_same_id_and_then_to_the_dead_letters() {
    let world = World::new();
    world.group("hook", 3).await;
    let gateway = world.gateway();
    let endpoint = Endpoint::new(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let made = gateway.create(&endpoint.url, json!({"retry": ["0"]})).await;
    gateway.send(&[], "hello").await;
    endpoint.has(3).await;
    let calls = endpoint.calls();
    let ids: Vec<_> = calls.iter().map(|call| call.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
    assert_eq!(calls.iter().map(|call| call.header("attempt")).collect::<Vec<_>>(), ["1", "2", "3"]);
    let dead = TopicName::dead_letter(&GroupName::new("hook").expect("valid"));
    until("it is a dead letter", async || {
        world.broker.describe_topic(&dead).await.is_ok_and(|dead| dead.queues.iter().any(|(first, end)| end > first))
    })
    .await;
    let path = format!("/v1/webhooks/{}/deliveries", made["id"].as_str().expect("an id"));
    let (_, log) = gateway.ask(Method::GET, &path, None).await;
    assert_eq!(log["deliveries"].as_array().expect("a list").len(), 3);
    assert_eq!(log["deliveries"][0]["error"], "status 500 Internal Server Error");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_disables_its_webhook_everywhere() {
    let world = World::new();
    let (gateway, other) = (world.gateway(), world.gateway());
    let endpoint = Endpoint::new(|call| if call == 0 { StatusCode::GONE.into_response() } else { ok(call) }).await;
    let made = gateway.create(&endpoint.url, json!({"retry": ["0"]})).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    gateway.send(&[], "hello").await;
    for gateway in [&gateway, &other] {
        until("it is disabled", async || gateway.ask(Method::GET, &path, None).await.1["enabled"] == json!(false))
            .await;
    }
    let shown = gateway.ask(Method::GET, &path, None).await.1;
    assert!(shown["disabledBecause"].as_str().is_some_and(|why| why.contains("410")), "{shown}");
    // A gateway that did not know it yet may have made one more call.
    let (status, shown) = gateway.ask(Method::PATCH, &path, Some(json!({"enabled": true}))).await;
    assert_eq!((status, shown.get("disabledBecause")), (200, None));
    endpoint.has(2).await;
}

#[tokio::test]
async fn a_throttling_endpoint_gets_nothing_before_it_wants_it() {
    let world = World::new();
    let gateway = world.gateway();
    let throttle = |call| match call {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        _ => ok(call),
    };
    let endpoint = Endpoint::new(throttle).await;
    gateway.create(&endpoint.url, json!({})).await;
    gateway.send(&[], "first").await;
    endpoint.has(1).await;
    gateway.send(&[], "second").await;
    endpoint.has(3).await;
    // Whichever of the two comes first: no call may.
    let calls = endpoint.calls();
    let left_alone = calls[1].at.since(calls[0].at);
    assert!(left_alone >= Duration::from_secs(1), "{left_alone:?}");
}

#[tokio::test]
async fn throttled_calls_cost_no_attempt() {
    let world = World::new();
    // The first attempt is the last.
    world.group("hook", 1).await;
    let gateway = world.gateway();
    let throttle = |call| match call {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
        2 => (StatusCode::BAD_GATEWAY, [("retry-after", "1")]).into_response(),
        3 => (StatusCode::GATEWAY_TIMEOUT, [("retry-after", "1")]).into_response(),
        _ => ok(call),
    };
    let endpoint = Endpoint::new(throttle).await;
    gateway.create(&endpoint.url, json!({})).await;
    gateway.send(&[], "hello").await;
    endpoint.has(5).await;
    let calls = endpoint.calls();
    assert!(calls.iter().all(|call| call.header("attempt") == "1" && call.text() == "hello"), "{calls:?}");
    until("it is delivered", async || gateway.counted("calls_total{outcome=\"delivered\"}") == 1).await;
    assert_eq!((gateway.counted("calls_total{outcome=\"throttled\"}"), gateway.counted("dead_letters_total")), (4, 0));
}

#[tokio::test]
async fn a_message_that_makes_the_endpoint_unreachable_is_a_dead_letter() {
    let world = World::new();
    world.group("hook", 1).await;
    let gateway = world.gateway();
    let endpoint = Endpoint::new(|_| StatusCode::GATEWAY_TIMEOUT.into_response()).await;
    gateway.create(&endpoint.url, json!({})).await;
    gateway.send(&[], "hello").await;
    until("it is given up", async || gateway.counted("dead_letters_total") == 1).await;
    assert_eq!(endpoint.calls().len(), 1);
}

#[tokio::test]
async fn an_endpoint_that_hangs_holds_up_no_other_webhook() {
    let world = World::new();
    // Three calls for each webhook and nine for who asks first.
    let gateway = world.gateway_in(Room::new(18, room::BYTES_MAX, 3), world.options());
    let (hanging, other) = (Endpoint::held(ok).await, Endpoint::new(ok).await);
    let many = json!({"group": "hanging", "order": "none", "concurrency": 64, "timeout": "60s"});
    gateway.create(&hanging.url, many).await;
    gateway.create(&other.url, json!({"group": "other", "order": "none"})).await;
    // A new group may begin behind what was sent before it was known.
    until("both receive", async || {
        gateway.send(&[], "first").await;
        [&hanging, &other].iter().all(|endpoint| !endpoint.calls.lock().is_empty())
    })
    .await;
    // The calls that it makes at a time grow with those that it answers.
    hanging.answers.add_permits(80);
    for _ in 0..100 {
        gateway.send(&[], "more").await;
    }
    hanging.has(80 + 12).await;
    for _ in 0..5 {
        gateway.send(&[], "late").await;
    }
    until("the other one gets all", async || other.calls().iter().filter(|call| call.text() == "late").count() == 5)
        .await;
    assert_eq!(hanging.calls().len(), 80 + 12, "it has used up all that it may");
    hanging.answers.close();
}

#[tokio::test]
async fn message_groups_stay_in_order_whatever_fails_with_two_gateways() {
    let world = World::new();
    world.group("hook", 99).await;
    let gateways = [world.gateway(), world.gateway()];
    let endpoint =
        Endpoint::new(|call| if call % 4 == 1 { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { ok(call) })
            .await;
    gateways[0].create(&endpoint.url, json!({"retry": ["0", "50ms"], "concurrency": 4})).await;
    for n in 0..60 {
        gateways[0].send(&[("Message-Group", ["a", "b", "c"][n % 3])], &format!("{}", n / 3)).await;
    }
    let all = (0..20).map(|n| n.to_string()).collect::<Vec<_>>();
    let order = || {
        let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for call in endpoint.calls() {
            let seen = order.entry(call.header("message-group").to_owned()).or_default();
            if !seen.iter().any(|body| body == call.text()) {
                seen.push(call.text().to_owned());
            }
        }
        order
    };
    until("all came", async || order().values().map(Vec::len).sum::<usize>() == 60).await;
    for (group, bodies) in order() {
        assert_eq!(bodies, all, "{group}");
    }
}

#[tokio::test]
async fn batches_and_cloud_events_have_their_form() {
    let world = World::new();
    let gateway = world.gateway();
    let (batches, events) = (Endpoint::new(ok).await, Endpoint::new(ok).await);
    for body in ["1", "2", "3"] {
        gateway.send(&[], body).await;
    }
    gateway.create(&batches.url, json!({"format": "json-batch", "order": "none", "group": "batch"})).await;
    gateway.create(&events.url, json!({"format": "cloudevents", "group": "events"})).await;
    gateway.send(&[("Property-Content-Type", "application/json")], "{\"a\": 1}").await;
    let messages = || {
        batches
            .calls()
            .iter()
            .map(|call| {
                let body: Value = serde_json::from_slice(&call.body).expect("JSON");
                body["messages"].as_array().expect("a list").len()
            })
            .sum::<usize>()
    };
    until("all in batches", async || messages() >= 1).await;
    until("an event", async || !events.calls().is_empty()).await;
    let call = events.calls().remove(0);
    assert_eq!(call.header("content-type"), "application/cloudevents+json");
    let event: Value = serde_json::from_slice(&call.body).expect("JSON");
    assert_eq!((&event["specversion"], &event["source"]), (&json!("1.0"), &json!("/topics/orders")));
}

#[tokio::test]
async fn a_test_call_says_what_came_of_it() {
    let world = World::new();
    let gateway = world.gateway();
    let endpoint = Endpoint::new(|_| StatusCode::IM_A_TEAPOT.into_response()).await;
    let made = gateway.create(&endpoint.url, json!({"enabled": false})).await;
    let path = format!("/v1/webhooks/{}/test", made["id"].as_str().expect("an id"));
    let (status, result) = gateway.ask(Method::POST, &path, None).await;
    assert_eq!((status, &result["status"], &result["outcome"]), (200, &json!(418), &json!("failed")));
    let call = endpoint.calls().remove(0);
    assert!(call.header("webhook-id").starts_with("test_") && call.header("gantry-webhook-test") == "true");
}

#[tokio::test]
async fn a_stop_waits_for_calls_and_receives_nothing_more() {
    let world = World::new();
    let gateway = world.gateway();
    let endpoint = Endpoint::held(ok).await;
    gateway.create(&endpoint.url, json!({})).await;
    gateway.send(&[], "before").await;
    endpoint.has(1).await;
    let webhooks = gateway.webhooks.clone();
    let stopping = tokio::spawn(async move { webhooks.stop(WITHIN).await });
    // The call is all that is left.
    until("it stops", async || gateway.webhooks.0.tasks.is_closed() && gateway.webhooks.0.tasks.len() == 1).await;
    gateway.send(&[], "after").await;
    assert!(!stopping.is_finished(), "the call goes on");
    endpoint.answers.close();
    stopping.await.expect("no panic");
    assert_eq!(gateway.counted("calls_total{outcome=\"delivered\"}"), 1);
    let next = world.gateway();
    until("the rest comes", async || next.counted("calls_total{outcome=\"delivered\"}") == 1).await;
    let texts: Vec<_> = endpoint.calls().iter().map(|call| call.text().to_owned()).collect();
    assert_eq!(texts, ["before", "after"], "each once: the first was acknowledged before the stop ended");
}

#[tokio::test]
async fn a_deleted_webhook_keeps_its_part_until_its_calls_have_ended() {
    let world = World::new();
    let gateway = world.gateway_with(Options { webhooks_max: 1, ..world.options() });
    let hanging = Endpoint::held(ok).await;
    let made = gateway.create(&hanging.url, json!({"timeout": "60s"})).await;
    gateway.send(&[], "first").await;
    hanging.has(1).await;
    let path = format!("/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    assert_eq!(gateway.ask(Method::DELETE, &path, None).await.0, 204);
    let endpoint = Endpoint::new(ok).await;
    gateway.create(&endpoint.url, json!({"group": "other"})).await;
    gateway.send(&[], "second").await;
    // Long enough for the topic of webhooks to be looked at again.
    Env::real().clock.sleep(Duration::from_millis(1500)).await;
    assert_eq!(endpoint.calls().len(), 0, "the other's call is under way");
    hanging.answers.close();
    endpoint.has(1).await;
}
