//! Receives and acks in a closed loop, from a backlog that is stored before.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use grpc::v2;

use super::caller::Caller;
use super::gauge::{Gauge, Window, Workers, measure};
use super::send::body;
use super::{CONNECTIONS, IN_FLIGHT, fill};
use crate::measurement::Measurement;
use crate::server::Server;

/// Messages a request while the backlog is stored.
const FILL_BATCH: usize = 16;
/// The share of the backlog that is drained at most while measuring: with less left the workers would wait for each other.
const DRAINED_PERCENT: u64 = 90;

/// Receives and acknowledges for the window; of a server that stores, `backlog` messages are sent before.
pub(crate) async fn receive(server: &Server, backlog: Option<u64>, window: Window) -> Result<Measurement> {
    let mut caller = Caller::connect(server.address()).await?;
    let queue = caller.query_assignment().await?;
    let mut messages_max = u64::MAX;
    if let Some(backlog) = backlog {
        // A new group starts at the end of its queues: it has to exist before the backlog does.
        let early = caller.receive(queue.clone()).await?;
        ensure!(early.is_empty(), "{} messages in a new topic", early.len());
        fill(server, FILL_BATCH, &body(), backlog).await.context("storing the backlog")?;
        messages_max = backlog * DRAINED_PERCENT / 100;
    }
    let gauge = Arc::new(Gauge::default());
    let mut workers = Workers::new();
    for _ in 0..CONNECTIONS {
        let caller = Caller::connect(server.address()).await?;
        for _ in 0..IN_FLIGHT {
            workers.spawn(work(caller.clone(), queue.clone(), Arc::clone(&gauge)));
        }
    }
    measure(server, &gauge, workers, window, messages_max).await
}

async fn work(mut caller: Caller, queue: v2::MessageQueue, gauge: Arc<Gauge>) -> Result<Vec<Duration>> {
    while !gauge.is_stopping() {
        let messages = caller.receive(queue.clone()).await.context("receiving")?;
        let count = messages.len();
        if count > 0 {
            caller.ack(messages).await.context("acknowledging")?;
            gauge.add(count);
        }
    }
    Ok(Vec::new())
}
