//! `/v1`: sending, receiving and ending leases over HTTP, over the same service as gRPC. No session, no stickiness: any
//! gateway answers any call.
//!
//! | method and path                          | body                              | answer                      |
//! |------------------------------------------|-----------------------------------|-----------------------------|
//! | `POST /topics/{topic}/messages`          | a message, `SendMany`, CloudEvents | 201 `Sent`, 201 `SentMany`  |
//! | `POST /groups/{group}/receive`           | `Receive`                         | 200 `Received` or the body, 204 |
//! | `GET /groups/{group}/stream`             | `OpenStream` in the query         | 200 Server-Sent Events, 101 WebSocket |
//! | `POST /groups/{group}/ack`               | `Ack`                             | 200 `Ended`                 |
//! | `POST /groups/{group}/nack`              | `Nack`                            | 200 `Ended`                 |
//! | `POST /groups/{group}/extend`            | `Extend`                          | 200 `Ended`                 |
//! | `POST /groups/{group}/dead-letter`       | `Ack`                             | 200 `Ended`                 |
//!
//! | `POST /topics/{topic}/transactions`      | a half message                    | 201 `Sent`                  |
//! | `POST /transactions/{id}/commit`         |                                   | 204                         |
//! | `POST /transactions/{id}/rollback`       |                                   | 204                         |
//! | `POST /transactions/{id}/unknown`        |                                   | 204                         |
//! | `GET /producers/{topic}/checks`          | `WaitForChecks` in the query      | 200 `Checks`, 204           |
//! | `DELETE /topics/{topic}/delayed/{handle}` |                                  | 200 `Recalled`              |
//!
//! Where each part of a request has a result of its own, the answer's status is theirs if they agree, and else 207.

mod body;
mod events;
mod headers;
mod leases;
mod recall;
mod receive;
mod send;
mod socket;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod transactions;

pub(crate) use events::is_json;
pub(crate) use headers::put as put_headers;
pub(crate) use receive::filter;
pub(crate) use transactions::check_view;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use proxy::Messaging;
use proxy::checks::Checks;
use proxy::messaging::message_id::MessageIds;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::limits::{Budget, Limits};
use crate::problem::{Problem, with_retry_after};

/// Where a request came from, put beside it by the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What the routes work on: one pointer, because a request takes several copies.
#[derive(Clone, Debug)]
pub(crate) struct Service(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    messaging: Messaging,
    checks: Checks,
    limits: Limits,
    ids: MessageIds,
    inbound: Arc<Budget>,
    undelivered: Arc<Budget>,
}

impl Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The routes below `/v1`.
pub(crate) fn routes(messaging: Messaging, checks: Checks, limits: Limits) -> Router {
    let service = Service(Arc::new(Parts {
        messaging,
        checks,
        ids: MessageIds::default(),
        inbound: Budget::new(limits.inbound_bytes_max),
        undelivered: Budget::new(limits.undelivered_bytes_max),
        limits,
    }));
    let (routes, _) = described().split_for_parts();
    routes.with_state(service)
}

/// The routes with what they say of themselves.
pub(crate) fn described() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .routes(routes!(send::call))
        .routes(routes!(recall::call))
        .routes(routes!(receive::call))
        .routes(routes!(stream::call))
        .routes(routes!(leases::ack))
        .routes(routes!(leases::nack))
        .routes(routes!(leases::extend))
        .routes(routes!(leases::dead_letter))
        .routes(routes!(transactions::begin))
        .routes(routes!(transactions::commit))
        .routes(routes!(transactions::rollback))
        .routes(routes!(transactions::unknown))
        .routes(routes!(transactions::checks))
}

/// The answer with several results.
pub(crate) fn together(statuses: impl Iterator<Item = u16>, results: impl Serialize) -> Response {
    with_retry_after((agreed(statuses), Json(results)).into_response())
}

/// The status of several results: theirs if they agree.
fn agreed(mut statuses: impl Iterator<Item = u16>) -> StatusCode {
    let first = statuses.next().and_then(|first| StatusCode::from_u16(first).ok());
    let agreed = first.filter(|first| statuses.all(|status| status == first.as_u16()));
    agreed.unwrap_or(StatusCode::MULTI_STATUS)
}

/// For the GETs that take something from others: the layer of all routes lets every GET pass.
fn refuse_cross_site(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_cross_site = match text("sec-fetch-site") {
        Some(site) => !matches!(site, "same-origin" | "none"),
        None => {
            let host = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_owned());
            text("origin").is_some_and(|origin| host(origin).as_deref() != text(header::HOST.as_str()))
        }
    };
    if is_cross_site { Err(cross_site()) } else { Ok(()) }
}

/// What a web page of another site is answered.
pub(crate) fn cross_site() -> Problem {
    let detail = "the request comes from a web page of another site (headers Origin, Sec-Fetch-Site)";
    Problem::new(StatusCode::FORBIDDEN, "cross-site", detail)
}
