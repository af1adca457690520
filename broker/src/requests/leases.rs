//! Leases that are ended or changed. Source: Apache 5.5 `AckMessageProcessor`, `ChangeInvisibleTimeProcessor`.
//!
//! Unlike Apache's broker this one knows whether a handle is still good: one whose message was delivered again is answered with
//! `NoMessage`. One whose message is finished is acked with success, as there: Apache's proxies make an error of all else, and clients
//! repeat what failed.

use std::time::Duration;

use remoting_proto::body::{BatchAck, BatchAcks};
use remoting_proto::requests::{AckMessage, ChangeInvisibleTime, ChangeInvisibleTimeAnswer};
use remoting_proto::{Command, ResponseCode};
use types::broker::{ChangeInvisible, LeaseError, LeaseOwner};
use types::receipt_handle::HandleSource;
use types::{Broker as _, QueueOffset, ReceiptHandle, Timestamp, TopicName};

use super::names::{check_count, group, known_topic, offset, queue};
use super::pop::duration;
use super::pop_answer::ms;
use super::{Answer, Refusal, done};
use crate::server::Core;

/// Most leases that one request ends.
const ACKS_MAX: usize = 4096;
/// Fields of a handle without the message's offset, which requests say beside it. Source: `ExtraInfoUtil.buildExtraInfo`.
const FIELDS_WITHOUT_OFFSET: usize = 7;

/// Ends a lease, once or again.
pub(super) async fn ack(core: &Core, request: &Command) -> Answer {
    let header = AckMessage::of(&request.fields)?;
    let place = (header.queue_id, header.offset);
    let (lease, handle) = named(core, &header.consumer_group, &header.topic, place, &header.extra_info)?;
    for acked in core.broker.ack(lease, vec![handle]).await {
        match acked {
            Ok(()) | Err(LeaseError::FINISHED) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done(request))
}

/// Ends several. Handles that are not good any more are passed over, as who acks many does not learn which they are.
pub(super) async fn batch_ack(core: &Core, request: &Command) -> Answer {
    let BatchAcks { broker_name, acks } = remoting_proto::from_slice(&request.body)?;
    if acks.is_empty() {
        return Err(Refusal::new(ResponseCode::NoMessage, "the request names no lease"));
    }
    let mut handles_left = ACKS_MAX;
    let mut all = Vec::with_capacity(acks.len().min(ACKS_MAX));
    for ack in &acks {
        let (lease, handles) = popped_together(&broker_name, ack, handles_left)?;
        handles_left -= handles.len();
        all.push((lease, handles));
    }
    for (lease, handles) in all {
        for result in core.broker.ack(lease, handles).await {
            if let Err(error @ LeaseError::Unavailable(_)) = result {
                return Err(error.into());
            }
        }
    }
    Ok(done(request))
}

/// Lets a lease end at another time.
pub(super) async fn change(core: &Core, request: &Command) -> Answer {
    let header = ChangeInvisibleTime::of(&request.fields)?;
    let place = (header.queue_id, header.offset);
    let (lease, handle) = named(core, &header.consumer_group, &header.topic, place, &header.extra_info)?;
    let invisible = duration("invisibleTime", header.invisible_time)?;
    let change = ChangeInvisible { invisible, suspend: header.suspend.unwrap_or_default() };
    let changed = core.broker.change_invisible(lease, handle, change).await?;
    let answer = ChangeInvisibleTimeAnswer {
        pop_time: changed.popped_at.0,
        invisible_time: ms(changed.invisible),
        revive_qid: changed.revive_queue.into(),
    };
    Ok(Command { fields: answer.to_fields(), ..done(request) })
}

/// The lease that a request names: the topic is that of the queue, so a retry topic where the message came from there.
fn named(
    core: &Core,
    consumer_group: &str,
    topic: &str,
    (queue_id, message_offset): (i64, i64),
    extra_info: &str,
) -> Result<(LeaseOwner, ReceiptHandle), Refusal> {
    let (group, topic) = (group(consumer_group)?, known_topic(core, topic)?);
    let handle: ReceiptHandle = if extra_info.split(' ').count() == FIELDS_WITHOUT_OFFSET {
        format!("{extra_info} {message_offset}").parse()?
    } else {
        extra_info.parse()?
    };
    let handle = ReceiptHandle { queue: queue(queue_id)?, offset: offset(message_offset), ..handle };
    let topic = match handle.source {
        HandleSource::Topic => topic,
        HandleSource::RetryV1 | HandleSource::RetryV2 => match topic.retried(&group) {
            Some(retried) => TopicName::new(retried)?,
            None => topic,
        },
    };
    Ok((LeaseOwner { group, topic }, handle))
}

/// The handles of one pop of a queue, at most `handles_max`.
fn popped_together(
    broker: &str,
    ack: &BatchAck,
    handles_max: usize,
) -> Result<(LeaseOwner, Vec<ReceiptHandle>), Refusal> {
    let lease = LeaseOwner { group: group(&ack.consumer_group)?, topic: TopicName::new(&ack.topic)? };
    let source = match ack.source.as_str() {
        "0" => HandleSource::Topic,
        "1" => HandleSource::RetryV1,
        "2" => HandleSource::RetryV2,
        other => return Err(Refusal::invalid(format!("r is {other:?}, expected 0, 1 or 2"))),
    };
    let start_offset = offset(ack.start_offset);
    let first = ReceiptHandle {
        start_offset,
        popped_at: Timestamp(ack.pop_time),
        invisible: Duration::from_millis(u64::try_from(ack.invisible_time).unwrap_or_default()),
        revive_queue: u32::try_from(ack.revive_queue_id).unwrap_or(u32::MAX),
        source,
        broker: broker.into(),
        queue: queue(ack.queue_id)?,
        offset: start_offset,
        physical_offset: None,
    };
    let distances = ack.distances().ok_or_else(|| Refusal::invalid("b is not base64"))?;
    let handle =
        |distance| ReceiptHandle { offset: QueueOffset(start_offset.0.saturating_add(distance)), ..first.clone() };
    let handles: Vec<_> = distances.take(handles_max + 1).map(handle).collect();
    check_count("leases to end, with those before in the request,", handles.len() + ACKS_MAX - handles_max, ACKS_MAX)?;
    Ok((lease, handles))
}
