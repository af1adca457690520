//! What all simulated clients have.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use parking_lot::Mutex;
use types::properties::names;
use types::{Broker, Message, Timestamp};

use super::history::{History, Topic, message_id};
use crate::report::Violation;

/// Bytes of the number that a body begins with.
const ID_BYTES: usize = 8;
/// Longest filling behind it.
const FILLING_BYTES_MAX: usize = 300;

/// A client of the current process.
pub(super) struct Client {
    pub(super) broker: Arc<dyn Broker>,
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

    pub(super) async fn pause(&mut self, longest_ms: u64) {
        let pause = Duration::from_millis(self.rng.u64(..longest_ms));
        self.env.clock.sleep(pause).await;
    }

    /// Keeps a violation, if that is what it is.
    pub(super) fn judge(&self, result: Result<(), Violation>) {
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

    fn message_of(&self, topic: Topic, id: u64, filling_bytes: usize) -> Message {
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
