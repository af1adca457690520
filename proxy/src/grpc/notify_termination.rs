//! `NotifyClientTermination`: the client goes, and what it holds is free at once.

use grpc::v2;
use tonic::Request;

use super::Service;
use crate::status::{self, Refusal};
use crate::validate;

pub(super) async fn call(
    service: &Service,
    request: Request<v2::NotifyClientTerminationRequest>,
) -> Result<v2::NotifyClientTerminationResponse, Refusal> {
    let id = validate::client_id(request.metadata())?;
    // Go's producers name a group without a name.
    if let Some(group) = request.get_ref().group.as_ref().filter(|group| !group.name.is_empty()) {
        validate::group(Some(group))?;
    }
    service.shared.sessions.remove(id);
    service.shared.messaging.broker().client_gone(id.into()).await;
    Ok(v2::NotifyClientTerminationResponse { status: Some(status::ok()) })
}
