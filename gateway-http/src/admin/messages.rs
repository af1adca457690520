//! Looking at stored messages: by key, by time, by place. Nothing is leased.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use types::Admin;
use types::admin::{FindBy, MessageQuery};
use types::{QueueId, Timestamp, TopicName};

use crate::extract::{Named, QueryOf};
use crate::problem::{Document, Problem};
use crate::views::messages::{FindMessages, Message, Messages};

/// Messages of an answer, when the request does not say.
const MESSAGES_DEFAULT: usize = 32;

/// Look for stored messages of a topic by key or store time; nothing is leased
#[utoipa::path(get, path = "/v1/admin/topics/{name}/messages", operation_id = "findMessages", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The topic; a dead-letter topic may be named too"), FindMessages),
    responses((status = 200, description = "Those that were found", body = Messages),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn find(
    State(admin): State<Arc<dyn Admin>>,
    Named(topic): Named<TopicName>,
    QueryOf(wanted): QueryOf<FindMessages>,
) -> Result<Json<Messages>, Problem> {
    let has_bodies = wanted.body.unwrap_or(true);
    let found = admin.find_messages(to_query(topic, wanted)?).await?;
    let messages = found.records.iter().filter_map(|bytes| Message::of(bytes, has_bodies)).collect();
    Ok(Json(Messages { messages, complete: found.is_complete }))
}

fn to_query(topic: TopicName, wanted: FindMessages) -> Result<MessageQuery, Problem> {
    let stored = Timestamp(wanted.from_ms.unwrap_or(0))..Timestamp(wanted.to_ms.unwrap_or(i64::MAX));
    if stored.is_empty() {
        return Err(Problem::invalid(format!(
            "fromMs is {}, toMs is {}: nothing is between",
            stored.start, stored.end
        )));
    }
    let messages_max = count(wanted.max)?;
    let by = match (wanted.key, wanted.queue) {
        (Some(_), Some(_)) => return Err(Problem::invalid("key and queue cannot be given together")),
        (Some(key), None) if key.is_empty() || key.contains(' ') => {
            return Err(Problem::invalid(format!("key is {key:?}: a key is one word")));
        }
        (Some(key), None) => FindBy::Key(key),
        (None, queue) => FindBy::Time(queue.map(QueueId)),
    };
    Ok(MessageQuery { topic, by, stored, messages_max })
}

/// How many messages are wanted.
pub(super) fn count(max: Option<usize>) -> Result<usize, Problem> {
    let messages_max = max.unwrap_or(MESSAGES_DEFAULT);
    let limit = MessageQuery::MESSAGES_MAX;
    if (1..=limit).contains(&messages_max) {
        return Ok(messages_max);
    }
    Err(Problem::invalid(format!("max is {messages_max}, allowed are 1 to {limit}")))
}

/// The message that an offset message id names
#[utoipa::path(get, path = "/v1/admin/messages/{id}", operation_id = "showMessage", tag = "admin",
    params(("id" = String, Path, description = "Its offset message id")),
    responses((status = 200, description = "The message", body = Message),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(admin): State<Arc<dyn Admin>>,
    Named(id): Named<String>,
) -> Result<Json<Message>, Problem> {
    let Some((_, offset)) = record::parse_offset_message_id(&id) else {
        let detail = format!(
            "{id:?} is no offset message id (32 or 56 hexadecimal digits); \
             find a unique id by its topic: /v1/admin/topics/TOPIC/messages?key=ID"
        );
        return Err(Problem::invalid(detail));
    };
    let bytes = admin.message_at(offset).await?;
    let message = bytes.and_then(|bytes| Message::of(&bytes, true)).filter(|message| message.offset_message_id == id);
    message.map(Json).ok_or_else(|| {
        let detail = format!("there is no message {id}: it has expired, never was, or belongs to another broker");
        Problem::new(StatusCode::NOT_FOUND, "message-not-found", detail)
    })
}
