//! What brokers are told of each other, as requests.

use std::time::Duration;

use bytes::Bytes;
use remoting_proto::requests::NotifyMinBrokerIdChange;
use remoting_proto::{Command, RequestCode};

use crate::registry::Notice;

/// Source: Apache 5.5 `RouteInfoManager#notifyMinBrokerIdChanged`.
const SENT_WITHIN: Duration = Duration::from_millis(300);

/// The request that says it.
pub(crate) fn request(notice: Notice) -> remoting::Notice {
    let Notice { to, id, address, gone, ha_address } = notice;
    let header = NotifyMinBrokerIdChange {
        min_broker_id: id,
        min_broker_addr: Some(address),
        offline_broker_addr: gone,
        ha_broker_addr: ha_address,
    };
    let request = Command::request(RequestCode::NotifyMinBrokerIdChange, header.to_fields(), Bytes::new());
    remoting::Notice { to, request, within: SENT_WITHIN }
}
