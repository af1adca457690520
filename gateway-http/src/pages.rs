//! The pages for people: `/` shows topics, groups and lag and lets one send, receive and acknowledge by hand; `/docs` shows
//! `/openapi.json`. They are the files of `ui/`, use nothing but the public API, and load nothing from elsewhere.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, media type and text of each file.
const FILES: [(&str, &str, &str); 5] = [
    ("/", HTML, include_str!("../ui/index.html")),
    ("/docs", HTML, include_str!("../ui/docs.html")),
    ("/ui/index.js", SCRIPT, include_str!("../ui/index.js")),
    ("/ui/docs.js", SCRIPT, include_str!("../ui/docs.js")),
    ("/ui/style.css", STYLE, include_str!("../ui/style.css")),
];

/// What browsers are told of all of them: no script but those files runs, whatever a message holds; no other site may show them in a
/// frame; they are asked for again after an upgrade.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// The pages' routes.
pub(crate) fn routes() -> Router {
    FILES.into_iter().fold(Router::new(), |routes, (path, media_type, text)| {
        let media_type = HeaderValue::from_static(media_type);
        routes.route(path, get(async move || ([(CONTENT_TYPE, media_type)], HEADERS, text).into_response()))
    })
}
