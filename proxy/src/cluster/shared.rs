//! The topic in which gateways keep what they must agree on: on a broker that is named for it, which alone can say that there is none. Name
//! servers cannot: they forget a broker that is away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use remoting_proto::body::SubscriptionGroupConfig;
use remoting_proto::requests::{AUTO_CREATE_TOPIC, UpdateAndCreateTopic};
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
        let home = self
            .0
            .shared_broker
            .clone()
            .ok_or_else(|| Unavailable::Remote { detail: format!("no broker is named that keeps topic {name}") })?;
        match self.look_for_shared(&home, name).await {
            Err(LookupError::TopicNotFound { .. }) if make => self.make_shared(&home, name).await?,
            found => return found,
        }
        for _ in 1..LOOKS {
            match self.look_for_shared(&home, name).await {
                Ok(config) => return Ok(config),
                Err(_) => self.0.clock.sleep(BETWEEN_LOOKS).await,
            }
        }
        self.look_for_shared(&home, name).await
    }

    /// The topic, if the name servers know that its broker has it; else what the broker itself says.
    async fn look_for_shared(&self, home: &Arc<str>, name: &TopicName) -> Result<Arc<TopicConfig>, LookupError> {
        let elsewhere = match self.route(name).await {
            Ok(route) if route.readers().contains(home) => return Ok(route.config.clone()),
            Ok(route) => route.readers(),
            Err(LookupError::TopicNotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        match (self.ask_type(home, name).await, elsewhere.first()) {
            (Ok(_), _) => {
                Err(Unavailable::Remote { detail: format!("the name servers do not know yet that {home} has {name}") }
                    .into())
            }
            (Err(LookupError::TopicNotFound { .. }), Some(other)) => {
                let detail = format!("topic {name} is on broker {other} and not on {home}, which is named for it");
                Err(Unavailable::Remote { detail }.into())
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn make_shared(&self, home: &Arc<str>, name: &TopicName) -> Result<(), LookupError> {
        let group = SubscriptionGroupConfig { group_name: name.to_string(), ..SubscriptionGroupConfig::default() };
        let group = remoting_proto::to_vec(&group, Dialect::Standard).into();
        self.tell(home, RequestCode::UpdateAndCreateSubscriptionGroup, Fields::default(), group).await?;
        let topic = UpdateAndCreateTopic {
            topic: name.to_string(),
            read_queue_nums: 1,
            write_queue_nums: 1,
            perm: READ_WRITE,
            // Apache's broker takes no request without these two.
            default_topic: Some(AUTO_CREATE_TOPIC.to_owned()),
            topic_filter_type: Some("SINGLE_TAG".to_owned()),
            topic_sys_flag: Some(0),
            order: Some(false),
            attributes: Some("+message.type=NORMAL".to_owned()),
        };
        self.tell(home, RequestCode::UpdateAndCreateTopic, topic.to_fields(), Bytes::new()).await
    }

    /// Asks a broker for a change of which it says no more than that it is done.
    pub(super) async fn tell(
        &self,
        broker: &Arc<str>,
        code: RequestCode,
        fields: Fields,
        body: Bytes,
    ) -> Result<(), LookupError> {
        let answer = self.0.brokers.call(broker, Request { body, ..Request::new(code, fields) }).await?;
        match answer.response_code() {
            ResponseCode::Success => Ok(()),
            _ => Err(refused(broker, &answer).into()),
        }
    }
}
