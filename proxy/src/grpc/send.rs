//! `SendMessage`: one message or several of one topic, one entry each in the answer, in order.

use grpc::v2;
use grpc::v2::Code;
use tonic::Request;
use types::broker::{Durability, SendError, SendReceipt};
use types::{Message, MessageType, TopicName};

use super::Service;
use crate::convert::{self, Sender, Stored};
use crate::messaging::transaction::TransactionId;
use crate::status::{self, Refusal};
use crate::validate;

pub(super) async fn call(
    service: &Service,
    request: Request<v2::SendMessageRequest>,
) -> Result<v2::SendMessageResponse, Refusal> {
    validate::client_id(request.metadata())?;
    let (headers, _, request) = request.into_parts();
    let Outgoing { topic, ids, messages, types } = outgoing(service, request.messages)?;
    if types.contains(&MessageType::Transaction) {
        note_transaction(service, &headers, &topic)?;
    }

    let results = service.shared.messaging.send(&topic, messages, &types).await?;
    let entries: Vec<_> = ids.into_iter().zip(results).map(|(id, result)| entry(id, result)).collect();
    let overall = status::overall(entries.iter().filter_map(|entry| entry.status.as_ref()));
    Ok(v2::SendMessageResponse { status: Some(overall), entries })
}

/// What a request asks to store, and what its answer repeats.
struct Outgoing {
    topic: TopicName,
    ids: Vec<String>,
    messages: Vec<Message>,
    types: Vec<MessageType>,
}

/// Checks and maps a request's messages. They are read where they lie: each is several hundred bytes to move.
fn outgoing(service: &Service, mut requested: Vec<v2::Message>) -> Result<Outgoing, Refusal> {
    let limits = &service.shared.options.limits;
    let topic = limits.messages(&requested)?;
    let sender = Sender { address: service.connection.remote, now: crate::clock::now() };
    let room = requested.len();
    let (mut ids, mut types) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let mut messages = Vec::with_capacity(room);
    for message in &mut requested {
        limits.message(message, sender.now)?;
        let Stored { message, message_type, message_id } = convert::stored(message, topic.clone(), sender)?;
        ids.push(message_id);
        messages.push(message);
        types.push(message_type);
    }
    Ok(Outgoing { topic, ids, messages, types })
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

/// What an entry says of a message that was not stored, because one with its idempotency key is.
const REPEAT: &str = "OK: repeats a message that is stored already, which the answer names";

fn entry(message_id: String, result: Result<SendReceipt, SendError>) -> v2::SendResultEntry {
    let receipt = match result {
        Ok(receipt) => receipt,
        Err(error) => {
            let Refusal(status) = error.into();
            return v2::SendResultEntry { status: Some(status), message_id, ..v2::SendResultEntry::default() };
        }
    };
    // A repeat is answered as its first was, id included.
    let (message_id, is_repeat) = match receipt.repeat_of {
        Some(first) => (String::from(first), true),
        None => (message_id, false),
    };
    let status = match receipt.durability {
        Durability::Written | Durability::Flushed if is_repeat => status::of(Code::Ok, REPEAT),
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
        receipt.transaction.map(|place| TransactionId { place, message_id: message_id.clone() }.to_string());
    v2::SendResultEntry {
        status: Some(status),
        message_id,
        transaction_id: transaction_id.unwrap_or_default(),
        offset: i64::try_from(receipt.queue_offset.0).unwrap_or(i64::MAX),
        recall_handle: receipt.recall_handle.unwrap_or_default(),
    }
}
