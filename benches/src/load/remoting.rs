//! What `send` does, over Remoting: requests of 4.x clients, told apart by their numbers on few connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use env::Env;
use remoting::Client;
use remoting_proto::body::HaStatus;
use remoting_proto::requests::{AUTO_CREATE_TOPIC, SendMessage, SendMessageAnswer};
use remoting_proto::{Command, RequestCode, ResponseCode};
use types::properties::names;

use super::closed::{Step, work};
use super::gauge::{Gauge, Window, Workers, measure};
use super::send::MessageIds;
use super::{CONNECTIONS, IN_FLIGHT, TOPIC, body};
use crate::measurement::Measurement;
use crate::server::Server;

/// How long a reply may take.
const REPLY_WITHIN: Duration = Duration::from_secs(20);
/// Queues of the topic.
const QUEUES: i64 = 8;

/// Sends one message, which makes the topic where messages are stored.
pub(crate) async fn make_topic(address: SocketAddr) -> Result<()> {
    SendOne::new(client(address), body(), 0).step().await.map(drop)
}

/// Sends one message a request for the window.
pub(crate) async fn send_by_remoting(server: &Server, window: Window) -> Result<Measurement> {
    let gauge = Arc::new(Gauge::default());
    let workers = workers(server.address(), &body(), &gauge);
    measure(server, &gauge, workers, window, u64::MAX).await
}

/// Starts [`IN_FLIGHT`] workers on each of [`CONNECTIONS`] connections.
pub(super) fn workers(address: SocketAddr, body: &Bytes, gauge: &Arc<Gauge>) -> Workers {
    let mut workers = Workers::new();
    for connection in 0..CONNECTIONS {
        let client = client(address);
        for slot in 0..IN_FLIGHT {
            let sender = SendOne::new(client.clone(), body.clone(), connection * IN_FLIGHT + slot);
            workers.spawn(work(sender, Arc::clone(gauge)));
        }
    }
    workers
}

/// How far a master's slaves are.
pub(crate) async fn ha_status(master: SocketAddr) -> Result<HaStatus> {
    let request = Command::request(RequestCode::GetBrokerHaStatus, Default::default(), Bytes::new());
    let answer = client(master).call(request, REPLY_WITHIN).await.context("asking for the slaves")?;
    let code = answer.response_code();
    ensure!(code == ResponseCode::Success, "{code:?}: {}", answer.remark.unwrap_or_default());
    Ok(serde_json::from_slice(&answer.body)?)
}

/// A client on a connection of its own; clones share it.
pub(super) fn client(address: SocketAddr) -> Client {
    Client::new(address.to_string(), Env::real().clock)
}

struct SendOne {
    client: Client,
    body: Bytes,
    ids: MessageIds,
    queue: i64,
}

impl SendOne {
    fn new(client: Client, body: Bytes, worker: usize) -> Self {
        Self { client, body, ids: MessageIds::of_worker(worker), queue: 0 }
    }
}

/// Sends one message as a 4.x client does.
pub(super) async fn send_one(client: &Client, id: &str, queue: i64, body: Bytes) -> Result<()> {
    let answer = client.call(request(id, queue % QUEUES, body), REPLY_WITHIN).await.context("sending")?;
    let code = answer.response_code();
    ensure!(code == ResponseCode::Success, "{code:?}: {}", answer.remark.unwrap_or_default());
    SendMessageAnswer::of(&answer.fields).map(drop)?;
    Ok(())
}

fn request(id: &str, queue_id: i64, body: Bytes) -> Command {
    let born_at = Env::real().clock.now();
    let header = SendMessage {
        producer_group: "bench-producers".to_owned(),
        topic: TOPIC.to_owned(),
        default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
        default_topic_queue_nums: Some(QUEUES),
        queue_id,
        sys_flag: 0,
        born_timestamp: born_at.0,
        flag: 0,
        properties: Some(format!("{}\u{1}{}\u{2}WAIT\u{1}true", names::UNIQUE_KEY, id)),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        max_reconsume_times: None,
        is_batch: Some(false),
        broker_name: None,
    };
    Command::request(RequestCode::SendMessageV2, header.to_fields(), body)
}

impl Step for SendOne {
    async fn step(&mut self) -> Result<usize> {
        self.queue += 1;
        send_one(&self.client, &self.ids.next(), self.queue, self.body.clone()).await?;
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noop::{self, Protocol};

    #[tokio::test]
    async fn the_no_op_server_takes_messages_and_nothing_else() {
        let address = noop::started(Protocol::Remoting).await;
        let mut sender = SendOne::new(client(address), body(), 0);
        assert_eq!(sender.step().await.expect("stored"), 1);
        let pull = Command::request(RequestCode::PullMessage, Default::default(), Bytes::new());
        let answer = sender.client.call(pull, REPLY_WITHIN).await.expect("an answer");
        assert_eq!(answer.response_code(), ResponseCode::SystemError);
    }
}
