//! `ChangeInvisibleDuration`: makes a leased message visible at another time.

use grpc::v2;
use tonic::Request;
use types::ReceiptHandle;
use types::broker::{ChangeInvisible, LeaseOwner};

use super::Service;
use crate::status::{self, Refusal};
use crate::validate;

/// Some SDKs take the handle out of the answer before they look at its status, so a failure repeats the one that the
/// client has, which stays as good as it was (pitfall 3).
pub(super) async fn call(
    service: &Service,
    request: Request<v2::ChangeInvisibleDurationRequest>,
) -> v2::ChangeInvisibleDurationResponse {
    let old_handle = request.get_ref().receipt_handle.clone();
    match change(service, request).await {
        Ok(handle) => {
            v2::ChangeInvisibleDurationResponse { status: Some(status::ok()), receipt_handle: handle.to_string() }
        }
        Err(Refusal(status)) => {
            v2::ChangeInvisibleDurationResponse { status: Some(status), receipt_handle: old_handle }
        }
    }
}

async fn change(
    service: &Service,
    request: Request<v2::ChangeInvisibleDurationRequest>,
) -> Result<ReceiptHandle, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let invisible = service.shared.options.limits.change_invisible(request.invisible_duration.as_ref())?;
    let handle: ReceiptHandle = request.receipt_handle.parse()?;
    let lease = LeaseOwner { group, topic };
    let change = ChangeInvisible { invisible, suspend: request.suspend.unwrap_or_default() };
    Ok(service.shared.messaging.broker().change_invisible(lease, handle, change).await?)
}
