//! Clients that are connected, have subscribed and wait for messages that do not come: what one of them costs in memory.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use grpc::v2;
use tokio::task::JoinHandle;

use super::WAITING_GROUP;
use super::caller::Caller;
use super::slope::memory_of_one;
use crate::measurement::{Measurement, Metric};
use crate::server::Server;

/// The server's memory a client.
pub(crate) async fn memory_of_clients(server: &Server, is_quick: bool) -> Result<Measurement> {
    let address = server.address();
    let queue = Caller::connect(address).await?.query_assignment().await?;
    let (kib, clients) =
        memory_of_one(server, is_quick, |number| Waiting::open(address, number, queue.clone())).await?;
    for client in clients {
        client.ensure_waiting().await?;
    }
    Ok(Measurement([(Metric::MemoryPerClient, kib)].into()))
}

/// A client that asks again whenever its wait is over; gone when dropped.
struct Waiting(JoinHandle<Result<()>>);

impl Waiting {
    /// A client on a connection of its own that has told its settings and has sent a heartbeat.
    async fn open(address: SocketAddr, number: usize, queue: v2::MessageQueue) -> Result<Self> {
        let mut caller = Caller::connect_as(address, &format!("bench@1@{number}@gantry")).await?;
        let introduced = caller.introduce(WAITING_GROUP).await?;
        caller.heartbeat(WAITING_GROUP).await?;
        Ok(Self(tokio::spawn(async move {
            let _introduced = introduced;
            loop {
                // One of them gets the message with which the topic was made, and again when its lease has ended.
                caller.wait(queue.clone()).await?;
            }
        })))
    }

    /// Fails with why it no longer does.
    async fn ensure_waiting(mut self) -> Result<()> {
        if self.0.is_finished() {
            return (&mut self.0).await?.context("a client no longer waits");
        }
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::noop::{self, Protocol};

    #[tokio::test]
    async fn a_client_waits_and_one_whose_server_refuses_does_not() {
        let address = noop::started(Protocol::Grpc).await;
        let queue = Caller::connect(address).await.expect("connected").query_assignment().await.expect("assigned");
        let mut waiting = Waiting::open(address, 1, queue).await.expect("waits");
        tokio::task::yield_now().await;
        assert!(!waiting.0.is_finished());
        waiting.0.abort();
        assert!((&mut waiting.0).await.expect_err("aborted").is_cancelled());
        let refusing = Waiting(tokio::spawn(async { bail!("refused") }));
        while !refusing.0.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(refusing.ensure_waiting().await.is_err());
    }
}
