//! Receiving: a long poll, answered as JSON, or with one message as the body for shells.
//!
//! Whatever was popped for a client that goes away before it has taken its answer is free again at once.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{body, http};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use proxy::messaging::receive::Delivery;
use proxy::validate::Invalid;
use types::broker::{Pop, PopError, Unavailable};
use types::filter::ExpressionType;
use types::{Filter, GroupName, TopicName};

use super::{Service, headers};
use crate::extract::{Body, Named};
use crate::limits::Share;
use crate::problem::{Document, Problem};
use crate::text;
use crate::views::messaging::{RawBody, Receive, ReceivedMessages};

pub(super) mod answer;

use answer::{Answer, one};

/// Messages of an answer, when the request does not say.
const MESSAGES_DEFAULT: u32 = 16;
/// How long they stay invisible, when the request does not say.
const INVISIBLE_DEFAULT: Duration = Duration::from_secs(60);
/// Longest attempt id, in bytes.
const ATTEMPT_ID_BYTES_MAX: usize = 256;
/// What the broker knows HTTP clients by. None of them has a session, so an attempt that is named is the same on all gateways.
/// No gRPC client can have this id, and so none can say that they are gone: gRPC's headers are ASCII.
const CLIENT: &str = "«http»";
const OCTETS: &str = "application/octet-stream";

/// Lease messages, waiting for the first
///
/// With `Accept: application/octet-stream` one message: its body is the answer's, all else stands in headers.
#[utoipa::path(post, path = "/v1/groups/{group}/receive", operation_id = "receiveMessages", tag = "consumers",
    params(("group" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = Receive),
    responses((status = 200, description = "Messages", content((ReceivedMessages = "application/json"), (RawBody = "application/octet-stream"))),
        (status = 204, description = "None came in time"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn call(
    State(service): State<Service>,
    Named(group): Named<GroupName>,
    request_headers: HeaderMap,
    Body(receive): Body<Receive>,
) -> Result<Response, Problem> {
    let is_raw = request_headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes() == OCTETS.as_bytes());
    let pop = service.pop(group, receive, is_raw)?;
    service.check_undelivered()?;
    if service.messaging.is_draining() {
        return Err(PopError::from(Unavailable::Stopping).into());
    }
    let mut delivery = service.messaging.receive(pop).await?;
    if delivery.remaining() == 0 {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let share = service.undelivered(&delivery).ok_or_else(|| service.too_much_undelivered())?;
    if !is_raw {
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(([json], body::Body::from_stream(Answer::json(delivery, share))).into_response());
    }
    let Some(message) = one(&mut delivery) else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let mut response = body::Body::from_stream(Answer::raw(delivery, share, message.body.clone())).into_response();
    headers::put(&message, response.headers_mut());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    Ok(response)
}

impl Service {
    pub(super) fn pop(&self, group: GroupName, receive: Receive, is_raw: bool) -> Result<Pop, Problem> {
        let limits = &self.limits.messages;
        let topic = TopicName::for_client(&receive.topic).map_err(Invalid::Topic)?;
        let max_allowed = if is_raw { 1 } else { Pop::MESSAGES_MAX };
        let messages_max = receive.max.unwrap_or(MESSAGES_DEFAULT.min(max_allowed));
        if !(1..=max_allowed).contains(&messages_max) {
            let why = if is_raw { " with Accept: application/octet-stream" } else { "" };
            return Err(Problem::invalid(format!("max is {messages_max}, allowed are 1 to {max_allowed}{why}")));
        }
        let invisible = receive.invisible.as_deref().map(|text| text::length("invisible", text)).transpose()?;
        let wait = self.wait(receive.wait.as_deref())?;
        let attempt_id = receive.attempt_id.filter(|id| !id.is_empty());
        if let Some(bytes) = attempt_id.as_ref().map(String::len).filter(|bytes| *bytes > ATTEMPT_ID_BYTES_MAX) {
            let (field, bytes_max) = ("attemptId", ATTEMPT_ID_BYTES_MAX);
            return Err(Invalid::FieldTooLong { field, bytes, bytes_max }.into());
        }
        Ok(Pop {
            group,
            client: CLIENT.into(),
            topic,
            queue: None,
            messages_max,
            invisible: limits.received_invisible(invisible.unwrap_or(INVISIBLE_DEFAULT))?,
            auto_renew: false,
            filter: Arc::new(filter(receive.filter.as_deref(), receive.sql.as_deref())?),
            wait,
            attempt_id: attempt_id.map(Into::into),
        })
    }

    /// How long a long poll may wait; as long as possible, if its client does not say.
    pub(super) fn wait(&self, asked: Option<&str>) -> Result<Duration, Problem> {
        let limit = self.limits.messages.long_polling_max;
        let wait = asked.map_or(Ok(limit), |text| text::length("wait", text))?;
        if wait > limit {
            let (wait, limit) = (wait.as_millis(), limit.as_millis());
            return Err(Problem::invalid(format!("wait is {wait} ms, limit is {limit} ms")));
        }
        Ok(wait)
    }

    /// Refuses to take more messages out for clients that do not take what they have.
    pub(super) fn check_undelivered(&self) -> Result<(), Problem> {
        if self.undelivered.is_used_up() { Err(self.too_much_undelivered()) } else { Ok(()) }
    }

    /// The share of what was popped, unless others reached the bound meanwhile; what has none is to be dropped, and is free again.
    pub(super) fn undelivered(&self, delivery: &Delivery) -> Option<Share> {
        let mut share = self.undelivered.share();
        share.try_add_last(delivery.remaining_bytes()).then_some(share)
    }

    pub(super) fn too_much_undelivered(&self) -> Problem {
        let limit = self.undelivered.max();
        let detail = format!("messages that clients have not taken yet hold {limit} bytes or more, which is the limit");
        Problem::busy(detail)
    }
}

/// Which messages somebody wants, by tags or by a condition.
///
/// # Errors
/// Both are given, or the text cannot be read.
pub(crate) fn filter(tags: Option<&str>, sql: Option<&str>) -> Result<Filter, Problem> {
    let parsed = match (tags, sql) {
        (Some(_), Some(_)) => return Err(Problem::invalid("filter and sql cannot be given together")),
        (Some(tags), None) => Filter::parse(ExpressionType::Tag, tags),
        (None, Some(sql)) => Filter::parse(ExpressionType::Sql92, sql),
        (None, None) => Ok(Filter::All),
    };
    Ok(parsed.map_err(Invalid::Filter)?)
}
