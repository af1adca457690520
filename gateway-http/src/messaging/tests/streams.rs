//! Streams of events.

use super::*;

/// Reads a stream's events as they come.
struct Reader {
    body: Body,
    text: String,
}

impl Reader {
    async fn open(world: &World, query: &str) -> Self {
        let request = Request::builder().uri(format!("/v1/groups/g/stream?topic=orders{query}"));
        let response = world.begin(request, "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// Name and data of the next event that has any; `None` at the end.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let event = field("event: ").zip(field("data: "));
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
                continue;
            }
            let frame = self.body.frame().await?.expect("in memory");
            self.text += str::from_utf8(&frame.into_data().expect("data")).expect("text");
        }
    }

    async fn message(&mut self) -> Value {
        let (name, data) = self.next().await.expect("an event");
        assert_eq!(name, "message", "{data}");
        serde_json::from_str(&data).expect("JSON")
    }
}

async fn ack(world: &World, message: &Value) {
    let handles = json!({"topic": "orders", "handles": [message["handle"]]});
    assert_eq!(world.post("/v1/groups/g/ack", handles).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_as_they_are_sent_until_the_credits_are_used_up() {
    let world = World::start();
    world.send(&[("tag", "t")], "1").await;
    let mut stream = Reader::open(&world, "&credits=3").await;
    let first = stream.message().await;
    assert_eq!((&first["body"], &first["tag"]), (&json!("1"), &json!("t")));
    ack(&world, &first).await;
    for body in ["2", "3", "4"] {
        world.send(&[], body).await;
    }
    let two = [stream.message().await, stream.message().await];
    assert_eq!(stream.next().await, Some(("end".to_owned(), "credits".to_owned())));
    assert_eq!(stream.next().await, None);
    for message in &two {
        ack(&world, message).await;
    }
    let [left] = world.receive(16).await.try_into().expect("one");
    assert_eq!(left["attempt"], 1, "it was not taken out for the stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_loses_nothing() {
    let world = World::start();
    for body in ["1", "2", "3"] {
        // One queue, so that one receive takes them all.
        world.send(&[("property-n", body)], body).await;
    }
    let mut stream = Reader::open(&world, "&invisible=1h").await;
    let (first, second) = (stream.message().await, stream.message().await);
    drop(stream);
    world.tasks.close();
    world.tasks.wait().await;
    // The first is known to have been taken, because the second was asked for.
    ack(&world, &first).await;
    let again = world.receive(16).await;
    assert!(!again.is_empty());
    let ids: Vec<_> = again.iter().map(|message| message["messageId"].clone()).collect();
    assert!(ids.contains(&second["messageId"]) && !ids.contains(&first["messageId"]), "{ids:?}");
    assert!(again.iter().all(|message| message["attempt"] == 1), "{again:?}");
    assert_eq!(ids.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_streams_are_refused_before_they_begin() {
    let world = World::start();
    let get = async |query: &str, headers: &[(&str, &str)]| {
        world.ask(with(Request::builder().uri(format!("/v1/groups/g/stream?{query}")), headers), "").await
    };
    for (query, headers, status, kind) in [
        ("topic=orders&credits=0", [("host", "a")], 400, "invalid-request"),
        ("topic=orders&credits=4097", [("host", "a")], 400, "invalid-request"),
        ("topic=orders&wait=1s", [("host", "a")], 400, "invalid-request"),
        ("topic=a.b", [("host", "a")], 400, "invalid-name"),
        ("topic=orders", [("sec-fetch-site", "cross-site")], 403, "cross-site"),
        ("topic=orders", [("origin", "https://evil.example")], 403, "cross-site"),
    ] {
        let answer = get(query, &headers).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, kind), "{query} {answer:?}");
    }
}
