//! `AckMessage`: finishes messages, each with a result of its own.

use grpc::v2;
use tonic::Request;
use types::broker::LeaseOwner;
use types::receipt_handle;

use super::Service;
use crate::status::{self, Refusal};
use crate::validate::{self, Invalid};

pub(super) async fn call(
    service: &Service,
    request: Request<v2::AckMessageRequest>,
) -> Result<v2::AckMessageResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let request = request.into_inner();
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let entries_max = service.shared.options.limits.ack_entries_max;
    if !(1..=entries_max).contains(&request.entries.len()) {
        return Err(Invalid::TooManyEntries { entries: request.entries.len(), entries_max }.into());
    }

    let mut valid = Vec::with_capacity(request.entries.len());
    let mut parse = |entry: &v2::AckMessageEntry| entry.receipt_handle.parse().map(|handle| valid.push(handle));
    let parsed: Vec<Result<(), receipt_handle::Error>> = request.entries.iter().map(&mut parse).collect();
    let mut results = service.shared.messaging.broker().ack(LeaseOwner { group, topic }, valid).await.into_iter();
    let statuses = parsed.into_iter().map(|parsed| match parsed {
        Ok(()) => match results.next() {
            Some(Ok(())) => status::ok(),
            Some(Err(error)) => Refusal::from(error).0,
            None => status::of(v2::Code::InternalServerError, "the broker gave no result"),
        },
        Err(error) => Refusal::from(error).0,
    });
    let entry = |(entry, status): (v2::AckMessageEntry, v2::Status)| v2::AckMessageResultEntry {
        message_id: entry.message_id,
        receipt_handle: entry.receipt_handle,
        status: Some(status),
    };
    let entries: Vec<_> = request.entries.into_iter().zip(statuses).map(entry).collect();
    let overall = status::overall(entries.iter().filter_map(|entry| entry.status.as_ref()));
    Ok(v2::AckMessageResponse { status: Some(overall), entries })
}
