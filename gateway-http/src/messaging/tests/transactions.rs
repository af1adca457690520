//! Transactions, checks and recall.

use super::super::transactions::to_path;
use super::*;

async fn begin(world: &World, body: &'static str) -> String {
    let answer = world.ask(raw("/v1/topics/orders/transactions").header("tag", "t"), body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["transactionId"].as_str().expect("an id").to_owned()
}

async fn end(world: &World, id: &str, outcome: &str) -> Answer {
    world.ask(raw(&format!("/v1/transactions/{id}/{outcome}")), "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_message_is_seen_once_it_is_committed() {
    let world = World::start();
    let (kept, dropped) = (begin(&world, "kept").await, begin(&world, "dropped").await);
    assert!(world.receive(16).await.is_empty());
    assert_eq!(end(&world, &kept, "commit").await.status, 204);
    assert_eq!(end(&world, &kept, "commit").await.status, 204, "once more is fine");
    assert_eq!(end(&world, &dropped, "rollback").await.status, 204);
    let [message] = world.receive(16).await.try_into().expect("one");
    assert_eq!((&message["body"], &message["tag"]), (&json!("kept"), &json!("t")));
    let late = end(&world, &dropped, "commit").await;
    assert_eq!((late.status, late.problem().as_str()), (409, "transaction-ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none_are_refused() {
    let world = World::start();
    let forged = to_path(&types::TopicName::new("orders").expect("valid"), "gantry-local 9 999999 ID", false);
    let elsewhere = to_path(&types::TopicName::new("orders").expect("valid"), "broker-b 0 0 ID", false);
    for (id, status, kind) in [
        ("rubbish", 400, "invalid-transaction-id"),
        ("..%2f..", 400, "invalid-transaction-id"),
        ("%ff", 400, "invalid-request"),
        (&forged, 404, "transaction-not-found"),
        (&elsewhere, 404, "transaction-not-found"),
    ] {
        let answer = end(&world, id, "commit").await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, kind), "{id}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphaned_transaction_reaches_who_asks() {
    let world = World::start();
    let server = server(&world.broker);
    let routes = routes(server.messaging(), server.checks(), Limits::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(listener, stop.clone()));
    let ask = Request::get("/v1/producers/orders/checks").body(Body::empty()).expect("valid");
    let asking = tokio::spawn(routes.clone().oneshot(ask));
    let id = begin(&world, "orphan").await;
    let answer = Answer::of(asking.await.expect("no panic").expect("infallible")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let checks = answer.json()["checks"].clone();
    assert_eq!(checks[0]["message"]["body"], "orphan");
    let asked = checks[0]["transactionId"].as_str().expect("an id");
    assert_ne!(asked, id, "it says that its user was asked");
    assert_eq!(end(&world, asked, "commit").await.status, 204);
    assert_eq!(world.receive(1).await[0]["body"], "orphan");
    stop.cancel();
    serving.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_is_taken_back_once() {
    let world = World::start();
    let sent = world.send(&[("delay", "1h")], "later").await;
    let path = format!("/v1/topics/orders/delayed/{}", sent["recallHandle"].as_str().expect("a handle"));
    let recall = || Request::builder().method(Method::DELETE).uri(&path);
    let first = world.ask(recall(), "").await;
    assert_eq!((first.status, &first.json()["messageId"]), (200, &sent["messageId"]));
    let again = world.ask(recall(), "").await;
    assert_eq!((again.status, again.problem().as_str()), (404, "message-not-found"));
    let rubbish = Request::builder().method(Method::DELETE).uri("/v1/topics/orders/delayed/rubbish");
    assert_eq!(world.ask(rubbish, "").await.status, 400);
}
