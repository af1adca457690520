//! Makes the calls of one webhook or check URL at the pace that its endpoint takes: does what [`Machine`] decides.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use env::Env;
use env::clock::Moment;
use parking_lot::Mutex;
use proxy::Messaging;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::client::{Answer, Outcome};
use super::history::History;
use super::machine::{Machine, Next, Pace};
use super::registry::Record;
use super::room::{Held, Lane};
use super::views::DeliveryView;

/// How soon is looked again whether there is room for a call.
const FULL_PAUSE: Duration = Duration::from_millis(300);

/// What is to be called about, on its way.
pub(super) type Receiving<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// See the module's head.
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) record: Arc<Record>,
    history: Arc<History>,
    pub(super) lane: Arc<Lane>,
    is_batch: bool,
    /// Held for a decision, never while anything is awaited.
    pub(super) machine: Mutex<Machine>,
    /// A call has ended: there may be more to do.
    woken: Notify,
}

/// A call that was made.
pub(super) struct Called<'a> {
    pub(super) began: Moment,
    pub(super) webhook_id: &'a str,
    /// Which delivery of its first message it was, from 1.
    pub(super) attempt: u32,
    pub(super) messages: usize,
}

impl Caller {
    pub(super) fn new(
        shared: Arc<Shared>,
        record: Arc<Record>,
        history: Arc<History>,
        lane: Arc<Lane>,
        pace: Pace,
    ) -> Arc<Self> {
        let is_batch = pace.is_batch;
        let machine = Mutex::new(Machine::new(pace, shared.env.clock.moment()));
        Arc::new(Self { shared, record, history, lane, is_batch, machine, woken: Notify::new() })
    }

    /// Begins receives of at most so many, and says what they came to, until `stop`; calls that have begun then go on in tasks of their own.
    pub(super) async fn run<T>(
        &self,
        stop: CancellationToken,
        receive: impl Fn(u32) -> Receiving<T>,
        received: impl Fn(T),
    ) {
        let mut receiving: Option<Receiving<T>> = None;
        loop {
            let now = self.now();
            let next = self.next(now, &receive, &mut receiving);
            let wake = async {
                match next {
                    Some(until) => self.env().clock.sleep(until.since(now)).await,
                    None => std::future::pending().await,
                }
            };
            let came = async {
                match &mut receiving {
                    Some(receiving) => receiving.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // What is being received then is given back.
                () = stop.cancelled() => return,
                came = came => {
                    receiving = None;
                    received(came);
                }
                () = self.woken.notified() => {}
                () = wake => {}
            }
        }
    }

    /// Begins and gives up receives; says until when there is nothing else to do.
    fn next<T>(
        &self,
        now: Moment,
        receive: impl Fn(u32) -> Receiving<T>,
        receiving: &mut Option<Receiving<T>>,
    ) -> Option<Moment> {
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
                let messages_max = if self.is_batch { messages_max } else { messages_max.min(calls_free) };
                *receiving = Some(receive(messages_max));
                None
            }
        }
    }

    /// A receive has ended with so many messages; returns how many calls are to be made of them.
    pub(super) fn received(&self, messages: usize) -> u32 {
        self.machine.lock().received(self.now(), u32::try_from(messages).unwrap_or(u32::MAX))
    }

    /// A receive has failed.
    pub(super) fn receive_failed(&self) {
        self.machine.lock().receive_failed(self.now());
    }

    /// Makes a call in a task of its own.
    pub(super) fn begin(self: &Arc<Self>, held: Held, call: impl Future<Output = ()> + Send + 'static) {
        let caller = self.clone();
        self.shared.tasks.spawn(async move {
            call.await;
            drop(held);
            caller.machine.lock().settled();
            caller.woken.notify_one();
        });
    }

    /// Takes down how a call has ended.
    pub(super) fn ended(&self, Called { began, webhook_id, attempt, messages }: Called<'_>, answer: &Answer) {
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
            attempt,
            messages: u32::try_from(messages).unwrap_or(u32::MAX),
            status: answer.status,
            latency_ms: u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX),
            outcome: answer.outcome.into(),
            error: answer.error.clone(),
        };
        self.history.add(call, is_open);
        // It may be held back now, and what it receives must then be given back.
        self.woken.notify_one();
    }

    /// Disables what is called, if its endpoint wants no more.
    pub(super) async fn disable_if_gone(&self, answer: &Answer, webhook_id: &str) {
        if answer.outcome == Outcome::Gone {
            self.shared.disable(&self.record, format!("the endpoint answered 410 to {webhook_id}")).await;
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.env().clock.moment()
    }

    pub(super) fn env(&self) -> &Env {
        &self.shared.env
    }

    pub(super) fn messaging(&self) -> &Messaging {
        &self.shared.messaging
    }
}
