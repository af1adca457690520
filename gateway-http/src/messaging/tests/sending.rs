//! Sending, and what a receive shows of it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_message_comes_back_with_all_that_was_said_of_it() {
    let world = World::start();
    let headers =
        [("tag", "t"), ("key", "k1"), ("key", "k2"), ("property-colour", "röd"), ("traceparent", "00-1-2-01")];
    let sent = world.send(&headers, "hello").await;
    assert_eq!((&sent["offset"], &sent["durability"]), (&json!(0), &json!("written")));
    assert_eq!(sent["messageId"].as_str().map(str::len), Some(34));
    let [message] = world.receive(16).await.try_into().expect("one");
    assert_eq!((&message["messageId"], &message["queue"]), (&sent["messageId"], &sent["queue"]));
    assert_eq!(
        (&message["body"], &message["tag"], &message["keys"]),
        (&json!("hello"), &json!("t"), &json!(["k1", "k2"]))
    );
    assert_eq!(message["properties"], json!({"colour": "röd", "traceparent": "00-1-2-01"}));
    assert_eq!(message["attempt"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_is_the_body_for_shells() {
    let world = World::start();
    let sent = world.send(&[("tag", "t"), ("property-a", "1")], "\u{0}\u{1}").await;
    let request = || json_request("/v1/groups/g/receive").header("accept", "application/octet-stream");
    let answer = world.ask(request(), json!({"topic": "orders", "wait": "0"}).to_string()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"\0\x01"[..]));
    assert_eq!(answer.header("message-id"), sent["messageId"]);
    assert_eq!((answer.header("tag"), answer.header("property-a"), answer.header("attempt")), ("t", "1", "1"));
    let handles = json!({"topic": "orders", "handles": [answer.header("receipt-handle")]});
    assert_eq!(world.post("/v1/groups/g/ack", handles).await.status, 200);
    let two = world.ask(request(), json!({"topic": "orders", "max": 2}).to_string()).await;
    assert_eq!((two.status, two.problem().as_str()), (400, "invalid-request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_messages_have_a_result_each() {
    let world = World::start();
    let answer = world
        .post(
            "/v1/topics/orders/messages",
            json!({"messages": [
                {"body": "one", "tag": "t"},
                {"bodyBase64": "//8="},
                {"body": ""},
                {"tag": "no-body"},
                {"body": "x", "properties": {"UNIQ_KEY": "forged"}},
            ]}),
        )
        .await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let results = answer.json()["results"].clone();
    let statuses: Vec<_> = results.as_array().expect("a list").iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, [201, 201, 400, 400, 400].map(Value::from));
    assert_eq!(results[2]["problem"]["codeName"], "MESSAGE_BODY_EMPTY");
    assert_eq!(results[4]["problem"]["codeName"], "ILLEGAL_MESSAGE_PROPERTY_KEY");
    let messages = world.receive(16).await;
    assert_eq!(messages.len(), 2, "the others are not stored");
    assert_eq!((&messages[0]["body"], &messages[1]["bodyBase64"]), (&json!("one"), &json!("//8=")));
    let both = world.post("/v1/topics/orders/messages", json!({"messages": [{"body": "a"}, {"body": "b"}]})).await;
    assert_eq!(both.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_group_come_one_after_the_other() {
    let world = World::start();
    for body in ["1", "2", "3"] {
        world.send(&[("message-group", "g-1")], body).await;
    }
    for expected in ["1", "2", "3"] {
        let [message] = world.receive(16).await.try_into().expect("the head alone");
        assert_eq!((&message["body"], &message["messageGroup"]), (&json!(expected), &json!("g-1")));
        assert!(world.receive(16).await.is_empty(), "the group is held");
        let handles = json!({"topic": "orders", "handles": [message["handle"]]});
        assert_eq!(world.post("/v1/groups/g/ack", handles).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_leaves_the_others_to_other_groups() {
    let world = World::start();
    for (tag, level) in [("a", "1"), ("b", "2"), ("c", "3")] {
        world.send(&[("tag", tag), ("property-level", level)], "x").await;
    }
    for (group, filter) in [("tags", json!({"filter": "b || c"})), ("sql", json!({"sql": "level > 1"}))] {
        let mut request = json!({"topic": "orders", "wait": "0"});
        request.as_object_mut().expect("an object").extend(filter.as_object().expect("an object").clone());
        let answer = world.post(&format!("/v1/groups/{group}/receive"), request).await;
        let mut tags: Vec<_> =
            answer.json()["messages"].as_array().expect("a list").iter().map(|m| m["tag"].clone()).collect();
        tags.sort_by_key(Value::to_string);
        assert_eq!(tags, ["b", "c"], "{group}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_under_its_key_is_stored_once_and_says_so() {
    let world = World::start();
    let send = async |body: &'static str| {
        world.ask(raw("/v1/topics/orders/messages").header("idempotency-key", "order-1"), body).await
    };
    let first = send("hello").await;
    let again = send("hello").await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    let (first, again) = (first.json(), again.json());
    assert_eq!((&first["messageId"], &first["offset"]), (&again["messageId"], &again["offset"]));
    assert_eq!(again["repeated"], true);
    let other = send("other").await;
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key-taken"));
    assert_eq!(world.receive(16).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn delays_are_read_in_every_form() {
    let world = World::start();
    let sent = world.send(&[("delay", "1h")], "later").await;
    assert!(sent["recallHandle"].is_string());
    world.send(&[("deliver-at", "2020-01-01T00:00:00Z")], "past").await;
    for (headers, detail) in [
        ([("delay", "1h"), ("deliver-at", "0")], "cannot be given together"),
        ([("delay", "1"), ("tag", "t")], "delay is \"1\", expected a whole number with its unit"),
        ([("delay", "48h"), ("tag", "t")], "delivery_timestamp is"),
        ([("deliver-at", "soon"), ("tag", "t")], "expected a time with its offset"),
    ] {
        let answer = world.ask(with(raw("/v1/topics/orders/messages"), &headers), "x").await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.json()["detail"].as_str().expect("text").contains(detail), "{answer:?}");
    }
}
