//! Sends brokers what they are to be told. One after the other: it is rare, and each has a short time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Clock;
use remoting::Client;
use remoting_proto::requests::NotifyMinBrokerIdChange;
use remoting_proto::{Command, RequestCode};
use tokio::sync::mpsc;

use crate::registry::Notice;

/// Notices that wait; further ones are lost, and the brokers find out by their own questions.
pub(crate) const NOTICES_MAX: usize = 1024;
/// Connections that are kept; beyond it all are closed.
const CLIENTS_MAX: usize = 1024;
/// Source: Apache 5.5 `RouteInfoManager#notifyMinBrokerIdChanged`.
const SENT_WITHIN: Duration = Duration::from_millis(300);

/// Sends what comes, for ever.
pub(crate) async fn run(mut notices: mpsc::Receiver<Notice>, clock: Arc<dyn Clock>) {
    let mut clients = HashMap::new();
    while let Some(Notice { to, id, address, gone, ha_address }) = notices.recv().await {
        let header = NotifyMinBrokerIdChange {
            min_broker_id: id,
            min_broker_addr: Some(address),
            offline_broker_addr: gone,
            ha_broker_addr: ha_address,
        };
        let request = Command::request(RequestCode::NotifyMinBrokerIdChange, header.to_fields(), Bytes::new());
        for broker in to {
            if clients.len() == CLIENTS_MAX && !clients.contains_key(&broker) {
                clients.clear();
            }
            let client = clients.entry(broker.clone()).or_insert_with(|| Client::new(broker, clock.clone()));
            if let Err(error) = client.oneway(request.clone(), SENT_WITHIN).await {
                tracing::info!(%error, "a broker was not told who has the lowest id of its name");
            }
        }
    }
}
