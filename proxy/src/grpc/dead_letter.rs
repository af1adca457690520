//! `ForwardMessageToDeadLetterQueue`: clients repeat it until it succeeds, and ordered consumption waits for it, so
//! a message that is already gone is a success (pitfall 35).

use grpc::v2;
use tonic::Request;
use types::ReceiptHandle;
use types::broker::LeaseOwner;

use super::Service;
use crate::status::{self, Refusal};
use crate::validate;

pub(super) async fn call(
    service: &Service,
    request: Request<v2::ForwardMessageToDeadLetterQueueRequest>,
) -> Result<v2::ForwardMessageToDeadLetterQueueResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let handle: ReceiptHandle = request.receipt_handle.parse()?;
    service.shared.messaging.broker().dead_letter(LeaseOwner { group, topic }, handle).await?;
    Ok(v2::ForwardMessageToDeadLetterQueueResponse { status: Some(status::ok()) })
}
