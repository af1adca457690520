//! Sends to 100,000 queues, beside the same sends to 8: what a queue costs in memory and time.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use store::Flush;

use super::Run;
use super::callers::closed_loop;
use super::world::{make_topic, message, send, start};
use crate::measurement::Measurement;
use crate::process;
use crate::scenario::{Side, set_memory};

/// Queues of one topic.
const TOPIC_QUEUES: u64 = 1_000;
const TOPICS: u64 = 100;
const QUICK_TOPICS: u64 = 2;
/// Queues of the baseline's one topic.
const BASELINE_QUEUES: u64 = 8;
/// Step from one send's queue to the next one's: queues are not met in the order in which they were made. It shares no
/// factor with the numbers of queues, so that all of them are met.
const STRIDE: u64 = 7_919;

/// Sends one message to each queue of ours, and as many to those of the baseline, then measures.
pub(super) async fn run(run: &Run, side: Side) -> Result<Measurement> {
    let topics = run.amount(TOPICS, QUICK_TOPICS);
    let queues = match side {
        Side::Gantry => (topics, TOPIC_QUEUES),
        Side::Baseline => (1, BASELINE_QUEUES),
    };
    sends_to_queues(&run.directory, run.window(), queues, topics * TOPIC_QUEUES).await
}

/// Sends to so many topics of so many queues each.
pub(super) async fn sends_to_queues(
    directory: &Path,
    window: Duration,
    (topics, topic_queues): (u64, u64),
    calls_before: u64,
) -> Result<Measurement> {
    let broker = start(directory, Flush::Async)?;
    let mut messages = Vec::new();
    for number in 0..topics {
        let topic = make_topic(&broker, &format!("bench-{number}"), topic_queues as u32).await?;
        messages.push(types::Message { topic, ..message()? });
    }
    let sender = broker.clone();
    let mut measurement = closed_loop(calls_before, window, move |number| {
        let queue = number * STRIDE % (topics * topic_queues);
        let (broker, message) = (sender.clone(), messages[(queue / topic_queues) as usize].clone());
        async move { send(&broker, (queue % topic_queues) as u32, vec![message]).await }
    })
    .await?;
    set_memory(&mut measurement, process::memory(std::process::id())?);
    broker.stop().await;
    Ok(measurement)
}
