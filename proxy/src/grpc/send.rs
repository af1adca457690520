//! `SendMessage`: one message or several of one topic, one entry each in the answer, in order.

use bytes::Bytes;
use grpc::v2;
use grpc::v2::Code;
use tonic::metadata::MetadataMap;
use types::broker::{Durability, SendError, SendReceipt};
use types::{Message, MessageType, TopicName};

use super::{Answer, Service, answer, unary};
use crate::convert::{self, Sender, Sent, Stored};
use crate::http2::Metered;
use crate::messaging::transaction::TransactionId;
use crate::status::{self, Refusal};
use crate::validate;

/// Serves a call whose request is not read yet and has at most `bytes_max` bytes.
pub(crate) async fn serve(
    service: Service,
    request: http::Request<Metered>,
    bytes_max: usize,
) -> http::Response<tonic::body::Body> {
    let (headers, request) = match unary::read(request, bytes_max).await {
        Ok(read) => read,
        Err(status) => return status.into_http(),
    };
    match call(&service, &headers, request).await {
        Ok(response) => unary::respond(response.get_ref()),
        Err(status) => status.into_http(),
    }
}

/// Stores the messages of an encoded [`v2::SendMessageRequest`].
pub(super) async fn call(service: &Service, headers: &MetadataMap, request: Bytes) -> Answer<v2::SendMessageResponse> {
    let limits = &service.shared.options.limits;
    // Before they are read: a message of two bytes becomes some hundred.
    if let Err(error) = limits.message_count(convert::sent_count(&request)) {
        return answer(Err(error.into()));
    }
    let outgoing = match convert::sent(&request) {
        Ok(sent) => outgoing(service, headers, &request, &sent),
        Err(error) => return Err(tonic::Status::internal(error.to_string())),
    };
    // The bodies keep it for as long as they are needed.
    drop(request);
    answer(match outgoing {
        Ok(outgoing) => store(service, outgoing).await,
        Err(refusal) => Err(refusal),
    })
}

async fn store(service: &Service, outgoing: Outgoing) -> Result<v2::SendMessageResponse, Refusal> {
    let Outgoing { topic, ids, messages, types } = outgoing;
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

/// Checks and maps a request's messages. Their bodies stay where they are: slices of `request`.
fn outgoing(service: &Service, headers: &MetadataMap, request: &Bytes, sent: &[Sent<'_>]) -> Result<Outgoing, Refusal> {
    validate::client_id(headers)?;
    let limits = &service.shared.options.limits;
    let topic = limits.messages(sent)?;
    let sender = Sender { address: service.connection.remote, now: crate::clock::now() };
    let (mut ids, mut types) = (Vec::with_capacity(sent.len()), Vec::with_capacity(sent.len()));
    let mut messages = Vec::with_capacity(sent.len());
    for sent in sent {
        limits.message(sent, sender.now)?;
        let body = request.slice_ref(sent.body);
        let Stored { message, message_type } = convert::stored(sent, body, topic.clone(), sender)?;
        ids.push(sent.system.as_ref().map_or("", |system| system.message_id).to_owned());
        messages.push(message);
        types.push(message_type);
    }
    if types.contains(&MessageType::Transaction) {
        note_transaction(service, headers, &topic)?;
    }
    Ok(Outgoing { topic, ids, messages, types })
}

/// Who sends transactional messages can be asked for their outcome.
fn note_transaction(service: &Service, headers: &MetadataMap, topic: &TopicName) -> Result<(), Refusal> {
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
