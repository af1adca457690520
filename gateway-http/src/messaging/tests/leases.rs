//! What becomes of leased messages.

use super::*;
use crate::server::Door;

async fn handle(world: &World) -> String {
    world.receive(1).await[0]["handle"].as_str().expect("a handle").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_messages_are_done_with() {
    let world = World::start();
    world.send(&[], "1").await;
    let handle = handle(&world).await;
    let answer = world.post("/v1/groups/g/ack", json!({"topic": "orders", "handles": [handle]})).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"results": [{"status": 200, "handle": handle}]})));
    let rubbish = world.post("/v1/groups/g/ack", json!({"topic": "orders", "handles": ["rubbish", ""]})).await;
    assert_eq!(rubbish.status, 400, "both have it");
    let mixed = world.post("/v1/groups/g/ack", json!({"topic": "orders", "handles": [handle, "rubbish"]})).await;
    assert_eq!(mixed.status, 207);
    let results = &mixed.json()["results"];
    assert_eq!((&results[1]["status"], &results[1]["handle"]), (&json!(400), &json!("rubbish")));
    assert_eq!(results[1]["problem"]["codeName"], "INVALID_RECEIPT_HANDLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_comes_again_with_its_attempts_counted() {
    let world = World::start();
    world.send(&[], "1").await;
    for attempt in 1..=3 {
        let [message] = world.receive(1).await.try_into().expect("at once");
        assert_eq!(message["attempt"], attempt);
        let nack = json!({"topic": "orders", "handles": [message["handle"]]});
        assert_eq!(world.post("/v1/groups/g/nack", nack).await.status, 200);
    }
    let nack = json!({"topic": "orders", "handles": [handle(&world).await], "delay": "1h"});
    assert_eq!(world.post("/v1/groups/g/nack", nack).await.status, 200);
    assert!(world.receive(1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_comes_again_as_the_same_attempt() {
    let world = World::start();
    world.send(&[], "1").await;
    for _ in 0..20 {
        let [message] = world.receive(1).await.try_into().expect("never a dead letter");
        assert_eq!(message["attempt"], 1);
        let nack = json!({"topic": "orders", "handles": [message["handle"]], "countsAsAttempt": false});
        assert_eq!(world.post("/v1/groups/g/nack", nack).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extended_lease_has_a_further_handle() {
    let world = World::start();
    world.send(&[], "1").await;
    let old = handle(&world).await;
    let extend = |invisible: &str| json!({"topic": "orders", "handles": [old], "invisible": invisible});
    let answer = world.post("/v1/groups/g/extend", extend("5m")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let new = answer.json()["results"][0]["handle"].clone();
    assert_eq!(world.post("/v1/groups/g/ack", json!({"topic": "orders", "handles": [new]})).await.status, 200);
    let far = world.post("/v1/groups/g/extend", extend("13h")).await;
    assert_eq!((far.status, far.json()["codeName"].clone()), (400, json!("ILLEGAL_INVISIBLE_TIME")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_in_the_groups_topic() {
    let world = World::start();
    let sent = world.send(&[], "poison").await;
    let dead = json!({"topic": "orders", "handles": [handle(&world).await]});
    assert_eq!(world.post("/v1/groups/g/dead-letter", dead).await.status, 200);
    assert!(world.receive(1).await.is_empty());
    let answer = world.post("/v1/groups/looks/receive", json!({"topic": "%DLQ%g", "wait": "0"})).await;
    let message = &answer.json()["messages"][0];
    assert_eq!((&message["body"], &message["deadLetterTopic"]), (&json!("poison"), &json!("orders")));
    assert_eq!(message["deadLetterMessageId"], sent["messageId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gone_client_has_not_taken_is_free_at_once() {
    let world = World::start();
    for body in ["1", "2"] {
        world.send(&[], body).await;
    }
    let request = json!({"topic": "orders", "wait": "0", "invisible": "1h"}).to_string();
    let answer = world.begin(json_request("/v1/groups/g/receive"), request).await;
    assert_eq!(answer.status(), 200);
    assert!(world.receive(16).await.is_empty(), "they are on their way");
    drop(answer);
    // The report goes to the broker on a task of its own.
    world.tasks.close();
    world.tasks.wait().await;
    let again = world.receive(16).await;
    assert_eq!(again.iter().map(|message| message["attempt"].clone()).collect::<Vec<_>>(), [1, 1].map(Value::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_while_it_waits_takes_nothing_with_it() {
    let world = World::start();
    let request = json!({"topic": "orders", "wait": "20s", "invisible": "1h"}).to_string();
    let waiting = tokio::spawn(
        world.routes.clone().oneshot(json_request("/v1/groups/g/receive").body(Body::from(request)).expect("valid")),
    );
    while world.broker.status().waiting == 0 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.is_err());
    world.send(&[], "1").await;
    assert_eq!(world.receive(16).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_while_its_client_waits_ends_the_wait() {
    let world = World::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    // Lives as long as the call.
    let (call, mut ended) = tokio::sync::mpsc::channel::<()>(1);
    let watched = axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
        let call = call.clone();
        async move {
            let response = next.run(request).await;
            drop(call);
            response
        }
    });
    let routes = world.routes.clone().layer(watched);
    let door =
        Door { routes, tls: None, hosts: crate::Hosts::Any, connections_max: 16, drain: Duration::from_secs(60) };
    let served = tokio::spawn(crate::server::serve(listener, door, stop.clone()));
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("listening");
    let body = json!({"topic": "orders", "wait": "20s", "invisible": "1h"}).to_string();
    let head = "POST /v1/groups/g/receive HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length:";
    let request = format!("{head} {}\r\n\r\n{body}", body.len());
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.expect("open");
    while world.broker.status().waiting == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    stop.cancel();
    served.await.expect("no panic");
    assert_eq!(ended.recv().await, None);
    assert_eq!(world.broker.status().waiting, 1, "the call did not end by its own time");
    world.send(&[], "1").await;
    assert_eq!(world.receive(16).await.len(), 1);
}
