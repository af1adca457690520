//! What operators have delivered again: dead letters, parked transactions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use types::admin::{AdminError, FindBy, FoundMessages, MessageQuery, StoredAgain};
use types::broker::LookupError;
use types::{Admin, GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::messages::count;
use crate::extract::{Body, Named, QueryOf};
use crate::messaging::together;
use crate::problem::{Document, Problem};
use crate::views::again::{
    Again, DeadLetter, DeadLetters, ListDeadLetters, ListParked, ParkedTransaction, ParkedTransactions, Resume, Resumed,
};

/// A group's dead letters; nothing is leased
#[utoipa::path(get, path = "/v1/admin/groups/{name}/dead-letters", operation_id = "listDeadLetters", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group"), ListDeadLetters),
    responses((status = 200, description = "From an offset on", body = DeadLetters),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn dead_letters(
    State(admin): State<Arc<dyn Admin>>,
    Named(group): Named<GroupName>,
    QueryOf(wanted): QueryOf<ListDeadLetters>,
) -> Result<Json<DeadLetters>, Problem> {
    let has_bodies = wanted.body.unwrap_or(true);
    let by = FindBy::From(QueueId(wanted.queue.unwrap_or(0)), QueueOffset(wanted.from.unwrap_or(0)));
    let stored = Timestamp(i64::MIN)..Timestamp(i64::MAX);
    let topic = TopicName::dead_letter(&group);
    let query = MessageQuery { topic, by, stored, messages_max: count(wanted.max)? };
    let found = match admin.find_messages(query).await {
        // The topic is made with the first one.
        Err(AdminError::Lookup(LookupError::TopicNotFound { .. })) => {
            admin.describe_group(&group).await?;
            FoundMessages { records: Vec::new(), is_complete: true }
        }
        found => found?,
    };
    let dead_letters = found.records.iter().filter_map(|bytes| DeadLetter::of(bytes, has_bodies)).collect();
    Ok(Json(DeadLetters { dead_letters, next: next(&found) }))
}

/// Half messages that nobody decided and that producers are not asked about any more
#[utoipa::path(get, path = "/v1/admin/transactions/parked", operation_id = "listParkedTransactions", tag = "admin",
    params(ListParked),
    responses((status = 200, description = "From an offset on", body = ParkedTransactions),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn parked(
    State(admin): State<Arc<dyn Admin>>,
    QueryOf(wanted): QueryOf<ListParked>,
) -> Result<Json<ParkedTransactions>, Problem> {
    let has_bodies = wanted.body.unwrap_or(true);
    let found = admin.parked(QueueOffset(wanted.from.unwrap_or(0)), count(wanted.max)?).await?;
    let transactions = found.records.iter().filter_map(|bytes| ParkedTransaction::of(bytes, has_bodies)).collect();
    Ok(Json(ParkedTransactions { transactions, next: next(&found) }))
}

/// Ask producers again about parked transactions; of each once
#[utoipa::path(post, path = "/v1/admin/transactions/parked/resume", operation_id = "resumeTransactions", tag = "admin",
    request_body(content = Resume),
    responses((status = 200, description = "All were resumed before", body = Resumed),
        (status = 201, description = "All are resumed", body = Resumed),
        (status = 207, description = "The results differ", body = Resumed),
        (status = "default", description = "A problem, or the results if all have it", content((Document = "application/problem+json"), (Resumed = "application/json")))))]
pub(super) async fn resume(
    State(admin): State<Arc<dyn Admin>>,
    Body(wanted): Body<Resume>,
) -> Result<Response, Problem> {
    let limit = MessageQuery::MESSAGES_MAX;
    if !(1..=limit).contains(&wanted.offsets.len()) {
        return Err(Problem::invalid(format!("{} offsets, allowed are 1 to {limit}", wanted.offsets.len())));
    }
    let mut results = Vec::with_capacity(wanted.offsets.len());
    for offset in wanted.offsets {
        results.push(again(offset, admin.resume(QueueOffset(offset)).await.map_err(Problem::from)));
    }
    Ok(together(results.iter().map(|result| result.status).collect::<Vec<_>>().into_iter(), Resumed { results }))
}

/// Where those begin that follow.
fn next(found: &FoundMessages) -> Option<u64> {
    let last = found.records.last().filter(|_| !found.is_complete)?;
    record::header(last).ok().map(|header| header.queue_offset.0 + 1)
}

/// What came of one message.
pub(super) fn again(offset: u64, stored: Result<StoredAgain, Problem>) -> Again {
    match stored {
        Ok(stored) => {
            let status = if stored.is_repeat { StatusCode::OK } else { StatusCode::CREATED };
            Again { offset, status: status.as_u16(), stored: Some(stored.into()), problem: None }
        }
        Err(problem) => {
            let problem = problem.document();
            Again { offset, status: problem.status, stored: None, problem: Some(problem) }
        }
    }
}
