//! Receives and acks in a closed loop, from a backlog that is stored before.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use grpc::v2;

use super::caller::Caller;
use super::closed::{Step, work};
use super::gauge::{Gauge, Window, Workers, measure};
use super::send::body;
use super::{CONNECTIONS, GROUP, IN_FLIGHT, fill};
use crate::measurement::Measurement;
use crate::server::Server;

/// Messages a request while the backlog is stored.
pub(super) const FILL_BATCH: usize = 16;
/// The share of the backlog that is drained at most while measuring: with less left the workers would wait for each other.
pub(super) const DRAINED_PERCENT: u64 = 90;

/// What a server has to give, over all runs on it.
pub(crate) struct Backlog {
    /// Messages at the beginning of a run.
    wanted: u64,
    /// Messages that the runs before have left.
    left: u64,
}

impl Backlog {
    /// That of a server without messages, of which a run begins with `wanted`.
    pub(crate) fn of(wanted: u64) -> Self {
        Self { wanted, left: 0 }
    }

    /// Fills it up.
    async fn fill(&mut self, server: &Server, caller: &mut Caller, queue: &v2::MessageQueue) -> Result<()> {
        if self.left == 0 {
            // A new group starts at the end of its queues: it has to exist before the backlog does.
            let early = caller.receive(queue.clone()).await?;
            ensure!(early.is_empty(), "{} messages in a new topic", early.len());
        }
        let missing = self.wanted.saturating_sub(self.left);
        fill(server.address(), FILL_BATCH, &body(), missing).await.context("storing the backlog")?;
        self.left += missing;
        Ok(())
    }
}

/// Receives and acknowledges for the window; of a server that stores, from a backlog that is filled up before.
pub(crate) async fn receive(server: &Server, backlog: Option<&mut Backlog>, window: Window) -> Result<Measurement> {
    let mut caller = Caller::connect(server.address()).await?;
    let queue = caller.query_assignment().await?;
    let Some(backlog) = backlog else {
        return drain(server, &queue, window, u64::MAX).await.map(|(drained, _)| drained);
    };
    let _telemetry = caller.introduce(GROUP).await.context("introducing the consumer")?;
    backlog.fill(server, &mut caller, &queue).await?;
    let messages_max = backlog.left * DRAINED_PERCENT / 100;
    let (measurement, messages) = drain(server, &queue, window, messages_max).await?;
    backlog.left = backlog.left.saturating_sub(messages);
    Ok(measurement)
}

/// Lets the workers work; also returns how many messages they took in all.
async fn drain(
    server: &Server,
    queue: &v2::MessageQueue,
    window: Window,
    messages_max: u64,
) -> Result<(Measurement, u64)> {
    let gauge = Arc::new(Gauge::default());
    let mut workers = Workers::new();
    for _ in 0..CONNECTIONS {
        let caller = Caller::connect(server.address()).await?;
        for _ in 0..IN_FLIGHT {
            let receiver = Receive { caller: caller.clone(), queue: queue.clone() };
            workers.spawn(work(receiver, Arc::clone(&gauge)));
        }
    }
    let measurement = measure(server, &gauge, workers, window, messages_max).await?;
    Ok((measurement, gauge.messages()))
}

struct Receive {
    caller: Caller,
    queue: v2::MessageQueue,
}

impl Step for Receive {
    async fn step(&mut self) -> Result<usize> {
        let messages = self.caller.receive(self.queue.clone()).await.context("receiving")?;
        let count = messages.len();
        if count > 0 {
            self.caller.ack(messages).await.context("acknowledging")?;
        }
        Ok(count)
    }
}
