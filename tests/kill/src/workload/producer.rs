//! A producer: sends bursts, one request after the other, and never sends a message twice, so that every copy is the server's.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use grpc::v2;
use tokio::sync::mpsc;

use super::World;
use crate::client::{self, Client, Question, RECONNECT_PAUSE, Settings, resource};
use crate::event::{Kind, What};
use crate::trace::now_ms;
use crate::{body, plan};

/// Most requests of a burst.
const BURST_MAX: usize = 40;
/// Longest pause between bursts.
const PAUSE_MS_MAX: u64 = 400;
/// Most messages of a request, where a request may have several.
const BATCH_MAX: usize = 4;
/// Share of requests that have several.
const BATCH_PERCENT: u32 = 15;
/// Delivery times, from now; the past is allowed.
const DELAY_MS: std::ops::RangeInclusive<i64> = -500..=6_000;
/// Share of outcomes without reply that are sent again; of the others the server has to ask.
const END_AGAIN_PERCENT: u32 = 50;

/// What a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Normal messages.
    Normal,
    /// Messages of a message group of its own.
    Fifo,
    /// Delayed messages.
    Delay,
    /// Transactions.
    Transaction,
}

impl Role {
    /// Where it sends them.
    pub(super) fn topic(self) -> &'static str {
        match self {
            Self::Normal => "kill-normal",
            Self::Fifo => "kill-fifo",
            Self::Delay => "kill-delay",
            Self::Transaction => "kill-transaction",
        }
    }

    fn may_batch(self) -> bool {
        matches!(self, Self::Normal | Self::Fifo)
    }
}

/// See the module.
pub(super) struct Producer {
    world: Arc<World>,
    role: Role,
    name: String,
    client: Client,
    random: Rng,
    sequence: u64,
}

impl Producer {
    /// Producer `number` of a role.
    pub(super) fn new(world: Arc<World>, role: Role, number: usize) -> Self {
        let name = format!("{}-{number}", role.topic());
        let client = Client::new(world.address, &name);
        let random = plan::random(world.seed, &name);
        Self { world, role, name, client, random, sequence: 0 }
    }

    /// Its session: settings, heartbeats and answers to questions, until dropped.
    pub(super) fn session(&self) -> impl Future<Output = ()> + use<> {
        let (world, client, topic) = (Arc::clone(&self.world), self.client.clone(), self.role.topic());
        async move {
            let (questions, asked) = mpsc::channel(client::QUESTIONS_MAX);
            let answers = answer(world, client.clone(), topic, asked);
            tokio::join!(client::keep(client, Settings::Producer { topic }, questions), answers);
        }
    }

    /// Sends until the world ends.
    pub(super) async fn run(mut self) {
        while !self.world.is_ending() {
            for _ in 0..self.random.usize(1..=BURST_MAX) {
                if !self.send().await {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(self.random.u64(..=PAUSE_MS_MAX))).await;
        }
    }

    /// One request; says whether the server replied.
    async fn send(&mut self) -> bool {
        let is_batch = self.role.may_batch() && self.random.u32(..100) < BATCH_PERCENT;
        let count = if is_batch { self.random.usize(2..=BATCH_MAX) } else { 1 };
        let planned: Vec<(String, Kind)> = (0..count).map(|_| self.next()).collect();
        let messages = planned.iter().map(|(key, kind)| self.message(key, kind)).collect();
        for (key, kind) in &planned {
            self.world.trace.record(What::Sending { key: key.clone(), kind: kind.clone() });
        }
        let results = self.client.send(messages).await;
        let mut is_answered = true;
        for ((key, kind), result) in planned.into_iter().zip(results) {
            match result {
                Ok(entry) => {
                    self.world.trace.record(What::Sent { key: key.clone() });
                    self.decide(&key, &kind, &entry).await;
                }
                Err(error) => {
                    is_answered &= error.is_refusal();
                    self.world.trace.record(What::NotSent { key, error: error.to_string() });
                }
            }
        }
        is_answered
    }

    fn next(&mut self) -> (String, Kind) {
        self.sequence += 1;
        let key = format!("{}-{}", self.name, self.sequence);
        let kind = match self.role {
            Role::Normal => Kind::Normal,
            Role::Fifo => Kind::Fifo { message_group: self.name.clone() },
            Role::Delay => Kind::Delay { deliver_at_ms: now_ms() + self.random.i64(DELAY_MS) },
            Role::Transaction => Kind::Transaction { decision: plan::decision(self.world.seed, &key) },
        };
        (key, kind)
    }

    fn message(&self, key: &str, kind: &Kind) -> v2::Message {
        let mut properties = v2::SystemProperties {
            message_id: message_id(key),
            body_encoding: v2::Encoding::Identity.into(),
            born_timestamp: Some(std::time::SystemTime::now().into()),
            born_host: "kill".to_owned(),
            ..Default::default()
        };
        let message_type = match kind {
            Kind::Normal => v2::MessageType::Normal,
            Kind::Fifo { message_group } => {
                properties.message_group = Some(message_group.clone());
                v2::MessageType::Fifo
            }
            Kind::Delay { deliver_at_ms } => {
                properties.delivery_timestamp = Some(timestamp(*deliver_at_ms));
                v2::MessageType::Delay
            }
            Kind::Transaction { .. } => v2::MessageType::Transaction,
        };
        properties.message_type = message_type.into();
        v2::Message {
            topic: resource(self.role.topic()),
            system_properties: Some(properties),
            body: body::of(key).into(),
            ..Default::default()
        }
    }

    /// Ends a transaction that is not to be asked for first.
    async fn decide(&mut self, key: &str, kind: &Kind, entry: &v2::SendResultEntry) {
        let Kind::Transaction { decision } = kind else { return };
        let Some(is_commit) = decision.is_commit().filter(|_| !decision.waits()) else { return };
        let end = End {
            topic: self.role.topic(),
            key,
            message_id: &message_id(key),
            transaction_id: &entry.transaction_id,
            is_commit,
            is_answer: false,
        };
        while !end.send(&self.world, &self.client).await && self.random.u32(..100) < END_AGAIN_PERCENT {
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }
}

/// An outcome to send.
struct End<'a> {
    topic: &'static str,
    key: &'a str,
    message_id: &'a str,
    transaction_id: &'a str,
    is_commit: bool,
    is_answer: bool,
}

impl End<'_> {
    /// Sends it once; says whether the server replied.
    async fn send(&self, world: &World, client: &Client) -> bool {
        let (key, is_commit) = (self.key.to_owned(), self.is_commit);
        world.trace.record(What::Ending { key: key.clone(), is_commit, is_answer: self.is_answer });
        let ended = client.end_transaction(self.topic, self.message_id, self.transaction_id, is_commit, self.is_answer);
        match ended.await {
            Ok(()) => {
                world.trace.record(What::Ended { key, is_commit });
                true
            }
            Err(error) => {
                let is_refused = error.is_refusal();
                world.trace.record(What::NotEnded { key, is_refused, error: error.to_string() });
                is_refused
            }
        }
    }
}

/// Answers questions as decided. All producers of a topic answer for each other, as the API wants it.
async fn answer(world: Arc<World>, client: Client, topic: &'static str, mut asked: mpsc::Receiver<Question>) {
    while let Some(question) = asked.recv().await {
        let (key, is_intact) = body::read(&question.body);
        world.trace.record(What::Asked { key: key.clone(), is_intact });
        let is_known = world.trace.with_checker(|checker| checker.knows(&key));
        let Some(is_commit) = plan::decision(world.seed, &key).is_commit().filter(|_| is_intact && is_known) else {
            continue;
        };
        let (message_id, transaction_id) = (&question.message_id, &question.transaction_id);
        let end = End { topic, key: &key, message_id, transaction_id, is_commit, is_answer: true };
        // Without reply the server asks again.
        end.send(&world, &client).await;
    }
}

/// An id in the official clients' form (34 upper-case hexadecimal digits, `01` first), the same for the same key.
fn message_id(key: &str) -> String {
    let mut random = plan::random(1, key);
    format!("01{:032X}", random.u128(..))
}

fn timestamp(ms: i64) -> prost_types::Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1000) * 1_000_000).expect("less than a second");
    prost_types::Timestamp { seconds: ms.div_euclid(1000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_an_official_clients() {
        let id = message_id("kill-normal-0-1");
        assert!(id.len() == 34 && id.starts_with("01") && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_ne!(id, message_id("kill-normal-0-2"));
    }

    #[test]
    fn timestamps_keep_milliseconds() {
        assert_eq!(timestamp(1_500), prost_types::Timestamp { seconds: 1, nanos: 500_000_000 });
    }
}
