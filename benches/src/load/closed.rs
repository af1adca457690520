//! A closed loop: every worker has one request in flight, and begins the next when that is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::gauge::Gauge;

/// Latencies a worker has room for at first: a run's worth of a fast server.
const LATENCIES_RESERVED: usize = 16 * 1024;

/// What a worker does again and again.
pub(super) trait Step: Send + 'static {
    /// One request and its reply, or several that belong together; returns the messages that were sent or received.
    fn step(&mut self) -> impl Future<Output = Result<usize>> + Send;
}

/// Steps until the run ends; returns the latencies of the measured ones.
pub(super) async fn work(mut step: impl Step, gauge: Arc<Gauge>) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(LATENCIES_RESERVED);
    while !gauge.is_stopping() {
        let (is_measured, started) = (gauge.is_measuring(), Instant::now());
        let messages = step.step().await?;
        if is_measured {
            latencies.push(started.elapsed());
        }
        gauge.add(messages);
    }
    Ok(latencies)
}
