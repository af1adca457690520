//! Stores messages as fast as possible, measuring nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::gauge::{Gauge, Workers};
use super::{remoting, send};
use crate::server::Server;

/// How often is looked whether enough is stored.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Stores at least `messages` messages with this body, `batch` a request, where gRPC is spoken.
pub(crate) async fn fill(address: SocketAddr, batch: usize, body: &Bytes, messages: u64) -> Result<()> {
    let gauge = Arc::new(Gauge::default());
    let workers = send::workers(address, batch, body, &gauge).await?;
    finish(messages, &gauge, workers).await
}

/// The same one a request, where Remoting is spoken.
pub(crate) async fn fill_by_remoting(address: SocketAddr, body: &Bytes, messages: u64) -> Result<()> {
    let gauge = Arc::new(Gauge::default());
    let workers = remoting::workers(address, body, &gauge);
    finish(messages, &gauge, workers).await
}

async fn finish(messages: u64, gauge: &Gauge, mut workers: Workers) -> Result<()> {
    wait_for(messages, gauge, &mut workers).await?;
    gauge.stop();
    while let Some(ended) = workers.join_next().await {
        ended?.context("storing messages")?;
    }
    Ok(())
}

/// Kills the server once so many messages are stored, in the middle of the next ones.
pub(crate) async fn fill_and_kill(server: Server, body: &Bytes, messages: u64) -> Result<()> {
    let gauge = Arc::new(Gauge::default());
    let mut workers = send::workers(server.address(), 1, body, &gauge).await?;
    wait_for(messages, &gauge, &mut workers).await?;
    drop(server);
    // Their requests fail, as they must.
    workers.shutdown().await;
    Ok(())
}

async fn wait_for(messages: u64, gauge: &Gauge, workers: &mut Workers) -> Result<()> {
    while gauge.messages() < messages {
        if let Some(ended) = workers.try_join_next() {
            ended?.context("storing messages")?;
            ensure!(gauge.messages() >= messages, "only {} of {messages} messages are stored", gauge.messages());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
