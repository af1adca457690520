//! Transactions: a half message, its outcome, and being asked for it.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use proxy::messaging::message::Draft;
use proxy::messaging::transaction::{IdError, TransactionId};
use proxy::sessions::COMMANDS_MAX;
use types::TopicName;
use types::broker::Resolution;

use super::events::{self, Mode};
use super::{Service, headers};
use crate::extract::{Named, QueryOf};
use crate::problem::{Document, Problem};
use crate::text;
use crate::views::messaging::{
    Check, Checks, CloudEvent, MessageHeaders, NewMessage, RawBody, ReceivedMessage, Sent, WaitForChecks,
};

/// Store a half message, which nobody sees until it is committed
#[utoipa::path(post, path = "/v1/topics/{topic}/transactions", operation_id = "beginTransaction", tag = "transactions",
    params(("topic" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic"),
        MessageHeaders,
        ("Check-After" = Option<String>, Header, description = "How long its producer wants to be left alone, such as 30s")),
    request_body(content((RawBody = "application/octet-stream"), (CloudEvent = "application/cloudevents+json"))),
    responses((status = 201, description = "Stored", body = Sent),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn begin(
    State(service): State<Service>,
    Named(topic): Named<TopicName>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get().copied();
    let inbound = service.read(&parts.headers, body).await?;
    let message = NewMessage::of_headers(&parts.headers)?;
    let check_after = check_after(&parts.headers)?;
    let draft = events::one(Mode::of(&parts.headers)?, &parts.headers, message, &inbound.bytes)?;
    let draft = Draft { transaction: Some(check_after), ..draft };
    service.send_one(&topic, draft, peer).await
}

fn check_after(headers: &HeaderMap) -> Result<Option<std::time::Duration>, Problem> {
    headers::single(headers, "check-after")?.map(|text| text::length("check-after", &text)).transpose()
}

/// Deliver a half message
#[utoipa::path(post, path = "/v1/transactions/{id}/commit", operation_id = "commitTransaction", tag = "transactions",
    params(("id" = String, Path, description = "The transactionId")),
    responses((status = 204, description = "Done; once more is fine"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn commit(State(service): State<Service>, Named(id): Named<String>) -> Result<StatusCode, Problem> {
    service.end_transaction(&id, Resolution::Commit).await
}

/// Drop a half message
#[utoipa::path(post, path = "/v1/transactions/{id}/rollback", operation_id = "rollbackTransaction", tag = "transactions",
    params(("id" = String, Path, description = "The transactionId")),
    responses((status = 204, description = "Done; once more is fine"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn rollback(State(service): State<Service>, Named(id): Named<String>) -> Result<StatusCode, Problem> {
    service.end_transaction(&id, Resolution::Rollback).await
}

/// Answer a check: not known yet, ask again
#[utoipa::path(post, path = "/v1/transactions/{id}/unknown", operation_id = "unknownTransaction", tag = "transactions",
    params(("id" = String, Path, description = "The transactionId")),
    responses((status = 204, description = "Done; once more is fine"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn unknown(State(service): State<Service>, Named(id): Named<String>) -> Result<StatusCode, Problem> {
    service.end_transaction(&id, Resolution::Unknown).await
}

/// Wait for half messages whose outcome a producer of the topic shall say
#[utoipa::path(get, path = "/v1/producers/{topic}/checks", operation_id = "transactionChecks", tag = "transactions",
    params(("topic" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic"), WaitForChecks),
    responses((status = 200, description = "Half messages", body = Checks),
        (status = 204, description = "None in time"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn checks(
    State(service): State<Service>,
    Named(topic): Named<TopicName>,
    QueryOf(WaitForChecks { wait }): QueryOf<WaitForChecks>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Each check goes to one producer, so no other site's page may take it.
    super::refuse_cross_site(&headers)?;
    let wait = service.wait(wait.as_deref())?;
    let found =
        service.checks.wait(&topic, wait, COMMANDS_MAX).await.map_err(|full| Problem::busy(full.to_string()))?;
    if found.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(Checks { checks: found.into_iter().map(|check| check_view(&topic, check)).collect() }).into_response())
}

/// What a producer of the topic is shown of a check.
pub(crate) fn check_view(topic: &TopicName, check: proxy::checks::Check) -> Check {
    Check {
        transaction_id: to_path(topic, &check.transaction_id, true),
        message: ReceivedMessage::of(topic.as_str(), check.message),
    }
}

impl Service {
    async fn end_transaction(&self, id: &str, resolution: Resolution) -> Result<StatusCode, Problem> {
        let InPath { topic, id, is_asked } = of_path(id)?;
        self.messaging.end_transaction(topic, id, resolution, is_asked).await?;
        Ok(StatusCode::NO_CONTENT)
    }
}

/// Stands before the id that a check gives: who uses it was asked, and cannot be too late. No topic begins with it.
const ASKED: char = '?';

/// A transaction's id as HTTP has it: the topic, which gRPC clients say beside the id, and the id that these get, in one
/// text that can stand in a path.
pub(super) fn to_path(topic: &TopicName, id: &str, is_asked: bool) -> String {
    let mark = if is_asked { String::from(ASKED) } else { String::new() };
    URL_SAFE_NO_PAD.encode(format!("{mark}{topic} {id}"))
}

struct InPath {
    topic: TopicName,
    id: TransactionId,
    is_asked: bool,
}

fn of_path(id: &str) -> Result<InPath, Problem> {
    let parse = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()?;
        let (is_asked, text) = text.strip_prefix(ASKED).map_or((false, text.as_str()), |rest| (true, rest));
        let (topic, id) = text.split_once(' ')?;
        Some(InPath { topic: TopicName::for_client(topic).ok()?, id: id.parse().ok()?, is_asked })
    };
    parse().ok_or_else(|| IdError::new(id).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_who_was_asked() {
        let topic = TopicName::new("orders").expect("valid");
        for is_asked in [true, false] {
            let found = of_path(&to_path(&topic, "broker-a 1 2 ID", is_asked)).expect("its own");
            assert_eq!((found.topic.as_str(), found.is_asked), ("orders", is_asked));
            assert_eq!(found.id.to_string(), "broker-a 1 2 ID");
        }
    }
}
