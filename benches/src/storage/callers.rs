//! Callers in a closed loop: each has one call in flight, and all of them share one sequence of numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use super::world::IN_FLIGHT;
use crate::measurement::{Measurement, Metric};
use crate::process;

/// How often is looked whether enough calls went by.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Keeps [`IN_FLIGHT`] calls in flight, each told its number. Measured is the window that begins when `calls_before`
/// calls have ended.
pub(super) async fn closed_loop<Call, Called>(calls_before: u64, window: Duration, call: Call) -> Result<Measurement>
where
    Call: Fn(u64) -> Called + Clone + Send + 'static,
    Called: Future<Output = Result<()>> + Send + 'static,
{
    let shared = Arc::new(Shared::default());
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        callers.spawn(work(call.clone(), Arc::clone(&shared)));
    }
    let measurement = tokio::select! {
        measurement = observe(&shared, calls_before, window) => measurement?,
        ended = callers.join_next() => {
            ended.context("no callers")???;
            bail!("a caller ended early");
        }
    };
    shared.is_stopping.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(measurement)
}

/// Relaxed loads and stores do: nothing else is guarded by them.
#[derive(Default)]
struct Shared {
    begun: AtomicU64,
    ended: AtomicU64,
    is_stopping: AtomicBool,
}

async fn work<Call, Called>(call: Call, shared: Arc<Shared>) -> Result<()>
where
    Call: Fn(u64) -> Called + Send,
    Called: Future<Output = Result<()>> + Send,
{
    while !shared.is_stopping.load(Ordering::Relaxed) {
        call(shared.begun.fetch_add(1, Ordering::Relaxed)).await?;
        shared.ended.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 calls")]
async fn observe(shared: &Shared, calls_before: u64, window: Duration) -> Result<Measurement> {
    let ended = || shared.ended.load(Ordering::Relaxed);
    while ended() < calls_before {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let own = std::process::id();
    let (started, before, cpu_before) = (Instant::now(), ended(), process::cpu_time(own)?);
    tokio::time::sleep(window).await;
    let (elapsed, calls) = (started.elapsed(), (ended() - before) as f64);
    let cpu = process::cpu_time(own)? - cpu_before;
    let mut measurement = Measurement::default();
    measurement.set(Metric::Throughput, calls / elapsed.as_secs_f64());
    measurement.set(Metric::CpuPerMessage, cpu.as_secs_f64() * 1e6 / calls.max(1.0));
    Ok(measurement)
}
