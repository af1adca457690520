//! Dead letters are delivered again while the answer is written, a line for each: who hangs up cancels the rest, and who asks again goes
//! on, because each dead letter is delivered again once. So no gateway has to remember what it was asked to do.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tokio_stream::Stream;
use types::admin::AdminError;
use types::broker::LookupError;
use types::{Admin, GroupName, QueueId, QueueOffset, TopicName};

use super::Managed;
use super::again::again;
use crate::Readiness;
use crate::extract::{Body, Named};
use crate::problem::{Document, Problem};
use crate::server::wait;
use crate::views::again::{Redrive, RedriveEnd};

/// Offsets that one request may name.
const OFFSETS_MAX: usize = 1024;
/// Dead letters a second.
const RATE_DEFAULT: f64 = 10.0;
const RATE_MIN: f64 = 0.1;
const RATE_MAX: f64 = 1000.0;
/// Lines of JSON.
const NDJSON: &str = "application/x-ndjson";

/// Deliver dead letters again, to their group alone, while the answer is read: a line for each
#[utoipa::path(post, path = "/v1/admin/groups/{name}/dead-letters/redrive", operation_id = "redriveDeadLetters", tag = "admin",
    params(("name" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = Redrive),
    responses((status = 200, description = "Lines of JSON: offset, status and stored or problem of each, then end", body = String, content_type = "application/x-ndjson"),
        (status = "default", description = "A problem", body = Document, content_type = "application/problem+json")))]
pub(super) async fn call(
    State(Managed { admin, readiness }): State<Managed>,
    Named(group): Named<GroupName>,
    Body(wanted): Body<Redrive>,
) -> Result<Response, Problem> {
    let rate = wanted.rate.unwrap_or(RATE_DEFAULT);
    if !(RATE_MIN..=RATE_MAX).contains(&rate) {
        return Err(Problem::invalid(format!("rate is {rate}, allowed are {RATE_MIN} to {RATE_MAX}")));
    }
    // One that is not there is no group without dead letters.
    admin.describe_group(&group).await?;
    let queue = QueueId(wanted.queue.unwrap_or(0));
    let offsets = offsets(&*admin, &group, queue, wanted).await?;
    let every = Duration::from_secs_f64(rate.recip());
    let redriving = Redriving { admin, readiness, group, queue, offsets, every, is_begun: false };
    // What cannot be begun is refused before there are lines.
    let first = redriving.next().await.map_err(|(_, problem)| problem)?;
    let lines = Lines(Box::pin(std::future::ready(Some(first))));
    Ok(([(CONTENT_TYPE, NDJSON)], axum::body::Body::from_stream(lines)).into_response())
}

type Offsets = Box<dyn Iterator<Item = u64> + Send>;

async fn offsets(admin: &dyn Admin, group: &GroupName, queue: QueueId, wanted: Redrive) -> Result<Offsets, Problem> {
    let Redrive { offsets, from, to, .. } = wanted;
    if let Some(offsets) = offsets {
        if from.is_some() || to.is_some() {
            return Err(Problem::invalid("offsets cannot be given together with from or to"));
        }
        if !(1..=OFFSETS_MAX).contains(&offsets.len()) {
            return Err(Problem::invalid(format!("{} offsets, allowed are 1 to {OFFSETS_MAX}", offsets.len())));
        }
        return Ok(Box::new(offsets.into_iter()));
    }
    let topic = TopicName::dead_letter(group);
    let described = match admin.describe_topic(&topic).await {
        // The topic is made with the first one.
        Err(AdminError::Lookup(LookupError::TopicNotFound { .. })) => return Ok(Box::new(std::iter::empty())),
        described => described?,
    };
    let queues = u32::try_from(described.queues.len()).unwrap_or(u32::MAX);
    let extent = described.queues.get(queue.0 as usize);
    let (first, end) = *extent.ok_or(LookupError::QueueNotFound { topic, queue, queues }).map_err(AdminError::from)?;
    Ok(Box::new(from.unwrap_or(0).max(first.0)..to.unwrap_or(end.0).min(end.0)))
}

/// What is still to be delivered again.
struct Redriving {
    admin: Arc<dyn Admin>,
    readiness: Readiness,
    group: GroupName,
    queue: QueueId,
    offsets: Offsets,
    /// From the end of one to the begin of the next.
    every: Duration,
    is_begun: bool,
}

/// A line, and what comes after it; nothing after the last one.
type Next = (Bytes, Option<Redriving>);

impl Redriving {
    /// # Errors
    /// Why this one cannot be delivered again now, and so could not the next one either.
    async fn next(mut self) -> Result<Next, (u64, Problem)> {
        let Some(offset) = self.offsets.next() else { return Ok((end("done", None), None)) };
        if self.is_begun {
            wait(self.every).await;
        }
        self.is_begun = true;
        if !self.readiness.is_ready() {
            return Ok((end("stopping", Some(offset)), None));
        }
        let stored = self.admin.redrive(&self.group, self.queue, QueueOffset(offset)).await.map_err(Problem::from);
        match stored {
            Err(problem) if problem.status.is_server_error() || problem.status == StatusCode::TOO_MANY_REQUESTS => {
                Err((offset, problem))
            }
            stored => Ok((line(&again(offset, stored)), Some(self))),
        }
    }

    /// The same as lines.
    async fn next_line(self) -> Option<Next> {
        Some(self.next().await.unwrap_or_else(|(offset, problem)| {
            let lines = [line(&again(offset, Err(problem))), end("failed", Some(offset))];
            (lines.concat().into(), None)
        }))
    }
}

fn end(why: &str, next: Option<u64>) -> Bytes {
    line(&RedriveEnd { end: why.to_owned(), next })
}

fn line(of: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(of).expect("plain data");
    line.push(b'\n');
    line.into()
}

/// The lines, made as the client takes them.
struct Lines(Pin<Box<dyn Future<Output = Option<Next>> + Send>>);

impl Stream for Lines {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((line, rest)) = ready!(self.0.as_mut().poll(context)) else { return Poll::Ready(None) };
        self.0 = match rest {
            Some(rest) => Box::pin(rest.next_line()),
            None => Box::pin(std::future::ready(None)),
        };
        Poll::Ready(Some(Ok(line)))
    }
}
