//! `QueryAssignment`: which queues a push consumer receives from. All clients get all: leases divide the work.

use grpc::v2;
use grpc::v2::{Code, Permission};
use tonic::Request;

use super::{Authority, Service, endpoints, query_route};
use crate::convert;
use crate::sessions::Agent;
use crate::status::{self, Refusal};
use crate::validate;

pub(super) async fn call(
    service: &Service,
    request: Request<v2::QueryAssignmentRequest>,
) -> Result<v2::QueryAssignmentResponse, Refusal> {
    let (headers, extensions, request) = request.into_parts();
    validate::client_id(&headers)?;
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let endpoints = endpoints::of(service, request.endpoints, extensions.get::<Authority>())?;
    let broker = service.shared.messaging.broker();
    let config = broker.topic(&topic).await?;
    if !config.is_readable || config.read_queues == 0 {
        return Err(Refusal(status::of(Code::Forbidden, format!("topic {topic} has no readable queue"))));
    }
    // Ordered consumers ask queue by queue; for others the broker picks the queue (id -1).
    let ids = if broker.group(&group).await?.is_fifo {
        0..i32::try_from(config.read_queues).unwrap_or(i32::MAX)
    } else {
        -1..0
    };
    let accept_message_types = convert::accepted_types(config.topic_type, Agent::of(&headers).knows_priority());
    let assignment = |id| v2::Assignment {
        message_queue: Some(v2::MessageQueue {
            topic: request.topic.clone(),
            id,
            permission: Permission::Read.into(),
            broker: Some(query_route::broker(service, &endpoints)),
            accept_message_types: accept_message_types.clone(),
        }),
    };
    Ok(v2::QueryAssignmentResponse { status: Some(status::ok()), assignments: ids.map(assignment).collect() })
}
