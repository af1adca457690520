//! The topic in which gateways keep what they must agree on: on the first broker by name that has a master when it is made.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use remoting_proto::body::SubscriptionGroupConfig;
use remoting_proto::requests::UpdateAndCreateTopic;
use remoting_proto::{Dialect, Fields, RequestCode, ResponseCode};
use types::broker::{LookupError, Unavailable};
use types::{TopicConfig, TopicName};

use super::Cluster;
use super::brokers::{Request, refused};

/// How often the name servers are asked for a topic that was just made: brokers tell them at once.
const LOOKS: u32 = 15;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// Readable and writable. Source: Apache `PermName`.
const READ_WRITE: i64 = 6;

impl Cluster {
    /// As [`types::Broker::shared_topic`].
    pub(super) async fn find_shared(&self, name: &TopicName, make: bool) -> Result<Arc<TopicConfig>, LookupError> {
        match self.route(name).await {
            Err(LookupError::TopicNotFound { .. }) if make => self.make_shared(name).await?,
            found => return found.map(|route| route.config.clone()),
        }
        for _ in 1..LOOKS {
            match self.route(name).await {
                Err(LookupError::TopicNotFound { .. }) => self.0.clock.sleep(BETWEEN_LOOKS).await,
                found => return found.map(|route| route.config.clone()),
            }
        }
        self.route(name).await.map(|route| route.config.clone())
    }

    async fn make_shared(&self, name: &TopicName) -> Result<(), LookupError> {
        let masters = self.0.brokers.masters().await?;
        let broker = masters.keys().next().ok_or_else(|| Unavailable::Remote {
            detail: format!("topic {name} cannot be made: the name servers know no broker"),
        })?;
        let group = SubscriptionGroupConfig { group_name: name.to_string(), ..SubscriptionGroupConfig::default() };
        let group = remoting_proto::to_vec(&group, Dialect::Standard).into();
        self.tell(broker, RequestCode::UpdateAndCreateSubscriptionGroup, Fields::default(), group).await?;
        let topic = UpdateAndCreateTopic {
            topic: name.to_string(),
            read_queue_nums: 1,
            write_queue_nums: 1,
            perm: READ_WRITE,
            // Apache's broker takes no request without these two.
            default_topic: Some("TBW102".to_owned()),
            topic_filter_type: Some("SINGLE_TAG".to_owned()),
            topic_sys_flag: Some(0),
            order: Some(false),
            attributes: Some("+message.type=NORMAL".to_owned()),
        };
        self.tell(broker, RequestCode::UpdateAndCreateTopic, topic.to_fields(), Bytes::new()).await
    }

    /// Asks a broker for a change of which it says no more than that it is done.
    async fn tell(&self, broker: &Arc<str>, code: RequestCode, fields: Fields, body: Bytes) -> Result<(), LookupError> {
        let answer = self.0.brokers.call(broker, Request { body, ..Request::new(code, fields) }).await?;
        match answer.response_code() {
            ResponseCode::Success => Ok(()),
            _ => Err(refused(broker, &answer).into()),
        }
    }
}
