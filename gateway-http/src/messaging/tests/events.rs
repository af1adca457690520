//! CloudEvents through the routes.

use super::*;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

async fn send(world: &World, media_type: &str, body: Value) -> Answer {
    world.ask(raw("/v1/topics/orders/messages").header("content-type", media_type), body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_all_three_modes_are_messages_with_the_same_properties() {
    let world = World::start();
    let event = json!({"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "paid", "region": "eu", "tag": "t",
        "datacontenttype": "application/json", "data": {"order": 4711}});
    let one = send(&world, STRUCTURED, event.clone()).await;
    assert_eq!((one.status, one.json()["durability"].clone()), (201, json!("written")));
    let many = send(&world, BATCH, json!([event, event])).await;
    assert_eq!((many.status, many.json()["results"].as_array().map(Vec::len)), (201, Some(2)));
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", "e-1"),
        ("ce-source", "/shop"),
        ("ce-type", "paid"),
        ("ce-region", "eu"),
        ("tag", "t"),
        ("content-type", "application/json"),
    ];
    let binary = world.ask(with(raw("/v1/topics/orders/messages"), &attributes), r#"{"order":4711}"#).await;
    // JSON that is an event's data is no list of messages.
    assert_eq!(binary.status, 201, "{binary:?}");
    let messages = world.receive(16).await;
    assert_eq!(messages.len(), 4);
    for message in messages {
        assert_eq!((&message["body"], &message["tag"]), (&json!(r#"{"order":4711}"#), &json!("t")));
        assert_eq!(
            message["properties"],
            json!({"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/shop", "ce-type": "paid", "ce-region": "eu",
                "content-type": "application/json"})
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_are_refused_and_the_others_of_a_batch_stored() {
    let world = World::start();
    let good = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": "x"});
    let bad = json!({"specversion": "1.0", "id": "1", "source": "/s", "data": "x"});
    let one = send(&world, STRUCTURED, bad.clone()).await;
    assert_eq!((one.status, one.problem().as_str()), (400, "invalid-event"));
    assert_eq!((&one.json()["detail"], &one.json()["codeName"]), (&json!("type is missing"), &json!("BAD_REQUEST")));
    for (body, status) in [(json!([]), 400), (json!({}), 422), (json!(vec![1; 1025]), 400)] {
        assert_eq!(send(&world, BATCH, body).await.status, status);
    }
    let cut = world.ask(raw("/v1/topics/orders/messages").header("content-type", BATCH), "[{}").await;
    assert_eq!((cut.status, cut.problem().as_str()), (400, "invalid-body"));
    let none =
        world.ask(raw("/v1/topics/orders/messages").header("content-type", "application/cloudevents+avro"), "x").await;
    assert_eq!((none.status, none.problem().as_str()), (415, "invalid-body"));
    let without = world.ask(raw("/v1/topics/orders/messages").header("ce-id", "1"), "x").await;
    assert_eq!((without.status, without.problem().as_str()), (400, "invalid-event"));
    assert!(world.receive(16).await.is_empty());
    let some = send(&world, BATCH, json!([bad, good])).await;
    assert_eq!(some.status, 207);
    let statuses: Vec<_> =
        some.json()["results"].as_array().expect("a list").iter().map(|r| r["status"].clone()).collect();
    assert_eq!(statuses, [400, 201].map(Value::from));
    assert_eq!(world.receive(16).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_message_may_be_an_event() {
    let world = World::start();
    let begin = |media_type: &str| raw("/v1/topics/orders/transactions").header("content-type", media_type);
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": "x"});
    let half = world.ask(begin(STRUCTURED), event.to_string()).await;
    assert_eq!(half.status, 201, "{half:?}");
    let batch = world.ask(begin(BATCH), json!([event]).to_string()).await;
    assert_eq!((batch.status, batch.problem().as_str()), (400, "invalid-event"));
    let id = half.json()["transactionId"].as_str().expect("an id").to_owned();
    assert_eq!(world.ask(raw(&format!("/v1/transactions/{id}/commit")), "").await.status, 204);
    let [message] = world.receive(16).await.try_into().expect("one");
    assert_eq!(message["properties"]["ce-type"], "t");
}
