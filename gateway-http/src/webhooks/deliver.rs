//! Delivers the messages of one webhook. Gateways share a webhook by the leases of its group alone.

use std::sync::Arc;
use std::time::Duration;

use proxy::messaging::message::Received;
use proxy::messaging::receive::Delivery;
use tokio_util::sync::CancellationToken;
use types::ReceiptHandle;
use types::broker::{Pop, PopError};

use super::caller::{Called, Caller, Receiving};
use super::client::Outcome;
use super::format;
use super::room::Held;
use super::subscription::Subscription;
use super::views::Format;

mod settle;

/// How long a receive waits for messages.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);
/// How much longer than a call a lease lasts: what became of the call must be told within it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// What brokers know gateways by that deliver. No gRPC client can have this id.
const CLIENT: &str = "«webhook»";

/// One webhook, delivered until it is stopped or changed.
pub(super) struct Deliverer {
    caller: Arc<Caller>,
    subscription: Arc<Subscription>,
}

/// A message that is to be delivered.
struct Leased {
    handle: ReceiptHandle,
    attempt: u32,
    message: Received,
}

/// A call that is to be made, with the room that it takes.
struct Call {
    messages: Vec<Leased>,
    held: Held,
}

impl Deliverer {
    pub(super) fn new(caller: Arc<Caller>, subscription: Arc<Subscription>) -> Arc<Self> {
        Arc::new(Self { caller, subscription })
    }

    /// Delivers until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.caller.run(stop, |messages_max| self.receive(messages_max), |delivery| self.received(delivery)).await;
    }

    fn receive(&self, messages_max: u32) -> Receiving<Result<Delivery, PopError>> {
        let (messaging, pop) = (self.caller.messaging().clone(), self.pop(messages_max));
        Box::pin(async move { messaging.receive(pop).await })
    }

    fn pop(&self, messages_max: u32) -> Pop {
        let Subscription { group, topic, filter, endpoint, .. } = &*self.subscription;
        Pop {
            group: group.clone(),
            client: CLIENT.into(),
            topic: topic.clone(),
            queue: None,
            messages_max,
            invisible: endpoint.timeout + LEASE_MARGIN,
            auto_renew: false,
            filter: filter.clone(),
            wait: RECEIVE_WAIT,
            attempt_id: None,
        }
    }

    fn received(self: &Arc<Self>, delivery: Result<Delivery, PopError>) {
        let delivery = match delivery {
            Ok(delivery) => delivery,
            Err(error) => {
                let webhook = &self.caller.record.id;
                tracing::warn!(webhook, %error, "messages of a webhook cannot be received");
                return self.caller.receive_failed();
            }
        };
        let calls = self.calls(delivery);
        let begun = self.caller.received(calls.iter().map(|call| call.messages.len()).sum());
        debug_assert_eq!(begun as usize, calls.len());
        for Call { messages, held } in calls {
            let deliverer = self.clone();
            self.caller.begin(held, async move { deliverer.call(messages).await });
        }
    }

    /// The calls that carry a delivery's messages, as far as there is room; what is left over is free again at once. A message that cannot be
    /// read is left to its lease.
    fn calls(&self, mut delivery: Delivery) -> Vec<Call> {
        let is_batch = self.subscription.format == Format::JsonBatch;
        let mut calls: Vec<Call> = Vec::new();
        while let Some(popped) = delivery.take() {
            if calls.is_empty() || !is_batch {
                let Some(held) = self.caller.lane.begin() else { break };
                calls.push(Call { messages: Vec::new(), held });
            }
            let call = calls.last_mut().expect("one was begun");
            if !call.held.add(popped.record.len()) {
                break;
            }
            match Received::of(delivery.topic(), &popped) {
                Ok(message) => {
                    call.messages.push(Leased { handle: popped.handle, attempt: popped.attempt, message });
                }
                Err(error) => {
                    tracing::warn!(handle = %popped.handle, %error, "stored message cannot be read, it is not delivered");
                    delivery.skip_last();
                }
            }
            delivery.complete();
        }
        calls.retain(|call| !call.messages.is_empty());
        calls
    }

    async fn call(&self, messages: Vec<Leased>) {
        let Subscription { group, topic, format, endpoint, .. } = &*self.subscription;
        let began = self.caller.now();
        let lease_ends = began.plus(endpoint.timeout + LEASE_MARGIN);
        let (handles, messages): (Vec<_>, Vec<_>) =
            messages.into_iter().map(|leased| ((leased.handle, leased.attempt), leased.message)).unzip();
        let content = format::content(*format, topic.as_str(), messages);
        let webhook_id = content.id.clone();
        let client = &self.caller.shared.client;
        let answer = client.post(endpoint, content, endpoint.timeout, self.caller.env().clock.now()).await;
        let attempt = handles.first().map_or(1, |(_, attempt)| *attempt);
        self.caller.ended(Called { began, webhook_id: &webhook_id, attempt, messages: handles.len() }, &answer);
        let group = match answer.outcome {
            Outcome::Delivered | Outcome::Throttled { is_attempt: false, .. } => None,
            Outcome::Throttled { .. } | Outcome::Failed | Outcome::Gone => {
                self.caller.messaging().broker().group(group).await.ok()
            }
        };
        let settled = self.decisions(handles, answer.outcome, group.as_deref());
        self.settle(settled, lease_ends).await;
        self.caller.disable_if_gone(&answer, &webhook_id).await;
    }
}
