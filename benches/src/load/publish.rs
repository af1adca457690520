//! What `send` does, towards NATS JetStream: every worker has one publish in flight and waits for its ack.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;

use super::gauge::{Gauge, Window, Workers, measure};
use super::send::{LATENCIES_RESERVED, body};
use super::{CONNECTIONS, IN_FLIGHT};
use crate::measurement::Measurement;
use crate::nats::{self, Requester};
use crate::server::Server;

/// Publishes one message a request for the window, to the stream that is there.
pub(crate) async fn publish(server: &Server, window: Window) -> Result<Measurement> {
    let (gauge, body) = (Arc::new(Gauge::default()), body());
    let mut workers = Workers::new();
    for _ in 0..CONNECTIONS {
        for requester in nats::connect(server.address(), IN_FLIGHT).await? {
            workers.spawn(work(requester, body.clone(), Arc::clone(&gauge)));
        }
    }
    measure(server, &gauge, workers, window, u64::MAX).await
}

async fn work(mut requester: Requester, body: Bytes, gauge: Arc<Gauge>) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(LATENCIES_RESERVED);
    while !gauge.is_stopping() {
        let (is_measured, started) = (gauge.is_measuring(), Instant::now());
        requester.publish(&body).await.context("publishing")?;
        if is_measured {
            latencies.push(started.elapsed());
        }
        gauge.add(1);
    }
    Ok(latencies)
}
