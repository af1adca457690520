//! Sends in a closed loop: every worker has one request in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;

use super::caller::{Caller, message};
use super::gauge::{Gauge, Window, Workers, measure};
use super::{BODY_BYTES, CONNECTIONS, IN_FLIGHT};
use crate::measurement::Measurement;
use crate::server::Server;

/// Latencies a worker has room for at first: a run's worth of a fast server.
pub(super) const LATENCIES_RESERVED: usize = 16 * 1024;

/// Sends `batch` messages a request for the window.
pub(crate) async fn send(server: &Server, batch: usize, window: Window) -> Result<Measurement> {
    let gauge = Arc::new(Gauge::default());
    let workers = workers(server, batch, &body(), &gauge).await?;
    measure(server, &gauge, workers, window, u64::MAX).await
}

/// Starts [`IN_FLIGHT`] workers on each of [`CONNECTIONS`] connections.
pub(super) async fn workers(server: &Server, batch: usize, body: &Bytes, gauge: &Arc<Gauge>) -> Result<Workers> {
    let mut workers = Workers::new();
    for connection in 0..CONNECTIONS {
        let caller = Caller::connect(server.address()).await?;
        for slot in 0..IN_FLIGHT {
            let ids = MessageIds::of_worker(connection * IN_FLIGHT + slot);
            workers.spawn(work(caller.clone(), batch, body.clone(), ids, Arc::clone(gauge)));
        }
    }
    Ok(workers)
}

async fn work(
    mut caller: Caller,
    batch: usize,
    body: Bytes,
    mut ids: MessageIds,
    gauge: Arc<Gauge>,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(LATENCIES_RESERVED);
    while !gauge.is_stopping() {
        let messages = (0..batch).map(|_| message(ids.next(), body.clone())).collect();
        let (is_measured, started) = (gauge.is_measuring(), Instant::now());
        caller.send(messages).await?;
        if is_measured {
            latencies.push(started.elapsed());
        }
        gauge.add(batch);
    }
    Ok(latencies)
}

/// A body that does not compress to nothing.
pub(crate) fn body() -> Bytes {
    let mut random = fastrand::Rng::with_seed(BODY_BYTES as u64);
    std::iter::repeat_with(|| random.u8(..)).take(BODY_BYTES).collect()
}

/// Message ids in the official clients' form: 34 upper-case hexadecimal digits, `01` first.
pub(super) struct MessageIds {
    worker: usize,
    sequence: u64,
}

impl MessageIds {
    /// The ids of one worker.
    pub(super) fn of_worker(worker: usize) -> Self {
        Self { worker, sequence: 0 }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> String {
        self.sequence += 1;
        format!("01{:016X}{:016X}", self.worker, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_34_digits_and_differ() {
        let (mut one, mut other) = (MessageIds::of_worker(0), MessageIds::of_worker(1));
        let ids = [one.next(), one.next(), other.next()];
        assert!(ids.iter().all(|id| id.len() == 34 && id.starts_with("01")));
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
    }
}
