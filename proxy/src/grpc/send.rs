//! `SendMessage`: one message or several of one topic, one entry each in the answer, in order.

use grpc::v2;
use grpc::v2::Code;
use tonic::Request;
use types::broker::{Durability, SendError, SendReceipt};
use types::{MessageType, TopicName};

use super::Service;
use crate::convert::{self, Sender, Stored};
use crate::status::{self, Refusal};
use crate::validate;

pub(super) async fn call(
    service: &Service,
    request: Request<v2::SendMessageRequest>,
) -> Result<v2::SendMessageResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let (headers, _, request) = request.into_parts();
    let limits = &service.shared.options.limits;
    let topic = limits.messages(&request.messages)?;
    let sender = Sender { address: service.connection.remote, now: crate::clock::now() };

    let mut ids = Vec::with_capacity(request.messages.len());
    let mut messages = Vec::with_capacity(request.messages.len());
    let mut is_transactional = false;
    for message in request.messages {
        limits.message(&message, sender.now)?;
        let Stored { message, message_type, message_id } = convert::stored(message, topic.clone(), sender)?;
        is_transactional |= message_type == MessageType::Transaction;
        ids.push(message_id);
        messages.push((message, message_type));
    }
    if is_transactional {
        note_transaction(service, &headers, &topic)?;
    }

    let results = service.shared.messaging.send(&topic, messages).await?;
    let entries: Vec<_> = ids.into_iter().zip(results).map(|(id, result)| entry(service, id, result)).collect();
    let overall = status::overall(entries.iter().filter_map(|entry| entry.status.as_ref()));
    Ok(v2::SendMessageResponse { status: Some(overall), entries })
}

/// Who sends transactional messages can be asked for their outcome.
fn note_transaction(
    service: &Service,
    headers: &tonic::metadata::MetadataMap,
    topic: &TopicName,
) -> Result<(), Refusal> {
    let session = service.session(headers)?;
    service.shared.sessions.note_transaction(&session, topic);
    Ok(())
}

fn entry(service: &Service, message_id: String, result: Result<SendReceipt, SendError>) -> v2::SendResultEntry {
    let receipt = match result {
        Ok(receipt) => receipt,
        Err(error) => {
            let Refusal(status) = error.into();
            return v2::SendResultEntry { status: Some(status), message_id, ..v2::SendResultEntry::default() };
        }
    };
    let status = match receipt.durability {
        Durability::Written | Durability::Flushed => status::ok(),
        Durability::FlushTimedOut => {
            status::of(Code::MasterPersistenceTimeout, "stored, but the disk did not confirm in time")
        }
        Durability::ReplicaTimedOut => {
            status::of(Code::SlavePersistenceTimeout, "stored, but the replicas did not confirm in time")
        }
        Durability::ReplicaMissing => status::of(Code::HaNotAvailable, "stored, but there is no replica to confirm"),
    };
    let transaction_id =
        receipt.transaction.map(|position| service.shared.messaging.transaction_id(position, &message_id).to_string());
    v2::SendResultEntry {
        status: Some(status),
        message_id,
        transaction_id: transaction_id.unwrap_or_default(),
        offset: i64::try_from(receipt.queue_offset.0).unwrap_or(i64::MAX),
        recall_handle: receipt.recall_handle.unwrap_or_default(),
    }
}
