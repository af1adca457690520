//! Sending: one message or event as the request's body, or several as JSON with a result each.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use proxy::Code;
use proxy::messaging::message::{Draft, Due, Outgoing};
use proxy::messaging::transaction::TransactionId;
use proxy::validate::Invalid;
use serde::Deserialize;
use serde::de::IgnoredAny;
use types::TopicName;
use types::broker::{self, SendError, SendReceipt};
use types::properties::names;

use super::events::{self, Mode};
use super::{Peer, Service, together, transactions};
use crate::extract::Named;
use crate::problem::{Document, Problem};
use crate::text;
use crate::views::messaging::{
    CloudEvent, Durability, MessageHeaders, NewMessage, RawBody, SendAnswer, SendMany, SendResult, Sent, SentMany,
};

/// Says that nothing was stored, because the message is already.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Send the body as one message, or several as JSON
///
/// A header `Property-NAME` is stored as the message's property `name`; headers `ce-NAME` make the body a CloudEvent's data. 207 when the results
/// of several messages differ.
#[utoipa::path(post, path = "/v1/topics/{topic}/messages", operation_id = "sendMessages", tag = "producers",
    params(("topic" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic"),
        MessageHeaders),
    request_body(content((RawBody = "application/octet-stream"), (SendMany = "application/json"),
        (CloudEvent = "application/cloudevents+json"), (Vec<CloudEvent> = "application/cloudevents-batch+json"))),
    responses((status = 201, description = "Stored", body = SendAnswer),
        (status = 207, description = "The results differ", body = SentMany),
        (status = "default", description = "A problem, or the results of several messages that all have it", content((Document = "application/problem+json"), (SentMany = "application/json")))))]
pub(super) async fn call(
    State(service): State<Service>,
    Named(topic): Named<TopicName>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get().copied();
    let inbound = service.read(&parts.headers, body).await?;
    let messages_max = service.limits.messages.messages_max;
    match Mode::of(&parts.headers)? {
        Some(Mode::Batch) => service.send_many(&topic, events::batch(&inbound.bytes, messages_max)?, peer).await,
        None if is_json(&parts.headers) => {
            let many = parse(&inbound.bytes, messages_max)?;
            service.send_many(&topic, many.messages.into_iter().map(NewMessage::into_draft), peer).await
        }
        mode => {
            let message = NewMessage::of_headers(&parts.headers)?;
            let draft = events::one(mode, &parts.headers, message, &inbound.bytes)?;
            // Not kept while the broker is awaited, so that the connection finds its buffer in a cache.
            drop((parts, inbound.bytes));
            service.send_one(&topic, draft, peer).await
        }
    }
}

impl Service {
    pub(super) async fn send_one(
        &self,
        topic: &TopicName,
        draft: Draft,
        peer: Option<Peer>,
    ) -> Result<Response, Problem> {
        let Outgoing { message, message_type, message_id } = self.outgoing(topic, draft, peer)?;
        let results = self.messaging.send(topic, vec![message], &[message_type]).await?;
        let sent = match results.into_iter().next() {
            Some(result) => self.sent(topic, message_id, result)?,
            None => return Err(no_result()),
        };
        let repeated = sent.repeated;
        let mut response = (StatusCode::CREATED, Json(SendAnswer::One(sent))).into_response();
        if repeated {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    /// Messages that are not valid have their result without being sent.
    async fn send_many(
        &self,
        topic: &TopicName,
        drafts: impl Iterator<Item = Result<Draft, Problem>> + Send,
        peer: Option<Peer>,
    ) -> Result<Response, Problem> {
        let (mut messages, mut types, mut prepared) = (Vec::new(), Vec::new(), Vec::new());
        for draft in drafts {
            let outgoing = draft.and_then(|draft| self.outgoing(topic, draft, peer));
            prepared.push(outgoing.map(|outgoing| {
                messages.push(outgoing.message);
                types.push(outgoing.message_type);
                outgoing.message_id
            }));
        }
        if prepared.is_empty() {
            return Err(Invalid::NoMessages.into());
        }
        let mut results = Vec::new();
        if !messages.is_empty() {
            results = self.messaging.send(topic, messages, &types).await?;
        }
        let mut results = results.into_iter();
        let result = |id: Result<String, Problem>| match id {
            Ok(id) => results.next().map_or_else(|| Err(no_result()), |result| self.sent(topic, id, result)),
            Err(problem) => Err(problem),
        };
        let results: Vec<SendResult> = prepared.into_iter().map(result).map(SendResult::from).collect();
        let statuses: Vec<u16> = results.iter().map(SendResult::status).collect();
        Ok(together(statuses.into_iter(), SendAnswer::Many(SentMany { results })))
    }

    fn outgoing(&self, topic: &TopicName, draft: Draft, peer: Option<Peer>) -> Result<Outgoing, Problem> {
        let draft = Draft { message_id: self.ids.next(), ..draft };
        // Every connection has a peer; a test without one does not look at it.
        let Peer(address) = peer.unwrap_or(Peer(([0, 0, 0, 0], 0).into()));
        Ok(draft.outgoing(&self.limits.messages, topic.clone(), address)?)
    }

    fn sent(
        &self,
        topic: &TopicName,
        message_id: String,
        result: Result<SendReceipt, SendError>,
    ) -> Result<Sent, Problem> {
        let receipt = result?;
        let (message_id, repeated) = match receipt.repeat_of {
            Some(first) => (String::from(first), true),
            None => (message_id, false),
        };
        let transaction_id = receipt.transaction.map(|place| {
            let id = TransactionId { place, message_id: message_id.clone() };
            transactions::to_path(topic, &id.to_string(), false)
        });
        let sent = Sent {
            durability: Durability::Written,
            message_id,
            queue: receipt.queue.0,
            offset: receipt.queue_offset.0,
            transaction_id,
            recall_handle: receipt.recall_handle,
            repeated,
        };
        confirmed(sent, receipt.durability)
    }
}

/// What a client may rely on. What was not confirmed is a problem, as it is for gRPC clients: the message is there, but may be
/// lost, so the problem says all that a client needs to go on with it.
fn confirmed(sent: Sent, durability: broker::Durability) -> Result<Sent, Problem> {
    let (code, what) = match durability {
        broker::Durability::Written => return Ok(sent),
        broker::Durability::Flushed => return Ok(Sent { durability: Durability::Flushed, ..sent }),
        broker::Durability::FlushTimedOut => (Code::MasterPersistenceTimeout, "the disk did not confirm in time"),
        broker::Durability::ReplicaTimedOut => (Code::SlavePersistenceTimeout, "the replicas did not confirm in time"),
        broker::Durability::ReplicaMissing => (Code::HaNotAvailable, "there is no replica to confirm"),
    };
    let detail = format!("message {} is stored, but {what}", sent.message_id);
    let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "not-confirmed", detail);
    Err(Problem { code: Some(code), stored: Some(Box::new(sent)), ..problem })
}

fn no_result() -> Problem {
    let code = Some(Code::InternalServerError);
    Problem { code, ..Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the broker gave no result") }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// The messages of a body. They are counted before any is made: two bytes of JSON can be a message of several hundred here.
fn parse(bytes: &[u8], messages_max: usize) -> Result<SendMany, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Counted {
        messages: Vec<IgnoredAny>,
    }
    let Counted { messages } = serde_json::from_slice(bytes).map_err(|error| not_a_list(&error))?;
    if messages.len() > messages_max {
        return Err(Invalid::TooManyMessages { messages: messages.len(), messages_max }.into());
    }
    serde_json::from_slice(bytes).map_err(|error| not_a_list(&error))
}

fn not_a_list(error: &serde_json::Error) -> Problem {
    let detail = format!(
        "{error}; application/json is a list of messages here, {{\"messages\": [...]}}: to send JSON as one message \
         give another Content-Type, such as application/octet-stream"
    );
    Problem::invalid_body(error, detail)
}

impl NewMessage {
    /// The message with the body that it names itself.
    fn into_draft(mut self) -> Result<Draft, Problem> {
        let body = match (self.body.take(), self.body_base64.take()) {
            (Some(text), None) => text.into(),
            (None, Some(text)) => STANDARD
                .decode(&text)
                .map(Bytes::from)
                .map_err(|error| Problem::invalid(format!("bodyBase64 is not Base64: {error}")))?,
            (None, None) => return Err(Problem::invalid("body or bodyBase64 is missing")),
            (Some(_), Some(_)) => return Err(Problem::invalid("body and bodyBase64 cannot be given together")),
        };
        self.draft(body)
    }

    pub(super) fn draft(mut self, body: Bytes) -> Result<Draft, Problem> {
        if let Some(key) = self.idempotency_key {
            if self.properties.contains_key(names::IDEMPOTENCY_KEY) {
                return Err(Problem::invalid(format!(
                    "the idempotency key is given twice, once as property {}",
                    names::IDEMPOTENCY_KEY
                )));
            }
            self.properties.insert(names::IDEMPOTENCY_KEY.to_owned(), key);
        }
        Ok(Draft {
            message_id: String::new(),
            body,
            tag: self.tag,
            keys: self.keys,
            message_group: self.message_group,
            due: due(self.delay.as_deref(), self.deliver_at.as_deref())?,
            priority: self.priority,
            properties: self.properties,
            transaction: None,
        })
    }
}

fn due(delay: Option<&str>, deliver_at: Option<&str>) -> Result<Option<Due>, Problem> {
    match (delay, deliver_at) {
        (Some(_), Some(_)) => Err(Problem::invalid("delay and deliver-at cannot be given together")),
        (Some(delay), None) => Ok(Some(Due::After(text::length("delay", delay)?))),
        (None, Some(time)) => {
            let at = text::time(time);
            at.map(|at| Some(Due::At(at)))
                .map_err(|expected| Problem::invalid(format!("deliver-at is {time:?}, {expected}")))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_confirmed_can_be_ended_and_taken_back_all_the_same() {
        let sent = Sent {
            message_id: "ID".to_owned(),
            queue: 1,
            offset: 2,
            durability: Durability::Written,
            transaction_id: Some("T".to_owned()),
            recall_handle: Some("R".to_owned()),
            repeated: false,
        };
        let problem = confirmed(sent, broker::Durability::FlushTimedOut).expect_err("not confirmed");
        assert_eq!(problem.status, StatusCode::GATEWAY_TIMEOUT);
        let document = serde_json::to_value(problem.document()).expect("plain data");
        assert_eq!(
            document["stored"],
            serde_json::json!({
                "messageId": "ID", "queue": 1, "offset": 2, "durability": "written", "transactionId": "T", "recallHandle": "R"
            }),
        );
    }
}
