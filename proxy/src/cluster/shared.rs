//! The topic in which gateways keep what they must agree on: on a broker that is named for it, which alone can say that there is none. Name
//! servers cannot: they forget a broker that is away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use remoting_proto::body::{SubscriptionGroupConfig, TopicSettings};
use remoting_proto::{Dialect, Fields, RequestCode, ResponseCode};
use serde::de::DeserializeOwned;
use types::broker::{LookupError, Unavailable};
use types::{MessageType, TopicConfig, TopicName, TopicType};

use super::Cluster;
use super::brokers::{Request, refused, unreadable};
use super::routes::topic_header;

/// How often the name servers are asked for a topic that was just made: brokers tell them at once.
const LOOKS: u32 = 15;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

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
            Ok(route) => {
                let (here, elsewhere): (Vec<_>, Vec<_>) =
                    route.readers().into_iter().partition(|broker| broker == home);
                match (here.first(), elsewhere.first()) {
                    (Some(_), None) => return Ok(route.config.clone()),
                    // What is written would be spread over them, and none alone could say that something is not there.
                    (Some(_), Some(other)) => {
                        let detail = format!("topic {name} is on broker {other} besides {home}: delete it there");
                        return Err(Unavailable::Remote { detail }.into());
                    }
                    (None, _) => elsewhere,
                }
            }
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
        let config = TopicConfig::new(name.clone(), 1, TopicType::Only(MessageType::Normal));
        let topic = topic_header(&config, TopicSettings::default(), 1, 1);
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

    /// Asks a broker for a body; `None` when it answers with this code.
    pub(super) async fn ask_for<T: DeserializeOwned>(
        &self,
        broker: &Arc<str>,
        code: RequestCode,
        fields: Fields,
        none: ResponseCode,
    ) -> Result<Option<T>, Unavailable> {
        let answer = self.0.brokers.call(broker, Request::new(code, fields)).await?;
        match answer.response_code() {
            ResponseCode::Success => remoting_proto::from_slice(&answer.body).map(Some).map_err(unreadable),
            answered if answered == none => Ok(None),
            _ => Err(refused(broker, &answer)),
        }
    }
}
