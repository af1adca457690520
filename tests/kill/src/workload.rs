//! The clients of a run: who they are, and what they share.

mod consumer;
mod producer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::client::{Client, Receive};
use crate::trace::Trace;

use consumer::{Consumer, Style};
use producer::{Producer, Role};

/// Producers of each role; a FIFO producer is a message group.
const PRODUCERS: [(Role, usize); 4] = [(Role::Normal, 2), (Role::Fifo, 4), (Role::Delay, 1), (Role::Transaction, 2)];
/// Consumers of each group on each topic.
const CONSUMERS: usize = 2;
/// How long a receive that only makes the group waits.
const PREPARE_WAIT: Duration = Duration::from_millis(100);

/// What all clients share.
pub(crate) struct World {
    /// Where the server is.
    pub(crate) address: SocketAddr,
    /// Fixes what they do.
    pub(crate) seed: u64,
    /// Where they write what they see.
    pub(crate) trace: Trace,
    is_ending: AtomicBool,
}

impl World {
    /// A world before its first send.
    pub(crate) fn new(address: SocketAddr, seed: u64, trace: Trace) -> Self {
        Self { address, seed, trace, is_ending: AtomicBool::new(false) }
    }

    /// Makes producers stop, and consumers finish everything that comes.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }
}

/// The consumer groups.
pub(crate) fn groups() -> Vec<String> {
    Style::ALL.map(|style| style.group().to_owned()).to_vec()
}

/// Makes topics and groups: a new group starts at the end of a topic, so it has to exist before the first send.
pub(crate) async fn prepare(world: &World) -> Result<()> {
    let client = Client::new(world.address, "kill-prepare");
    for (role, _) in PRODUCERS {
        let topic = role.topic();
        client.query_route(topic).await.with_context(|| format!("making topic {topic}"))?;
        for group in groups() {
            let broker = client.query_broker(topic, &group).await.with_context(|| format!("making group {group}"))?;
            let wanted = Receive {
                group: &group,
                topic,
                broker: &broker,
                messages_max: 1,
                invisible: Some(consumer::INVISIBLE),
                wait: PREPARE_WAIT,
                attempt_id: "prepare".to_owned(),
            };
            client.receive(&wanted, |_| {}).await.with_context(|| format!("receiving {topic} for {group}"))?;
        }
    }
    Ok(())
}

/// Starts all producers, with what keeps their sessions; the former end with [`World::end`].
pub(crate) fn start_producers(world: &Arc<World>, sessions: &mut JoinSet<()>) -> JoinSet<()> {
    let mut producers = JoinSet::new();
    for (role, count) in PRODUCERS {
        for number in 0..count {
            let producer = Producer::new(Arc::clone(world), role, number);
            sessions.spawn(producer.session());
            producers.spawn(producer.run());
        }
    }
    producers
}

/// Starts all consumers, with what keeps their sessions.
pub(crate) fn start_consumers(world: &Arc<World>, sessions: &mut JoinSet<()>) -> JoinSet<()> {
    let mut consumers = JoinSet::new();
    for style in Style::ALL {
        for (role, _) in PRODUCERS {
            for number in 0..CONSUMERS {
                let consumer = Consumer::new(Arc::clone(world), style, role, number);
                sessions.spawn(consumer.session());
                consumers.spawn(consumer.run());
            }
        }
    }
    consumers
}
