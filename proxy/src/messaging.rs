//! What all front doors share: everything between a protocol's request and `trait Broker` that does not depend on
//! the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use types::{Broker, TopicName};

pub mod backoff;
pub mod body;
pub mod message;
pub mod message_id;
mod queue_choice;
pub mod recall;
pub mod receive;
pub mod send;
pub mod transaction;

/// Counters for the round robin: topics share one when their names' hashes meet, which makes their rounds uneven and
/// costs nothing else.
const ROUNDS: usize = 64;

/// The messaging service over one broker: cheap to clone.
#[derive(Clone)]
pub struct Messaging {
    shared: Arc<Shared>,
}

struct Shared {
    broker: Arc<dyn Broker>,
    /// Where a topic's round robin stands.
    rounds: [AtomicU32; ROUNDS],
    /// Ends long polls.
    draining: CancellationToken,
    /// Owns what outlives a call: reports of what became of deliveries.
    tasks: TaskTracker,
}

impl Messaging {
    /// A service over `broker`. Long polls end when `draining` is cancelled; `tasks` is awaited by the caller after that.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, draining: CancellationToken, tasks: TaskTracker) -> Self {
        let rounds = std::array::from_fn(|_| AtomicU32::new(0));
        Self { shared: Arc::new(Shared { broker, rounds, draining, tasks }) }
    }

    /// The broker behind it, for calls that need nothing from here.
    #[must_use]
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.shared.broker
    }

    /// Whether the server has begun to stop, so that long polls end at once.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// Returns when the server begins to stop.
    pub async fn draining(&self) {
        self.shared.draining.cancelled().await;
    }

    /// The next turn of a topic's round robin.
    fn next_round(&self, topic: &TopicName) -> u32 {
        let hash = topic.as_str().bytes().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let round = self.shared.rounds.get(hash % ROUNDS).expect("a remainder is smaller");
        round.fetch_add(1, Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Messaging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messaging").field("broker", &self.shared.broker.name()).finish_non_exhaustive()
    }
}
