//! What all simulated clients have.

use std::sync::Arc;
use std::time::Duration;

use broker::LocalBroker;
use bytes::Bytes;
use env::Env;
use env::clock::Moment;
use env::sim::World;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use types::properties::names;
use types::{Message, Timestamp};

use super::history::{History, Topic, message_id};
use super::plan::Plan;
use super::{consumer, producer};
use crate::report::Violation;

/// Bytes of the number that a body begins with.
const ID_BYTES: usize = 8;
/// Longest filling behind it.
const FILLING_BYTES_MAX: usize = 300;

/// What the clients of one process have.
pub(crate) struct Clients<'a> {
    pub(crate) broker: &'a LocalBroker,
    pub(crate) world: &'a World,
    pub(crate) history: &'a Arc<Mutex<History>>,
    pub(crate) plan: &'a Plan,
}

impl Clients<'_> {
    /// One client.
    pub(crate) fn client(&self, rng: &mut fastrand::Rng) -> Client {
        Client {
            broker: self.broker.clone(),
            env: self.world.env(),
            begin: self.world.clock().true_now(),
            since: tokio::time::Instant::now(),
            history: self.history.clone(),
            rng: rng.fork(),
        }
    }

    /// Starts all of them; the last ones only finish what is there.
    pub(crate) fn start(&self, rng: &mut fastrand::Rng, clients: &mut JoinSet<()>, is_last: bool) {
        let groups = if self.plan.has_groups { producer::GROUPS } else { 0 };
        let (topics, key_window) = (self.plan.topics(), self.plan.key_window);
        let mut client = || self.client(rng);
        for topic in topics {
            for _ in 0..if *topic == Topic::Seldom { 1 } else { 2 } {
                clients.spawn(consumer::consume(client(), *topic, is_last));
            }
        }
        clients.spawn(consumer::answer_checks(client()));
        if !is_last {
            for topic in [Topic::Normal, Topic::Delay, Topic::Seldom].into_iter().filter(|topic| topics.contains(topic))
            {
                clients.spawn(producer::send_plain(client(), topic));
            }
            clients.spawn(producer::recall(client()));
            if let Some(window) = key_window {
                clients.spawn(producer::send_keyed(client(), window));
            }
            (0..groups).for_each(|group| drop(clients.spawn(producer::send_group(client(), group))));
            (0..2).for_each(|_| drop(clients.spawn(producer::send_transactions(client()))));
        }
    }

    /// Starts producers whose messages all have one length and go to one queue, and no consumers.
    pub(crate) fn start_uniform(&self, rng: &mut fastrand::Rng, clients: &mut JoinSet<()>) {
        (0..2).for_each(|_| drop(clients.spawn(producer::send_uniform(self.client(rng)))));
    }
}

/// A client of the current process.
pub(crate) struct Client {
    pub(super) broker: LocalBroker,
    pub(super) env: Env,
    /// The true time at `since`.
    pub(super) begin: Timestamp,
    pub(super) since: tokio::time::Instant,
    pub(super) history: Arc<Mutex<History>>,
    pub(super) rng: fastrand::Rng,
}

impl Client {
    /// The true time, which no clock step changes.
    pub(super) fn true_now(&self) -> Timestamp {
        self.begin.plus(self.since.elapsed())
    }

    /// How much time has passed.
    pub(crate) fn moment(&self) -> Moment {
        self.env.clock.moment()
    }

    pub(crate) async fn pause(&mut self, longest_ms: u64) {
        let pause = Duration::from_millis(self.rng.u64(..longest_ms));
        self.env.clock.sleep(pause).await;
    }

    /// Keeps a violation, if that is what it is.
    pub(crate) fn judge(&self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.history.lock().violated(violation);
        }
    }

    /// A new message, not yet sent.
    pub(super) fn message(&mut self, topic: Topic, id: u64) -> Message {
        let filling_bytes = self.rng.usize(..FILLING_BYTES_MAX);
        self.message_of(topic, id, filling_bytes)
    }

    /// A message with an idempotency key: the same each time that it is sent.
    pub(super) fn keyed_message(&self, topic: Topic, id: u64) -> Message {
        let filling_bytes = usize::try_from(id).unwrap_or(0) % FILLING_BYTES_MAX;
        let mut message = self.message_of(topic, id, filling_bytes);
        message.properties.set_own(names::IDEMPOTENCY_KEY, &format!("key-{id}"));
        message
    }

    pub(super) fn message_of(&self, topic: Topic, id: u64, filling_bytes: usize) -> Message {
        let mut body = id.to_be_bytes().to_vec();
        body.resize(ID_BYTES + filling_bytes, b'.');
        let mut message = Message::new(topic.name(), Bytes::from(body));
        message.properties.set_own(names::UNIQUE_KEY, &message_id(id));
        message.born_at = self.env.clock.now();
        message
    }
}

/// The number of the message that a record holds.
pub(super) fn id_of(body: &[u8]) -> Option<u64> {
    body.first_chunk::<ID_BYTES>().map(|id| u64::from_be_bytes(*id))
}
