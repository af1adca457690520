//! Delivers the messages of one webhook: does what [`Machine`] decides. Gateways share a webhook by the leases of its group alone.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use env::Env;
use env::clock::Moment;
use parking_lot::Mutex;
use proxy::Messaging;
use proxy::messaging::message::Received;
use proxy::messaging::receive::Delivery;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use types::ReceiptHandle;
use types::broker::{Pop, PopError};

use super::Shared;
use super::client::{Answer, Outcome};
use super::format;
use super::history::History;
use super::machine::{Machine, Next, Pace};
use super::registry::Record;
use super::room::{Held, Lane};
use super::subscription::Subscription;
use super::views::{DeliveryView, Format};

mod settle;

/// How long a receive waits for messages.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);
/// How much longer than a call a lease lasts: what became of the call must be told within it.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How soon is looked again whether there is room for a call.
const FULL_PAUSE: Duration = Duration::from_millis(300);
/// What brokers know gateways by that deliver. No gRPC client can have this id.
const CLIENT: &str = "«webhook»";

/// One webhook, delivered until it is stopped or changed.
pub(super) struct Deliverer {
    pub(super) shared: Arc<Shared>,
    pub(super) record: Arc<Record>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) history: Arc<History>,
    lane: Arc<Lane>,
    /// Held for a decision, never while anything is awaited.
    machine: Mutex<Machine>,
    /// A call has ended: there may be more to do.
    woken: Notify,
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

type Receiving = Pin<Box<dyn Future<Output = Result<Delivery, PopError>> + Send>>;

impl Deliverer {
    pub(super) fn new(
        shared: Arc<Shared>,
        record: Arc<Record>,
        subscription: Arc<Subscription>,
        history: Arc<History>,
        lane: Arc<Lane>,
    ) -> Arc<Self> {
        let machine = Mutex::new(Machine::new(Pace::of(&subscription), shared.env.clock.moment()));
        Arc::new(Self { shared, record, subscription, history, lane, machine, woken: Notify::new() })
    }

    /// Delivers until `stop`; calls that have begun then go on in tasks of their own.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut receiving: Option<Receiving> = None;
        loop {
            let now = self.now();
            let next = self.next(now, &mut receiving);
            let wake = async {
                match next {
                    Some(until) => self.env().clock.sleep(until.since(now)).await,
                    None => std::future::pending().await,
                }
            };
            let received = async {
                match &mut receiving {
                    Some(receiving) => receiving.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // What is being received then is given back.
                () = stop.cancelled() => return,
                delivery = received => {
                    receiving = None;
                    self.received(delivery);
                }
                () = self.woken.notified() => {}
                () = wake => {}
            }
        }
    }

    /// Begins and gives up receives; says until when there is nothing else to do.
    fn next(&self, now: Moment, receiving: &mut Option<Receiving>) -> Option<Moment> {
        let mut machine = self.machine.lock();
        if receiving.is_some() && machine.is_held_back(now) {
            *receiving = None;
            machine.receive_dropped();
        }
        let calls_free = self.lane.calls_free();
        if calls_free == 0 {
            // Calls use up as much as they may: some of them end.
            return receiving.is_none().then(|| now.plus(FULL_PAUSE));
        }
        match machine.next(now) {
            Next::Wait { until } => until,
            Next::Receive { messages_max } => {
                let messages_max = if self.is_batch() { messages_max } else { messages_max.min(calls_free) };
                let (messaging, pop) = (self.messaging().clone(), self.pop(messages_max));
                *receiving = Some(Box::pin(async move { messaging.receive(pop).await }));
                None
            }
        }
    }

    fn pop(&self, messages_max: u32) -> Pop {
        let Subscription { group, topic, filter, timeout, .. } = &*self.subscription;
        Pop {
            group: group.clone(),
            client: CLIENT.into(),
            topic: topic.clone(),
            queue: None,
            messages_max,
            invisible: *timeout + LEASE_MARGIN,
            auto_renew: false,
            filter: filter.clone(),
            wait: RECEIVE_WAIT,
            attempt_id: None,
        }
    }

    fn received(self: &Arc<Self>, delivery: Result<Delivery, PopError>) {
        let now = self.now();
        let delivery = match delivery {
            Ok(delivery) => delivery,
            Err(error) => {
                tracing::warn!(webhook = self.record.id, %error, "messages of a webhook cannot be received");
                return self.machine.lock().receive_failed(now);
            }
        };
        let calls = self.calls(delivery);
        let messages = calls.iter().map(|call| call.messages.len()).sum::<usize>();
        let begun = self.machine.lock().received(now, u32::try_from(messages).unwrap_or(u32::MAX));
        debug_assert_eq!(begun as usize, calls.len());
        for call in calls {
            self.begin(call);
        }
    }

    fn is_batch(&self) -> bool {
        self.subscription.format == Format::JsonBatch
    }

    /// The calls that carry a delivery's messages, as far as there is room; what is left over is free again at once. A message that cannot be
    /// read is left to its lease.
    fn calls(&self, mut delivery: Delivery) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        while let Some(popped) = delivery.take() {
            if calls.is_empty() || !self.is_batch() {
                let Some(held) = self.lane.begin() else { break };
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

    /// Makes a call in a task of its own.
    fn begin(self: &Arc<Self>, Call { messages, held }: Call) {
        let deliverer = self.clone();
        self.shared.tasks.spawn(async move {
            deliverer.call(messages).await;
            drop(held);
            deliverer.machine.lock().settled();
            deliverer.woken.notify_one();
        });
    }

    async fn call(&self, messages: Vec<Leased>) {
        let began = self.now();
        let lease_ends = began.plus(self.subscription.timeout + LEASE_MARGIN);
        let (handles, messages): (Vec<_>, Vec<_>) =
            messages.into_iter().map(|leased| ((leased.handle, leased.attempt), leased.message)).unzip();
        let content = format::content(self.subscription.format, self.subscription.topic.as_str(), messages);
        let webhook_id = content.id.clone();
        let answer = self
            .shared
            .client
            .post(&self.subscription, content, self.subscription.timeout, self.env().clock.now())
            .await;
        self.ended(began, &webhook_id, &handles, &answer);
        let group = match answer.outcome {
            Outcome::Delivered | Outcome::Throttled { is_attempt: false, .. } => None,
            Outcome::Throttled { .. } | Outcome::Failed | Outcome::Gone => {
                self.messaging().broker().group(&self.subscription.group).await.ok()
            }
        };
        let settled = self.decisions(handles, answer.outcome, group.as_deref());
        self.settle(settled, lease_ends).await;
        if answer.outcome == Outcome::Gone {
            let why = format!("the endpoint answered 410 to {webhook_id}");
            self.shared.disable(&self.record, why).await;
        }
    }

    /// Takes down how a call has ended.
    fn ended(&self, began: Moment, webhook_id: &str, handles: &[(ReceiptHandle, u32)], answer: &Answer) {
        let (now, random) = (self.now(), self.env().random.next());
        self.shared.metrics.called(answer.outcome);
        let is_open = {
            let mut machine = self.machine.lock();
            machine.ended(now, answer.outcome, random);
            machine.is_open()
        };
        if is_open && !self.history.is_open() {
            tracing::warn!(
                webhook = self.record.id,
                error = answer.error,
                "too many calls of a webhook have failed: only probes from now on"
            );
        }
        let call = DeliveryView {
            at_ms: self.env().clock.now().0,
            webhook_id: webhook_id.to_owned(),
            attempt: handles.first().map_or(1, |(_, attempt)| *attempt),
            messages: u32::try_from(handles.len()).unwrap_or(u32::MAX),
            status: answer.status,
            latency_ms: u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX),
            outcome: answer.outcome.into(),
            error: answer.error.clone(),
        };
        self.history.add(call, is_open);
        // It may be held back now, and what it receives must then be given back.
        self.woken.notify_one();
    }

    fn now(&self) -> Moment {
        self.env().clock.moment()
    }

    fn env(&self) -> &Env {
        &self.shared.env
    }

    fn messaging(&self) -> &Messaging {
        &self.shared.messaging
    }
}
