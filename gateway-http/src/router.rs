//! The routes, and the layers round them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use proxy::checks::Checks;
use proxy::{Messaging, Origins};
use serde::Serialize;
use tower::util::MapRequestLayer;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::csrf::{CsrfLayer, ProtectionError};
use types::Admin;

use crate::messaging::cross_site;
use crate::problem::Problem;
use crate::webhooks::{self, Webhooks};
use crate::{Limits, Readiness, admin, cors, messaging, openapi, pages};

/// Longest body of a request that sends no message.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest time one request may take that does not wait for messages; the client is told, the broker finishes what it began.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What the routes work on.
#[derive(Clone)]
pub struct Gateway {
    /// Where messages are sent and received.
    pub messaging: Messaging,
    /// Where HTTP producers hear which half messages wait for them.
    pub checks: Checks,
    /// What their clients may use up.
    pub limits: Limits,
    /// Which web pages of other sites may call.
    pub origins: Origins,
    /// What operators ask, if this gateway answers them.
    pub admin: Option<Arc<dyn Admin>>,
    /// What is posted to URLs, of a gateway that delivers webhooks.
    pub webhooks: Option<Webhooks>,
    /// What the routes that every role has show.
    pub probes: Probes,
}

/// What the routes that every role has work on.
#[derive(Clone)]
pub struct Probes {
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: prometheus::Registry,
    /// What `/version` says.
    pub version: Version,
}

/// Which program this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// What answers requests, whenever one comes: it need not be asked whether it is ready.
pub trait Answers:
    Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Answers for S where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// All routes with their layers.
pub fn router(gateway: Gateway) -> impl Answers {
    let Gateway { messaging, checks, limits, origins, admin, webhooks, probes } = gateway;
    let document = openapi::document(admin.is_some());
    let managed = admin.map(|admin| admin::Managed { admin, readiness: probes.readiness.clone() });
    let routes = probe_routes(probes)
        .merge(pages::routes())
        .route("/openapi.json", get(async move || Json(document)))
        .merge(managed.map(admin::routes).unwrap_or_default())
        .merge(webhooks::routes(webhooks))
        // A body over the limit is refused before it is read.
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        // A request that hangs frees its connection.
        .layer(middleware::from_fn(with_timeout))
        // These wait for messages and take large ones, so they have bounds of their own.
        .merge(messaging::routes(messaging, checks, limits))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    layered(routes, origins)
}

/// The routes with the layers of all of them. They are not axum's, which would make a copy of each route's for each request.
fn layered(routes: Router, origins: Origins) -> impl Answers {
    let cors = origins.layer();
    let as_our_own = cors.is_some().then(|| MapRequestLayer::new(cors::as_our_own(origins)));
    ServiceBuilder::new()
        // Whatever was answered, a page that may call can read it.
        .option_layer(cors)
        .option_layer(as_our_own)
        .map_response(|response: Response<_>| response.map(Body::new))
        // A bug in one request is that request's error.
        .layer(CatchPanicLayer::custom(|_| internal_error().into_response()))
        .layer(refuse_other_sites())
        .service(routes)
}

/// A web page of another site must not be able to change anything here through its reader's browser.
pub(crate) fn refuse_other_sites() -> CsrfLayer<fn(ProtectionError) -> Response> {
    CsrfLayer::new().with_rejection_response(|_| cross_site().into_response())
}

/// The routes of a role that serves nothing else over HTTP, with their layers.
pub fn probe_router(probes: Probes) -> Router {
    probe_routes(probes)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(with_timeout))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
}

fn probe_routes(probes: Probes) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/version", get(version))
        .with_state(probes)
}

async fn readyz(State(probes): State<Probes>) -> Response {
    if probes.readiness.is_ready() {
        return "ready\n".into_response();
    }
    let detail = "the server is starting or stopping";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail).into_response()
}

async fn metrics(State(probes): State<Probes>) -> Response {
    match prometheus::TextEncoder::new().encode_to_string(&probes.metrics.gather()) {
        Ok(text) => {
            let media_type = HeaderValue::from_static(prometheus::TEXT_FORMAT);
            ([(CONTENT_TYPE, media_type)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written as text");
            internal_error().into_response()
        }
    }
}

async fn version(State(probes): State<Probes>) -> Json<Version> {
    Json(probes.version)
}

async fn not_found(request: Request) -> Problem {
    let detail = format!("there is nothing at {}", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "no-such-path", detail)
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} is not possible at {}", request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

async fn with_timeout(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => timed_out().into_response(),
    }
}

/// What is said of work that takes longer than [`REQUEST_TIMEOUT`].
pub(crate) fn timed_out() -> Problem {
    let detail = format!("no answer within {} s; it may still take effect", REQUEST_TIMEOUT.as_secs());
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", detail)
}

fn internal_error() -> Problem {
    let detail = "an internal error, see the server's log";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

#[cfg(test)]
mod tests;
