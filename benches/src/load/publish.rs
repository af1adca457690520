//! What `send` does, towards NATS JetStream: every worker has one publish in flight and waits for its ack.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;

use super::closed::{Step, work};
use super::gauge::{Gauge, Window, Workers, measure};
use super::{CONNECTIONS, IN_FLIGHT, body};
use crate::measurement::Measurement;
use crate::nats::{self, Requester};
use crate::server::Server;

/// Publishes one message a request for the window, to the stream that is there.
pub(crate) async fn publish(server: &Server, window: Window) -> Result<Measurement> {
    let (gauge, body) = (Arc::new(Gauge::default()), body());
    let mut workers = Workers::new();
    for _ in 0..CONNECTIONS {
        for requester in nats::connect(server.address(), IN_FLIGHT).await? {
            workers.spawn(work(Publish { requester, body: body.clone() }, Arc::clone(&gauge)));
        }
    }
    measure(server, &gauge, workers, window, u64::MAX).await
}

struct Publish {
    requester: Requester,
    body: Bytes,
}

impl Step for Publish {
    async fn step(&mut self) -> Result<usize> {
        self.requester.publish(&self.body).await.context("publishing")?;
        Ok(1)
    }
}
