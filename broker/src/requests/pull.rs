//! Pulls: a queue is read from an offset on; with nothing there the request is held. Source: Apache 5.5 `PullMessageProcessor`.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use remoting::Connection;
use remoting_proto::requests::{PullMessage, PullMessageAnswer};
use remoting_proto::{Command, ResponseCode};
use types::broker::{Pull, PullError, Pulled};
use types::filter::ExpressionType;
use types::{Filter, QueueOffset};

use super::names::{check_readable, check_still_readable, group, known_topic, number, offset, queue};
use super::{Answer, Refusal, offsets};
use crate::replication::slaves::keeps_up;
use crate::server::{Core, Replication};
use crate::{registration, resets};

/// Most messages of one answer. Source: `maxTransferCountOnMessageInMemory`.
const MESSAGES_MAX: i64 = 32;
/// Most bytes of records of one answer, unless the first alone has more. Source: eight of `maxTransferBytesOnMessageInMemory`, as
/// records are not copied from the disk here.
const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// The ids of those brokers of a name that readers are sent to. Source: `MixAll.MASTER_ID`, and the default of a group's
/// `whichBrokerWhenConsumeSlowly`.
const MASTER: i64 = 0;
const SLAVE: i64 = 1;

/// Reads a queue.
pub(super) async fn pull(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let header = PullMessage::of(&request.fields)?;
    let (group, topic, queue) =
        (group(&header.consumer_group)?, known_topic(core, &header.topic)?, queue(header.queue_id)?);
    check_readable(core, &group, &topic)?;
    let filter = Arc::new(filter(core, &header)?);
    let place = (group.clone(), topic.clone(), queue);
    // Who reads from a slave commits at the master, while that is there.
    if header.has(PullMessage::COMMIT_OFFSET)
        && core.decides()
        && let Ok(committed) = u64::try_from(header.commit_offset)
    {
        commit(core, &place, QueueOffset(committed)).await?;
    }
    let from = offset(header.queue_offset);
    let wait = u64::try_from(header.suspend_timeout_millis).map_or(Duration::ZERO, Duration::from_millis);
    let pull = Pull {
        group,
        topic: topic.clone(),
        queue,
        offset: from,
        // At most 32.
        messages_max: header.max_msg_nums.clamp(1, MESSAGES_MAX) as u32,
        filter,
        wait: if header.has(PullMessage::SUSPEND) { wait } else { Duration::ZERO },
    };
    let asked = header.max_msg_bytes.and_then(|bytes| u64::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    let bytes_max = asked.unwrap_or(BYTES_MAX).min(BYTES_MAX);
    // Who waits is told that nothing is there, and asks again elsewhere or later.
    let nothing = Pulled { records: Vec::new(), next_offset: from, min_offset: QueueOffset(0), max_offset: from };
    let pulled = tokio::select! {
        biased;
        to = reset(core, &place) => {
            // Not the queue's bounds: a consumer goes on at the first of these three.
            return Ok(moved(request, from, to, (to, to)));
        }
        pulled = core.broker.pull_within(pull, bytes_max) => pulled,
        () = core.stopping.cancelled() => Ok(nothing),
        // Its group's other members take over at once.
        () = connection.unheard() => Ok(nothing),
    };
    match pulled {
        Ok(pulled) => {
            let count = pulled.records.len() as u64;
            if count > 0 {
                check_still_readable(core, &place.0, &place.1)?;
            }
            let answer = found(core, request, pulled, from);
            if count > 0 {
                let (topic, group, bytes) = (&header.topic, &header.consumer_group, answer.body.len() as u64);
                core.statistics.lock().get(topic, group, count, bytes, core.now());
            }
            Ok(answer)
        }
        Err(PullError::OffsetOutOfRange { min, max, .. }) => Ok(moved(request, from, from.clamp(min, max), (min, max))),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the group is to go on elsewhere.
async fn reset(core: &Core, place: &resets::Queue) -> QueueOffset {
    let mut made = core.resets_made.subscribe();
    loop {
        if let Some(to) = core.resets.lock().take(place) {
            return to;
        }
        // The sender lives as long as the requests that it is for.
        drop(made.changed().await);
    }
}

/// What is wanted: the request says it, or the group's clients have told.
fn filter(core: &Core, header: &PullMessage) -> Result<Filter, Refusal> {
    if header.has(PullMessage::SUBSCRIPTION) {
        let text = header.subscription.as_deref().unwrap_or_default();
        return parse(header.expression_type.as_deref(), text);
    }
    let clients = core.clients.lock();
    let (group, topic) = (&header.consumer_group, &header.topic);
    match clients.subscription(group, topic) {
        None | Some(None) => {
            let remark = format!("group {group} has not told what it subscribes to of topic {topic}");
            Err(Refusal::new(ResponseCode::SubscriptionNotExist, remark))
        }
        Some(Some(data)) if data.sub_version < header.sub_version => {
            let (known, asked) = (data.sub_version, header.sub_version);
            let remark =
                format!("the subscription of group {group} to topic {topic} is {known}, the request's is {asked}");
            Err(Refusal::new(ResponseCode::SubscriptionNotLatest, remark))
        }
        Some(Some(data)) => parse(data.expression_type.as_deref(), &data.sub_string),
    }
}

/// An expression; none of its types is `TAG`.
pub(super) fn parse(expression_type: Option<&str>, text: &str) -> Result<Filter, Refusal> {
    let unreadable = |error: types::filter::Error| {
        Refusal::new(ResponseCode::SubscriptionParseFailed, format!("the subscription cannot be read: {error}"))
    };
    let language: ExpressionType =
        expression_type.filter(|name| !name.is_empty()).unwrap_or("TAG").parse().map_err(unreadable)?;
    Filter::parse(language, text).map_err(unreadable)
}

/// Clients say with each pull how far they are, which is mostly what they have said before; one that is late takes nothing back.
async fn commit(core: &Core, place: &resets::Queue, offset: QueueOffset) -> Result<(), Refusal> {
    if offsets::committed(core, place).await?.is_none_or(|committed| committed < offset) {
        offsets::commit(core, place, offset).await?;
    }
    Ok(())
}

fn found(core: &Core, request: &Command, pulled: Pulled, from: QueueOffset) -> Command {
    let suggest_which_broker_id = suggested(core, &pulled, from);
    let Pulled { records, next_offset, min_offset, max_offset } = pulled;
    let code = match () {
        () if !records.is_empty() => ResponseCode::Success,
        () if next_offset > from => ResponseCode::PullRetryImmediately,
        () => ResponseCode::PullNotFound,
    };
    let header = PullMessageAnswer { suggest_which_broker_id, ..answer(next_offset, min_offset, max_offset) };
    Command { fields: header.to_fields(), body: together(records), ..request.answer(code) }
}

/// Which broker of the name a reader is asked to go on at: a slave that keeps up if there is one and the reader is far behind the log's end,
/// where it costs the disk; that slave keeps it until it is near. Source: Apache 5.5 `DefaultMessageStore#getMessage`, `PullMessageProcessor`,
/// which look at no slave.
fn suggested(core: &Core, pulled: &Pulled, from: QueueOffset) -> i64 {
    let own = registration::broker_id(&core.options);
    let Some(slow_reader_bytes) = core.options.slow_reader_bytes else { return MASTER };
    let Some(Ok(last)) = pulled.records.last().map(|record| record::header(record)) else {
        // Where those are that it passes over is not known: it stays. One that waits goes to where messages come first.
        return if pulled.next_offset > from { own } else { MASTER };
    };
    let (read_to, end) = (last.physical_offset.plus(last.record_bytes.into()), core.broker.marks().appended_to());
    match &core.replication {
        _ if end.0.saturating_sub(read_to.0) <= slow_reader_bytes => MASTER,
        Replication::Slave(_) => own,
        Replication::Master(master) if master.slaves().lock().all().any(|slave| keeps_up(&slave, end)) => SLAVE,
        Replication::Master(_) => MASTER,
    }
}

fn together(mut records: Vec<Bytes>) -> Bytes {
    if records.len() == 1 {
        return records.pop().unwrap_or_default();
    }
    let mut body = BytesMut::with_capacity(records.iter().map(Bytes::len).sum());
    for record in records {
        body.extend_from_slice(&record);
    }
    body.freeze()
}

/// The queue does not have the offset, or the group is to go on elsewhere: the client goes on at `to`.
fn moved(request: &Command, from: QueueOffset, to: QueueOffset, (min, max): (QueueOffset, QueueOffset)) -> Command {
    let fields = answer(to, min, max).to_fields();
    let remark = Some(format!("offset {from} is not where the group is on {min}..={max}: it goes on at {to}"));
    Command { fields, remark, ..request.answer(ResponseCode::PullOffsetMoved) }
}

fn answer(next: QueueOffset, min: QueueOffset, max: QueueOffset) -> PullMessageAnswer {
    PullMessageAnswer {
        suggest_which_broker_id: MASTER,
        next_begin_offset: number(next),
        min_offset: number(min),
        max_offset: number(max),
        offset_delta: None,
        topic_sys_flag: None,
        group_sys_flag: None,
        forbidden_type: None,
    }
}
