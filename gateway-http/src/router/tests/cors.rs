//! What browsers are told of other sites' pages, and what these may do.

use axum::response::Response;
use http::HeaderMap;

use super::*;

const APP: &str = "https://app.example.org";
const OTHER: &str = "https://other.example.org";
/// A page that sends this one must be told its name: `*` does not stand for it.
const ASKED: &str = "authorization,property-region";
const SEND: &str = "/v1/topics/orders/messages";

fn open_to(origins: &str) -> Server {
    Server::open_to(origins.parse().expect("origins"), Maps::default())
}

impl Server {
    /// What a page of `origin` gets.
    async fn ask_from(&self, origin: &str, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = Request::builder().method(method).uri(path).header("host", "mq.example.org:8082");
        let request = request.header("origin", origin).header("sec-fetch-site", "cross-site");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.0.clone().oneshot(request.body(Body::from("hello")).expect("valid")).await.expect("infallible")
    }

    async fn preflight(&self, origin: &str, method: &str) -> Response {
        let asked = [("access-control-request-method", method), ("access-control-request-headers", ASKED)];
        self.ask_from(origin, Method::OPTIONS, SEND, &asked).await
    }
}

/// What an answer tells browsers.
fn told(headers: &HeaderMap) -> Vec<String> {
    let all = headers.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
    let mut all: Vec<_> = all.map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn without_origins_no_page_of_another_site_may_call_and_nothing_is_said_of_it() {
    let server = Server::new(Maps::default());
    for (answer, status) in [
        (server.preflight(APP, "POST").await, 405),
        (server.ask_from(APP, Method::POST, SEND, &[]).await, 403),
        (server.ask_from(APP, Method::GET, "/v1/producers/orders/checks?wait=0", &[]).await, 403),
        (server.ask_from(APP, Method::GET, "/livez", &[]).await, 200),
    ] {
        assert_eq!(answer.status(), status);
        assert!(told(answer.headers()).is_empty(), "{answer:?}");
        assert!(!answer.headers().contains_key("vary"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_listed_origin_may_call_and_read_all() {
    let server = open_to(&format!("{APP},http://localhost:3000"));
    let asked = server.preflight(APP, "POST").await;
    assert_eq!(asked.status(), 200);
    assert_eq!(
        told(asked.headers()),
        [
            "access-control-allow-headers: authorization,property-region",
            "access-control-allow-methods: GET,POST,PATCH,DELETE",
            "access-control-allow-origin: https://app.example.org",
            "access-control-max-age: 600",
        ]
    );
    for (method, path, status) in [
        (Method::POST, SEND, 201),
        (Method::GET, "/v1/producers/orders/checks?wait=0", 204),
        (Method::GET, "/v1/nothing", 404),
        // A bug: a page can read that too.
        (Method::GET, "/v1/admin/groups", 500),
    ] {
        let answer = server.ask_from(APP, method, path, &[]).await;
        assert_eq!(answer.status(), status, "{path}");
        let expected = ["access-control-allow-origin: https://app.example.org", "access-control-expose-headers: *"];
        assert_eq!(told(answer.headers()), expected, "{path}");
        // A cache must not answer another site with it.
        assert_eq!(answer.headers()["vary"], "origin, access-control-request-headers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_stay_outside() {
    let server = open_to(APP);
    for origin in [OTHER, "null", "https://app.example.org.evil.example"] {
        let asked = server.preflight(origin, "POST").await;
        assert!(!asked.headers().contains_key("access-control-allow-origin"), "{origin}");
        let answer = server.ask_from(origin, Method::POST, SEND, &[]).await;
        assert_eq!(answer.status(), 403, "{origin}");
        assert!(!answer.headers().contains_key("access-control-allow-origin"), "{origin}");
    }
    // Not by its origin but by where the browser says that it comes from: a picture of another site's page has no origin.
    let picture = Request::get("/v1/producers/orders/checks?wait=0").header("sec-fetch-site", "cross-site");
    let answer = server.0.clone().oneshot(picture.body(Body::empty()).expect("valid")).await.expect("infallible");
    assert_eq!(answer.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_origins_may_be_let_in() {
    let server = open_to("*");
    for origin in [APP, OTHER, "null"] {
        let answer = server.ask_from(origin, Method::POST, SEND, &[("property-region", "eu")]).await;
        assert_eq!(answer.status(), 201, "{origin}");
        assert_eq!(told(answer.headers()), ["access-control-allow-origin: *", "access-control-expose-headers: *"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_opened_for_pages_that_may_call_and_for_no_others() {
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let path = "/v1/groups/g/stream?topic=orders";
    let server = open_to(APP);
    // Browsers ask nothing before, so the answer itself must refuse. A request without a connection below cannot be upgraded.
    for (origin, status) in [(APP, 426), (OTHER, 403), ("null", 403)] {
        assert_eq!(server.ask_from(origin, Method::GET, path, &upgrade).await.status(), status, "{origin}");
    }
    assert_eq!(Server::new(Maps::default()).ask_from(APP, Method::GET, path, &upgrade).await.status(), 403);
}
