//! What becomes of leased messages: acknowledged, given back, kept longer, given up. Many handles, a result each.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use proxy::validate::Invalid;
use tokio::task::JoinSet;
use types::broker::{ChangeInvisible, LeaseError, LeaseOwner};
use types::{GroupName, ReceiptHandle, TopicName};

use super::{Service, together};
use crate::extract::{Body, Named};
use crate::problem::{Document, Problem};
use crate::router::{REQUEST_TIMEOUT, timed_out};
use crate::text;
use crate::views::messaging::{Ack, Ended, Extend, LeaseResult, Nack};

/// What a call came to: a handle that is good from now on, if there is another.
type Outcome = Result<Option<ReceiptHandle>, Problem>;

/// Finish messages
#[utoipa::path(post, path = "/v1/groups/{group}/ack", operation_id = "ackMessages", tag = "consumers",
    params(("group" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = Ack),
    responses((status = 200, description = "All of them", body = Ended),
        (status = 207, description = "The results differ", body = Ended),
        (status = "default", description = "A problem, or the results of handles that all have it", content((Document = "application/problem+json"), (Ended = "application/json")))))]
pub(super) async fn ack(
    State(service): State<Service>,
    Named(group): Named<GroupName>,
    Body(asked): Body<Ack>,
) -> Result<Response, Problem> {
    service.ack(group, asked).await.map(answer)
}

/// A broker that answers fewer handles than it was given knows the others no more than a lost lease.
const NO_RESULT: LeaseError = LeaseError::Invalid { reason: "the broker gave no result" };

/// Give messages back, so that they come again
#[utoipa::path(post, path = "/v1/groups/{group}/nack", operation_id = "nackMessages", tag = "consumers",
    params(("group" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = Nack),
    responses((status = 200, description = "All of them", body = Ended),
        (status = 207, description = "The results differ", body = Ended),
        (status = "default", description = "A problem, or the results of handles that all have it", content((Document = "application/problem+json"), (Ended = "application/json")))))]
pub(super) async fn nack(
    State(service): State<Service>,
    Named(group): Named<GroupName>,
    Body(asked): Body<Nack>,
) -> Result<Response, Problem> {
    service.nack(group, asked).await.map(answer)
}

/// Keep messages longer
#[utoipa::path(post, path = "/v1/groups/{group}/extend", operation_id = "extendLeases", tag = "consumers",
    params(("group" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = Extend),
    responses((status = 200, description = "All of them", body = Ended),
        (status = 207, description = "The results differ", body = Ended),
        (status = "default", description = "A problem, or the results of handles that all have it", content((Document = "application/problem+json"), (Ended = "application/json")))))]
pub(super) async fn extend(
    State(service): State<Service>,
    Named(group): Named<GroupName>,
    Body(asked): Body<Extend>,
) -> Result<Response, Problem> {
    service.extend(group, asked).await.map(answer)
}

/// Move messages to the group's dead-letter topic
#[utoipa::path(post, path = "/v1/groups/{group}/dead-letter", operation_id = "deadLetterMessages", tag = "consumers",
    params(("group" = String, Path, pattern = "^[%|a-zA-Z0-9_-]{1,255}$", description = "The consumer group")),
    request_body(content = Ack),
    responses((status = 200, description = "All of them", body = Ended),
        (status = 207, description = "The results differ", body = Ended),
        (status = "default", description = "A problem, or the results of handles that all have it", content((Document = "application/problem+json"), (Ended = "application/json")))))]
pub(super) async fn dead_letter(
    State(service): State<Service>,
    Named(group): Named<GroupName>,
    Body(asked): Body<Ack>,
) -> Result<Response, Problem> {
    service.dead_letter(group, asked).await.map(answer)
}

/// How a lease goes on.
#[derive(Clone, Copy)]
enum End {
    /// The message comes again then.
    GiveBack(ChangeInvisible),
    /// It is kept for this time from now.
    Extend(Duration),
    /// It goes to the dead-letter topic.
    DeadLetter,
}

impl End {
    /// Handles that are worked on at a time. Dead letters keep their order.
    fn at_once(self) -> usize {
        match self {
            Self::GiveBack(_) | Self::Extend(_) => 32,
            Self::DeadLetter => 1,
        }
    }
}

/// The results of work on each item, in their order, `at_once` of them at a time; `None` where it was not done when the time for
/// all of them was over.
async fn each_within<T, W>(
    limit: Duration,
    at_once: usize,
    items: Vec<T>,
    work: impl Fn(T) -> W,
) -> Vec<Option<W::Output>>
where
    W: Future<Output: Send> + Send + 'static,
{
    let mut results: Vec<_> = items.iter().map(|_| None).collect();
    let mut items = items.into_iter().enumerate();
    let all = async {
        let mut running = JoinSet::new();
        loop {
            while running.len() < at_once
                && let Some((index, item)) = items.next()
            {
                let work = work(item);
                running.spawn(async move { (index, work.await) });
            }
            match running.join_next().await {
                Some(Ok((index, result))) => results[index] = Some(result),
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => return,
            }
        }
    };
    // Who is late finds in the results what is missing.
    let _ = tokio::time::timeout(limit, all).await;
    results
}

/// What became of each handle.
pub(super) type Results = Result<Vec<LeaseResult>, Problem>;

impl Service {
    /// Finishes messages.
    pub(super) async fn ack(&self, group: GroupName, Ack { topic, handles }: Ack) -> Results {
        let (lease, parsed) = self.named(group, &topic, &handles)?;
        let valid = parsed.iter().filter_map(|handle| handle.as_ref().ok().cloned()).collect();
        let acked = tokio::time::timeout(REQUEST_TIMEOUT, self.messaging.broker().ack(lease, valid));
        let mut acked = acked.await.map_err(|_| timed_out())?.into_iter();
        let outcome = |parsed: Result<ReceiptHandle, Problem>| match parsed {
            Ok(_) => acked.next().unwrap_or(Err(NO_RESULT)).map(|()| None).map_err(Problem::from),
            Err(problem) => Err(problem),
        };
        let outcomes = parsed.into_iter().map(outcome).collect();
        Ok(results(handles, outcomes))
    }

    /// Gives messages back.
    pub(super) async fn nack(&self, group: GroupName, asked: Nack) -> Results {
        let Nack { topic, handles, delay, counts_as_attempt } = asked;
        let (lease, parsed) = self.named(group, &topic, &handles)?;
        let delay = text::length("delay", delay.as_deref().unwrap_or("0"))?;
        let invisible = self.limits.messages.changed_invisible(delay)?;
        let change = ChangeInvisible { invisible, suspend: !counts_as_attempt.unwrap_or(true) };
        Ok(results(handles, self.each(&lease, parsed, End::GiveBack(change)).await))
    }

    /// Keeps messages longer.
    pub(super) async fn extend(&self, group: GroupName, Extend { topic, handles, invisible }: Extend) -> Results {
        let (lease, parsed) = self.named(group, &topic, &handles)?;
        let invisible = self.limits.messages.changed_invisible(text::length("invisible", &invisible)?)?;
        Ok(results(handles, self.each(&lease, parsed, End::Extend(invisible)).await))
    }

    /// Gives messages up.
    pub(super) async fn dead_letter(&self, group: GroupName, Ack { topic, handles }: Ack) -> Results {
        let (lease, parsed) = self.named(group, &topic, &handles)?;
        Ok(results(handles, self.each(&lease, parsed, End::DeadLetter).await))
    }

    /// Whose leases the handles are of, and each handle or what is wrong with it.
    fn named(
        &self,
        group: GroupName,
        topic: &str,
        handles: &[String],
    ) -> Result<(LeaseOwner, Vec<Result<ReceiptHandle, Problem>>), Problem> {
        let topic = TopicName::for_client(topic).map_err(Invalid::Topic)?;
        let entries_max = self.limits.messages.ack_entries_max;
        if !(1..=entries_max).contains(&handles.len()) {
            return Err(Invalid::TooManyEntries { entries: handles.len(), entries_max }.into());
        }
        let parsed =
            handles.iter().map(|handle| handle.parse().map_err(|error: types::receipt_handle::Error| error.into()));
        Ok((LeaseOwner { group, topic }, parsed.collect()))
    }

    /// Asks the broker for each handle, some at a time.
    async fn each(&self, lease: &LeaseOwner, parsed: Vec<Result<ReceiptHandle, Problem>>, end: End) -> Vec<Outcome> {
        let ask = |handle: Result<ReceiptHandle, Problem>| {
            let (service, lease) = (self.clone(), lease.clone());
            async move { service.end(lease, handle?, end).await.map_err(Problem::from) }
        };
        let outcomes = each_within(REQUEST_TIMEOUT, end.at_once(), parsed, ask).await;
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(timed_out()))).collect()
    }

    async fn end(
        &self,
        lease: LeaseOwner,
        handle: ReceiptHandle,
        end: End,
    ) -> Result<Option<ReceiptHandle>, LeaseError> {
        let broker = self.messaging.broker();
        match end {
            // The next handle is of no use to who gives the message back.
            End::GiveBack(change) => broker.change_invisible(lease, handle, change).await.map(|_| None),
            End::Extend(invisible) => broker.change_invisible(lease, handle, invisible.into()).await.map(Some),
            End::DeadLetter => broker.dead_letter(lease, handle).await.map(|()| None),
        }
    }
}

fn results(handles: Vec<String>, outcomes: Vec<Outcome>) -> Vec<LeaseResult> {
    let result = |(handle, outcome): (String, Outcome)| match outcome {
        Ok(next) => LeaseResult { status: 200, handle: next.map_or(handle, |next| next.to_string()), problem: None },
        Err(problem) => LeaseResult { status: problem.status.as_u16(), handle, problem: Some(problem.document()) },
    };
    handles.into_iter().zip(outcomes).map(result).collect()
}

fn answer(results: Vec<LeaseResult>) -> Response {
    let statuses: Vec<u16> = results.iter().map(|result| result.status).collect();
    together(statuses.into_iter(), Ended { results })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_handles_go_side_by_side_and_have_one_limit() {
        let second = Duration::from_secs(1);
        let work = |number: u32| async move {
            tokio::time::timeout(4 * second, std::future::pending::<()>()).await.expect_err("it takes four seconds");
            number
        };
        let done = each_within(10 * second, 2, (0..5).collect(), work).await;
        assert_eq!(done, [Some(0), Some(1), Some(2), Some(3), None]);
    }
}
