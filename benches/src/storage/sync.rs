//! Sync flush with many sends in flight, beside the same group commit by `pwritev` and `fdatasync` alone.

use std::io::IoSlice;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use store::Flush;
use tokio::sync::{mpsc, oneshot};

use super::Run;
use super::callers::closed_loop;
use super::raw::Files;
use super::world::{IN_FLIGHT, QUEUES, TOPIC, make_topic, message, record_bytes, send, start};
use crate::measurement::Measurement;

/// Calls before anything is measured.
const CALLS_BEFORE: u64 = 5_000;
const QUICK_CALLS_BEFORE: u64 = 128;
/// Room for the baseline's records: more than a disk syncs in a run.
const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
const QUICK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Sends through the broker, each answered once it is on the disk.
pub(super) async fn ours(run: &Run) -> Result<Measurement> {
    let broker = start(&run.directory, Flush::Sync)?;
    make_topic(&broker, TOPIC, QUEUES).await?;
    let message = message()?;
    let sender = broker.clone();
    let calls_before = run.amount(CALLS_BEFORE, QUICK_CALLS_BEFORE);
    let measurement = closed_loop(calls_before, run.window(), move |number| {
        let (broker, message, queue) = (sender.clone(), message.clone(), (number % u64::from(QUEUES)) as u32);
        async move { send(&broker, queue, vec![message]).await }
    })
    .await?;
    broker.stop().await;
    Ok(measurement)
}

/// A record that waits for the disk.
struct Waiting {
    record: Bytes,
    done: oneshot::Sender<()>,
}

/// The same callers, and a thread that writes and syncs whatever waits.
pub(super) async fn baseline(run: &Run) -> Result<Measurement> {
    let record = record_bytes()?;
    let files = Files::preallocate(&run.directory, run.amount(BYTES_MAX, QUICK_BYTES_MAX))?;
    let (requests, waiting) = mpsc::channel(IN_FLIGHT);
    let committer = std::thread::spawn(move || commit(files, waiting));
    let calls_before = run.amount(CALLS_BEFORE, QUICK_CALLS_BEFORE);
    let measurement = closed_loop(calls_before, run.window(), move |_| {
        let (requests, record) = (requests.clone(), record.clone());
        async move {
            let (done, answer) = oneshot::channel();
            requests.send(Waiting { record, done }).await.map_err(|_| anyhow!("the committer ended"))?;
            answer.await.context("the committer failed")
        }
    })
    .await;
    committer.join().map_err(|_| anyhow!("the committer panicked"))??;
    measurement
}

/// Group commit: one write and one sync for all that wait.
fn commit(mut files: Files, mut waiting: mpsc::Receiver<Waiting>) -> Result<()> {
    let mut group = Vec::with_capacity(IN_FLIGHT);
    while let Some(first) = waiting.blocking_recv() {
        group.push(first);
        while group.len() < IN_FLIGHT
            && let Ok(next) = waiting.try_recv()
        {
            group.push(next);
        }
        let slices: Vec<IoSlice<'_>> = group.iter().map(|waiting| IoSlice::new(&waiting.record)).collect();
        files.write(&slices)?;
        files.sync()?;
        for Waiting { done, .. } in group.drain(..) {
            // A caller that went away does not need the answer.
            let _ = done.send(());
        }
    }
    Ok(())
}
