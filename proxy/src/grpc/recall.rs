//! `RecallMessage`: takes back a delayed message.

use grpc::v2;
use tonic::Request;

use super::Service;
use crate::status::{self, Refusal};
use crate::validate;

/// Longest handle, in bytes: of the longest topic, broker name and message id, in base64.
const HANDLE_BYTES_MAX: usize = 4096;

pub(super) async fn call(
    service: &Service,
    request: Request<v2::RecallMessageRequest>,
) -> Result<v2::RecallMessageResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let topic = validate::topic(request.topic.as_ref())?;
    validate::length("recall_handle", Some(&request.recall_handle), HANDLE_BYTES_MAX)?;
    let message_id = service.shared.messaging.recall(topic, request.recall_handle).await?;
    Ok(v2::RecallMessageResponse { status: Some(status::ok()), message_id })
}
