//! Transactions: producers say what became of half messages, and are asked when they do not.
//! Source: Apache 5.5 `EndTransactionProcessor`, `AbstractTransactionalMessageCheckListener`.

use bytes::Bytes;
use remoting_proto::requests::{CheckTransactionState, EndTransaction};
use remoting_proto::{Command, RequestCode, ResponseCode};
use types::broker::{EndTransaction as End, Resolution, TransactionCheck, TransactionPlace, TransactionPosition};
use types::properties::names;
use types::{Broker as _, Message, PhysicalOffset, QueueId, TopicName};

use super::names::{number, offset};
use super::{Answer, Refusal, done};
use crate::copy;
use crate::server::Core;

/// Says what becomes of a half message.
pub(super) async fn end(core: &Core, request: &Command) -> Answer {
    let header = EndTransaction::of(&request.fields)?;
    let resolution = match header.commit_or_rollback {
        0 => Resolution::Unknown,
        8 => Resolution::Commit,
        12 => Resolution::Rollback,
        other => return Err(Refusal::invalid(format!("commitOrRollback is {other}, expected 0, 8 or 12"))),
    };
    let position = TransactionPosition {
        queue_offset: offset(header.tran_state_table_offset),
        physical_offset: PhysicalOffset(u64::try_from(header.commit_log_offset).unwrap_or(u64::MAX)),
    };
    let topic = half_of(core, position.physical_offset, &header.producer_group).await?;
    let place = TransactionPlace { broker: core.name().into(), position };
    let (message_id, is_asked) = (header.msg_id, header.from_transaction_check == Some(true));
    core.broker.end_transaction(End { topic, place, message_id, resolution, is_asked }).await?;
    Ok(done(request))
}

/// The topic of the half message that was first stored at a place, which is its name; clients of 4.x do not say the topic.
async fn half_of(core: &Core, position: PhysicalOffset, group: &str) -> Result<TopicName, Refusal> {
    let refused = |remark: String| Refusal::new(ResponseCode::SystemError, remark);
    let no_half = || refused(format!("no half message is at position {position}"));
    let record = core.broker.half_record(position).await?.ok_or_else(no_half)?;
    let record =
        record::decode(&record).map_err(|error| refused(format!("the half message cannot be read: {error}")))?;
    match record.property(names::PRODUCER_GROUP) {
        Some(of) if of != group => Err(refused(format!("the half message is of producer group {of}, not of {group}"))),
        _ => Ok(TopicName::new(record.property(names::REAL_TOPIC).ok_or_else(no_half)?)?),
    }
}

/// Asks producers about half messages, for ever. One whose producer is not there is asked for again later.
pub(crate) async fn ask_producers(core: &Core) {
    let mut checks = core.broker.transaction_checks();
    while let Some(check) = checks.recv().await {
        let position = check.place.position.physical_offset;
        match question(core, &check) {
            Some((group, request)) => {
                let producer = core.clients.lock().producer(&group, core.env.random.next());
                let is_asked = producer.is_some_and(|producer| core.ask(producer, request));
                tracing::debug!(%group, %position, is_asked, "half message");
            }
            None => tracing::warn!(%position, "a half message cannot be asked about"),
        }
    }
    // The broker has stopped; who asks it is told so until the port ends too.
    std::future::pending().await
}

/// The producer's group and what it is asked.
fn question(core: &Core, check: &TransactionCheck) -> Option<(String, Command)> {
    let record = record::decode(&check.record).ok()?;
    let group = record.property(names::PRODUCER_GROUP)?.to_owned();
    let unique_key = record.property(names::UNIQUE_KEY).map(str::to_owned);
    let position = check.place.position;
    let header = CheckTransactionState {
        topic: Some(check.topic.to_string()),
        tran_state_table_offset: number(position.queue_offset),
        commit_log_offset: position.physical_offset.0.cast_signed(),
        msg_id: unique_key.clone(),
        transaction_id: unique_key,
        offset_msg_id: Some(record::offset_message_id(core.options.advertised, position.physical_offset)),
        broker_name: Some(core.name().to_owned()),
    };
    let body = restored(core, check, &record)?;
    Some((group, Command::request(RequestCode::CheckTransactionState, header.to_fields(), body)))
}

/// The record with the topic and queue that the message was sent to.
fn restored(core: &Core, check: &TransactionCheck, record: &record::Record<'_>) -> Option<Bytes> {
    let header = &record.header;
    let queue = QueueId(record.property(names::REAL_QUEUE_ID).and_then(|text| text.parse().ok()).unwrap_or_default());
    let message =
        Message { source_offset: header.source_offset, ..copy::message(&check.record, record, check.topic.clone()) };
    let encoded = record::encode(&message, queue, core.options.advertised).ok()?;
    Some(encoded.place(header.queue_offset, check.place.position.physical_offset, header.stored_at))
}
