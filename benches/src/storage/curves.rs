//! What a message costs a broker, against how much of something there is already.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use serde::Serialize;
use store::Flush;
use types::broker::LeaseOwner;
use types::properties::names;
use types::{Broker as _, Message};

use super::callers::closed_loop;
use super::queues::sends_to_queues;
use super::world::{QUEUES, TOPIC, group, make_topic, message, pop, send, start, store, topic};
use crate::measurement::{Measurement, Metric};
use crate::process;
use crate::scenario::set_memory;

/// Calls before the measured part.
const CALLS_BEFORE: u64 = 10_000;
/// Messages of a receive, and of the send that makes up for it.
const TOGETHER: u32 = 32;
/// When the timers are due: after any run.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);
const KIB: u64 = 1024;

/// What there is more and more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Curve {
    /// Queues that are sent to.
    Queues,
    /// Messages that wait for a group.
    Backlog,
    /// MiB of the log.
    LogSize,
    /// Bytes of a body.
    MessageSize,
    /// Delayed messages that are not due.
    Timers,
}

impl Curve {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Queues, Self::Backlog, Self::LogSize, Self::MessageSize, Self::Timers];

    /// What is counted.
    pub(crate) fn axis(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::Backlog => "waiting messages",
            Self::LogSize => "log, MiB",
            Self::MessageSize => "body, bytes",
            Self::Timers => "pending timers",
        }
    }

    /// What is done meanwhile.
    pub(crate) fn work(self) -> &'static str {
        match self {
            Self::Backlog => "receive and ack of 32, and a send of 32 in their place",
            Self::LogSize => "sends of 1 KiB, then a restart after a stop",
            Self::MessageSize => "sends",
            Self::Queues | Self::Timers => "sends of 1 KiB",
        }
    }

    /// Where it is measured.
    pub(crate) fn points(self) -> &'static [u64] {
        match self {
            Self::Queues => &[8, 1_000, 10_000, 100_000],
            Self::Backlog => &[10_000, 100_000, 1_000_000],
            Self::LogSize => &[64, 512, 4_096],
            Self::MessageSize => &[64, KIB, 16 * KIB, 256 * KIB],
            Self::Timers => &[0, 10_000, 100_000, 1_000_000],
        }
    }
}

/// The arguments of `benches point`.
#[derive(Args)]
pub(crate) struct Point {
    /// Which curve.
    #[arg(long)]
    curve: Curve,
    /// Where on it.
    #[arg(long)]
    at: u64,
    /// Where its files go.
    #[arg(long)]
    directory: PathBuf,
    /// Length of the measured part.
    #[arg(long)]
    window_ms: u64,
}

/// Does one run in this process.
pub(crate) async fn measure(point: &Point) -> Result<Measurement> {
    match point.curve {
        Curve::Queues => queues(point).await,
        Curve::Backlog => backlog(point).await,
        Curve::LogSize => log_size(point).await,
        Curve::MessageSize => message_size(point).await,
        Curve::Timers => timers(point).await,
    }
}

impl Point {
    fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }
}

/// Queues of one topic, or of as many as it takes.
async fn queues(point: &Point) -> Result<Measurement> {
    const TOPIC_QUEUES: u64 = 1_000;
    let (topics, topic_queues) = match point.at {
        at if at < TOPIC_QUEUES => (1, at),
        at => (at / TOPIC_QUEUES, TOPIC_QUEUES),
    };
    sends_to_queues(&point.directory, point.window(), (topics, topic_queues), CALLS_BEFORE.max(point.at)).await
}

/// The backlog keeps its length, as for each message that is taken one is sent.
async fn backlog(point: &Point) -> Result<Measurement> {
    let broker = start(&point.directory, Flush::Async)?;
    make_topic(&broker, TOPIC, QUEUES).await?;
    // A new group starts at the end of its queues: it has to exist before the first message.
    ensure!(pop(&broker, TOGETHER).await?.is_empty(), "a new topic has messages");
    let (message, stored) = (message()?, message()?);
    store(&broker, point.at, move |_| Ok(stored.clone())).await?;
    let worker = broker.clone();
    let measurement = closed_loop(0, point.window(), move |number| {
        let (broker, message) = (worker.clone(), message.clone());
        async move {
            let handles = pop(&broker, TOGETHER).await?;
            let taken = handles.len();
            let lease = LeaseOwner { group: group()?, topic: topic(TOPIC)? };
            for acked in broker.ack(lease, handles).await {
                acked?;
            }
            // A receive from the shortest backlog may find less, as others hold the rest.
            send(&broker, queue_of(number), vec![message; taken]).await
        }
    });
    let mut measurement = a_message(measurement.await?, f64::from(TOGETHER));
    set_memory(&mut measurement, process::memory(std::process::id())?);
    broker.stop().await;
    Ok(measurement)
}

/// Figures of calls as those of the messages in them.
fn a_message(mut calls: Measurement, messages: f64) -> Measurement {
    for (metric, value) in &mut calls.0 {
        match metric {
            Metric::Throughput => *value *= messages,
            Metric::CpuPerMessage => *value /= messages,
            _ => {}
        }
    }
    calls
}

async fn log_size(point: &Point) -> Result<Measurement> {
    let broker = start(&point.directory, Flush::Async)?;
    make_topic(&broker, TOPIC, QUEUES).await?;
    let large = with_body(256 * KIB)?;
    store(&broker, point.at * KIB / 256, move |_| Ok(large.clone())).await?;
    let mut measurement = sends(&broker, message()?, point.window()).await?;
    broker.stop().await;
    let started = Instant::now();
    let broker = start(&point.directory, Flush::Async)?;
    measurement.set(Metric::StartUp, started.elapsed().as_secs_f64() * 1e3);
    broker.stop().await;
    Ok(measurement)
}

async fn message_size(point: &Point) -> Result<Measurement> {
    let broker = start(&point.directory, Flush::Async)?;
    make_topic(&broker, TOPIC, QUEUES).await?;
    let measurement = sends(&broker, with_body(point.at)?, point.window()).await?;
    broker.stop().await;
    Ok(measurement)
}

async fn timers(point: &Point) -> Result<Measurement> {
    let broker = start(&point.directory, Flush::Async)?;
    make_topic(&broker, TOPIC, QUEUES).await?;
    let mut delayed = message()?;
    let due = env::Env::real().clock.now().plus(FAR);
    delayed.properties.set_own(names::TIMER_DELIVER_MS, &due.to_string());
    store(&broker, point.at, move |_| Ok(delayed.clone())).await?;
    let pending = broker.status().timers_pending;
    ensure!(pending == point.at, "{pending} timers are pending, {} were stored", point.at);
    let measurement = sends(&broker, message()?, point.window()).await?;
    broker.stop().await;
    Ok(measurement)
}

/// Sends of this message, one at a time by each caller.
async fn sends(broker: &broker::LocalBroker, message: Message, window: Duration) -> Result<Measurement> {
    let sender = broker.clone();
    let mut measurement = closed_loop(0, window, move |number| {
        let (broker, message) = (sender.clone(), message.clone());
        async move { send(&broker, queue_of(number), vec![message]).await }
    })
    .await?;
    set_memory(&mut measurement, process::memory(std::process::id())?);
    Ok(measurement)
}

fn queue_of(number: u64) -> u32 {
    (number % u64::from(QUEUES)) as u32
}

fn with_body(bytes: u64) -> Result<Message> {
    let body: Bytes = message()?.body.iter().copied().cycle().take(usize::try_from(bytes)?).collect();
    Ok(Message { body, ..message()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_calls_become_those_of_messages() {
        let calls = Measurement(
            [(Metric::Throughput, 10.0), (Metric::CpuPerMessage, 64.0), (Metric::AnonymousMemory, 5.0)].into(),
        );
        let messages = a_message(calls, 32.0);
        assert_eq!(messages.0.values().copied().collect::<Vec<_>>(), [320.0, 2.0, 5.0]);
    }
}
