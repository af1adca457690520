//! `QueryRoute`: a topic's queues, all of them here.

use grpc::v2;
use grpc::v2::Permission;
use tonic::Request;
use types::TopicConfig;

use super::{Authority, Service, endpoints};
use crate::convert;
use crate::sessions::Agent;
use crate::status::{self, Refusal};
use crate::validate;

pub(super) async fn call(
    service: &Service,
    request: Request<v2::QueryRouteRequest>,
) -> Result<v2::QueryRouteResponse, Refusal> {
    let (headers, extensions, request) = request.into_parts();
    validate::client_id(&headers)?;
    let topic = validate::topic(request.topic.as_ref())?;
    let endpoints = endpoints::of(service, request.endpoints, extensions.get::<Authority>())?;
    let config = service.shared.messaging.broker().topic(&topic).await?;
    let resource = request.topic.unwrap_or_default();
    let message_queues = queues(service, &config, &resource, &endpoints, Agent::of(&headers).knows_priority());
    Ok(v2::QueryRouteResponse { status: Some(status::ok()), message_queues })
}

/// One entry a queue, in the order of their ids, which are the queues' real ones.
fn queues(
    service: &Service,
    config: &TopicConfig,
    topic: &v2::Resource,
    endpoints: &v2::Endpoints,
    knows_priority: bool,
) -> Vec<v2::MessageQueue> {
    let accept_message_types = convert::accepted_types(config.topic_type, knows_priority);
    let queue = |id: u32| v2::MessageQueue {
        topic: Some(topic.clone()),
        id: i32::try_from(id).unwrap_or(i32::MAX),
        permission: permission(config, id).into(),
        broker: Some(broker(service, endpoints)),
        accept_message_types: accept_message_types.clone(),
    };
    (0..config.read_queues.max(config.write_queues).max(1)).map(queue).collect()
}

fn permission(config: &TopicConfig, queue: u32) -> Permission {
    let is_readable = config.is_readable && queue < config.read_queues;
    let is_writable = config.is_writable && queue < config.write_queues;
    match (is_readable, is_writable) {
        (true, true) => Permission::ReadWrite,
        (true, false) => Permission::Read,
        (false, true) => Permission::Write,
        (false, false) => Permission::None,
    }
}

/// The broker as clients see it. They know only number 0, the acting master.
pub(super) fn broker(service: &Service, endpoints: &v2::Endpoints) -> v2::Broker {
    let name = service.shared.messaging.broker().name().to_owned();
    v2::Broker { name, id: 0, endpoints: Some(endpoints.clone()) }
}

#[cfg(test)]
mod tests {
    use types::{TopicName, TopicType};

    use super::*;

    #[test]
    fn permissions_follow_the_queue_counts_and_the_topics_switches() {
        let config = |is_readable, is_writable| TopicConfig {
            name: TopicName::new("t").expect("valid"),
            read_queues: 2,
            write_queues: 1,
            is_readable,
            is_writable,
            topic_type: TopicType::Mixed,
            is_auto_created: false,
        };
        assert_eq!(permission(&config(true, true), 0), Permission::ReadWrite);
        assert_eq!(permission(&config(true, true), 1), Permission::Read);
        assert_eq!(permission(&config(false, true), 0), Permission::Write);
        assert_eq!(permission(&config(false, false), 0), Permission::None);
    }
}
