//! `EndTransaction`: commits or rolls back, through any proxy and at any time.

use grpc::v2;
use grpc::v2::{TransactionResolution, TransactionSource};
use tonic::Request;
use types::broker::Resolution;

use super::Service;
use crate::messaging::transaction::TransactionId;
use crate::status::{self, Refusal};
use crate::validate::{self, Invalid};

pub(super) async fn call(
    service: &Service,
    request: Request<v2::EndTransactionRequest>,
) -> Result<v2::EndTransactionResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let topic = validate::topic(request.topic.as_ref())?;
    if request.transaction_id.trim().is_empty() {
        return Err(Invalid::TransactionIdBlank.into());
    }
    let id: TransactionId = request.transaction_id.parse()?;
    let resolution = match request.resolution() {
        TransactionResolution::Commit => Resolution::Commit,
        TransactionResolution::Rollback => Resolution::Rollback,
        TransactionResolution::Unspecified => Resolution::Unknown,
    };
    let is_asked = request.source() == TransactionSource::SourceServerCheck;
    service.shared.messaging.end_transaction(topic, id, resolution, is_asked).await?;
    Ok(v2::EndTransactionResponse { status: Some(status::ok()) })
}
