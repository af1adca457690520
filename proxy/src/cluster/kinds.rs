//! Which brokers are Gantry's: those know themselves whether a handle is still good, and keep the order of message groups for every consumer
//! group.

use std::sync::Arc;

use remoting_proto::body::{GANTRY_VERSION, KvTable};
use remoting_proto::{Fields, RequestCode, ResponseCode};
use types::broker::{LookupError, Unavailable};
use types::{GroupName, MessageType, TopicName};

use super::Cluster;
use super::brokers::{Request, refused, unreadable};

impl Cluster {
    /// Whether a broker is Gantry's, as it said at most 20 s ago.
    ///
    /// # Errors
    /// It does not say.
    pub(super) async fn is_ours(&self, broker: &Arc<str>) -> Result<bool, Unavailable> {
        let asked = self.0.ours.get(broker, || self.0.clock.moment(), || self.ask_kind(broker)).await;
        asked.map_err(|error| match error {
            LookupError::Unavailable(error) => error,
            error => Unavailable::Remote { detail: error.to_string() },
        })
    }

    /// As [`types::Broker::orders_message_groups`]. Brokers of Apache's let groups wait for a queue's messages only if they consume in order.
    pub(super) async fn keeps_order(&self, topic: &TopicName, group: &GroupName) -> Result<bool, LookupError> {
        let route = self.route(topic).await?;
        if !route.config.topic_type.accepts(MessageType::Fifo) {
            return Ok(true);
        }
        for broker in route.readers() {
            if !self.is_ours(&broker).await? {
                return match self.group_config(group).await {
                    Ok(group) => Ok(group.is_fifo),
                    Err(LookupError::GroupNotFound { .. }) => Ok(false),
                    Err(error) => Err(error),
                };
            }
        }
        Ok(true)
    }

    async fn ask_kind(&self, broker: &Arc<str>) -> Result<bool, LookupError> {
        let request = Request::new(RequestCode::GetBrokerRuntimeInfo, Fields::default());
        let answer = self.0.brokers.call(broker, request).await?;
        if answer.response_code() != ResponseCode::Success {
            return Err(refused(broker, &answer).into());
        }
        let info: KvTable = remoting_proto::from_slice(&answer.body).map_err(unreadable)?;
        Ok(info.table.contains_key(GANTRY_VERSION))
    }
}
