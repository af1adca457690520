//! Sends in a closed loop: every worker has one request in flight.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;

use super::caller::{Caller, message};
use super::closed::{Step, work};
use super::gauge::{Gauge, Window, Workers, measure};
use super::{BODY_BYTES, CONNECTIONS, IN_FLIGHT};
use crate::measurement::Measurement;
use crate::server::Server;

/// Sends `batch` messages a request for the window.
pub(crate) async fn send(server: &Server, batch: usize, window: Window) -> Result<Measurement> {
    let gauge = Arc::new(Gauge::default());
    let workers = workers(server.address(), batch, &body(), &gauge).await?;
    measure(server, &gauge, workers, window, u64::MAX).await
}

/// Starts [`IN_FLIGHT`] workers on each of [`CONNECTIONS`] connections.
pub(super) async fn workers(address: SocketAddr, batch: usize, body: &Bytes, gauge: &Arc<Gauge>) -> Result<Workers> {
    let mut workers = Workers::new();
    for connection in 0..CONNECTIONS {
        let caller = Caller::connect(address).await?;
        for slot in 0..IN_FLIGHT {
            let ids = MessageIds::of_worker(connection * IN_FLIGHT + slot);
            let sender = SendBatch { caller: caller.clone(), batch, body: body.clone(), ids };
            workers.spawn(work(sender, Arc::clone(gauge)));
        }
    }
    Ok(workers)
}

struct SendBatch {
    caller: Caller,
    batch: usize,
    body: Bytes,
    ids: MessageIds,
}

impl Step for SendBatch {
    async fn step(&mut self) -> Result<usize> {
        let messages = (0..self.batch).map(|_| message(self.ids.next(), self.body.clone())).collect();
        self.caller.send(messages).await?;
        Ok(self.batch)
    }
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
