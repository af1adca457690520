//! `UpdateOffset`, `GetOffset` and `QueryOffset`: a group's committed offsets, and a queue's own.

use grpc::v2;
use grpc::v2::{Code, QueryOffsetPolicy};
use tonic::Request;
use types::broker::OffsetAt;
use types::{QueueId, QueueOffset, TopicName};

use super::Service;
use crate::convert;
use crate::status::{self, Refusal};
use crate::validate::{self, Invalid};

pub(super) async fn update(
    service: &Service,
    request: Request<v2::UpdateOffsetRequest>,
) -> Result<v2::UpdateOffsetResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let (topic, queue) = queue(request.message_queue.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let offset = offset(request.offset)?;
    service.shared.messaging.broker().commit_offset(&group, &topic, queue, offset).await?;
    Ok(v2::UpdateOffsetResponse { status: Some(status::ok()) })
}

pub(super) async fn get(
    service: &Service,
    request: Request<v2::GetOffsetRequest>,
) -> Result<v2::GetOffsetResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let (topic, queue) = queue(request.message_queue.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    match service.shared.messaging.broker().committed_offset(&group, &topic, queue).await? {
        Some(offset) => Ok(v2::GetOffsetResponse { status: Some(status::ok()), offset: number(offset) }),
        None => {
            let message = format!("consumer group {group} has committed no offset on queue {queue} of topic {topic}");
            Err(Refusal(status::of(Code::OffsetNotFound, message)))
        }
    }
}

pub(super) async fn query(
    service: &Service,
    request: Request<v2::QueryOffsetRequest>,
) -> Result<v2::QueryOffsetResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let (topic, queue) = queue(request.message_queue.as_ref())?;
    let at = match request.query_offset_policy() {
        QueryOffsetPolicy::Beginning => OffsetAt::Beginning,
        QueryOffsetPolicy::End => OffsetAt::End,
        QueryOffsetPolicy::Timestamp => {
            let time = request.timestamp.as_ref().ok_or(Invalid::MissingField { field: "timestamp" })?;
            OffsetAt::Time(convert::timestamp(time))
        }
    };
    let offset = service.shared.messaging.broker().queue_offset(&topic, queue, at).await?;
    Ok(v2::QueryOffsetResponse { status: Some(status::ok()), offset: number(offset) })
}

/// The topic and queue that a request names.
pub(super) fn queue(queue: Option<&v2::MessageQueue>) -> Result<(TopicName, QueueId), Invalid> {
    let queue = queue.ok_or(Invalid::MissingField { field: "message_queue" })?;
    let topic = validate::topic(queue.topic.as_ref())?;
    let id = u32::try_from(queue.id).map_err(|_| Invalid::QueueId { id: queue.id })?;
    Ok((topic, QueueId(id)))
}

/// An offset of a client.
pub(super) fn offset(offset: i64) -> Result<QueueOffset, Invalid> {
    u64::try_from(offset).map(QueueOffset).map_err(|_| Invalid::Offset { offset })
}

/// An offset for a client.
pub(super) fn number(offset: QueueOffset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}
