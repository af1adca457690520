//! Asks a check URL for the outcome of half messages. As long as it does, its gateway is a producer of the topic like those on gRPC, and is asked
//! in its turn; the broker decides how often. A call that brings no outcome changes nothing: the broker asks again, as it does when a producer
//! is silent.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use proxy::checks::Check;
use proxy::messaging::transaction::TransactionId;
use proxy::sessions::Full;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use types::broker::Resolution;

use super::caller::{Called, Caller, Receiving};
use super::client::{Answer, Outcome};
use super::format::{self, Content};
use super::room::Held;
use super::subscription::CheckUrl;
use crate::messaging::check_view;

/// How long it waits for checks before it waits again.
const CHECKS_WAIT: Duration = Duration::from_secs(20);
/// Tells the id of a check from that of a delivery of the same message.
const ID_PREFIX: &str = "check_";

/// One check URL, asked until it is stopped or changed.
pub(super) struct Asker {
    caller: Arc<Caller>,
    check_url: Arc<CheckUrl>,
}

impl Asker {
    pub(super) fn new(caller: Arc<Caller>, check_url: Arc<CheckUrl>) -> Arc<Self> {
        Arc::new(Self { caller, check_url })
    }

    /// Asks until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.caller.run(stop, |checks_max| self.wait(checks_max), |checks| self.came(checks)).await;
    }

    /// Is a producer until there are checks.
    fn wait(&self, checks_max: u32) -> Receiving<Result<Vec<Check>, Full>> {
        let (checks, topic) = (self.caller.shared.checks.clone(), self.check_url.topic.clone());
        let checks_max = usize::try_from(checks_max).unwrap_or(usize::MAX);
        Box::pin(async move { checks.wait(&topic, CHECKS_WAIT, checks_max).await })
    }

    /// Makes a call of each check; what there is no room for is asked again.
    fn came(self: &Arc<Self>, checks: Result<Vec<Check>, Full>) {
        let checks = match checks {
            Ok(checks) => checks,
            Err(full) => {
                tracing::warn!(check_url = self.caller.record.id, %full, "a check URL cannot be a producer now");
                return self.caller.receive_failed();
            }
        };
        let held = |check: Check| {
            let mut held = self.caller.lane.begin()?;
            held.add(check.message.body.len()).then_some((check, held))
        };
        let calls: Vec<(Check, Held)> = checks.into_iter().filter_map(held).collect();
        self.caller.received(calls.len());
        for (check, held) in calls {
            let asker = self.clone();
            self.caller.begin(held, async move { asker.ask(check).await });
        }
    }

    async fn ask(&self, check: Check) {
        let CheckUrl { topic, endpoint } = &*self.check_url;
        let (began, transaction) = (self.caller.now(), check.transaction_id.clone());
        let webhook_id = format!("{ID_PREFIX}{}", format::id(std::slice::from_ref(&check.message)));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(&check_view(topic, check)).expect("plain data").into();
        let content = Content { id: webhook_id.clone(), headers, body };
        let client = &self.caller.shared.client;
        let answer = client.post(endpoint, content, endpoint.timeout, self.caller.env().clock.now()).await;
        let (answer, resolution) = said(answer);
        self.caller.ended(Called { began, webhook_id: &webhook_id, attempt: 1, messages: 1 }, &answer);
        if let Some(resolution) = resolution {
            self.end(transaction.parse().expect("its own"), resolution).await;
        }
        self.caller.disable_if_gone(&answer, &webhook_id).await;
    }

    /// Tells the broker. What it cannot be told it asks again.
    async fn end(&self, transaction: TransactionId, resolution: Resolution) {
        let topic = self.check_url.topic.clone();
        if let Err(error) = self.caller.messaging().end_transaction(topic, transaction, resolution, true).await {
            tracing::warn!(check_url = self.caller.record.id, %error, ?resolution, "an outcome could not be told");
        }
    }
}

/// What an endpoint says of a transaction.
#[derive(Deserialize)]
struct Said {
    outcome: SaidOutcome,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SaidOutcome {
    Commit,
    Rollback,
    Unknown,
}

/// The outcome that stands in an answer. One of success without an outcome has failed.
fn said(answer: Answer) -> (Answer, Option<Resolution>) {
    if answer.outcome != Outcome::Delivered {
        return (answer, None);
    }
    match serde_json::from_slice(&answer.body) {
        Ok(Said { outcome: SaidOutcome::Commit }) => (answer, Some(Resolution::Commit)),
        Ok(Said { outcome: SaidOutcome::Rollback }) => (answer, Some(Resolution::Rollback)),
        Ok(Said { outcome: SaidOutcome::Unknown }) => (answer, Some(Resolution::Unknown)),
        Err(error) => {
            let error = Some(format!("no outcome in the answer: {error}"));
            (Answer { outcome: Outcome::Failed, error, ..answer }, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_outcome_in_an_answer_of_success_counts() {
        let answer = |outcome, body: &'static str| Answer {
            outcome,
            status: Some(200),
            error: None,
            body: bytes::Bytes::from_static(body.as_bytes()),
        };
        for (body, resolution) in [
            (r#"{"outcome": "commit"}"#, Some(Resolution::Commit)),
            (r#"{"outcome": "rollback", "why": "no money"}"#, Some(Resolution::Rollback)),
            (r#"{"outcome": "unknown"}"#, Some(Resolution::Unknown)),
            (r#"{"outcome": "maybe"}"#, None),
            ("", None),
        ] {
            let (judged, found) = said(answer(Outcome::Delivered, body));
            assert_eq!(found, resolution, "{body}");
            assert_eq!(judged.outcome == Outcome::Failed, resolution.is_none(), "{body}");
        }
        assert_eq!(said(answer(Outcome::Failed, r#"{"outcome": "commit"}"#)).1, None);
    }
}
