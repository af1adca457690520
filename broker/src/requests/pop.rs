//! Pops: messages are leased to whoever asks, who waits if there are none; and the question whether there are any.
//! Source: Apache 5.5 `PopMessageProcessor`, `NotificationProcessor`.
//!
//! What a client is told of its leases is in `pop_answer`. Leases are the broker's and end by their time: a pop of this port has no
//! session that prolongs them.

use std::sync::Arc;
use std::time::Duration;

use remoting::Connection;
use remoting_proto::requests::{Notification, NotificationAnswer, PopMessage, PopMessageAnswer};
use remoting_proto::{Command, ResponseCode};
use types::broker::{ClientId, DeliveryReport, LeaseOwner, Pop, PopError, Popped};
use types::{Broker as _, Filter, Timestamp};

use super::names::{check_readable, check_still_readable, group, known_topic, queue};
use super::pop_answer::{self, PopAnswer};
use super::{Answer, Refusal, done, pull};
use crate::handle::PopWay;
use crate::server::Core;

/// All pops of this port count as one client's: requests do not say whose they are, and an attempt that is repeated may come through
/// another proxy. Source: Apache knows attempts by their id alone.
const CLIENT: &str = "";
/// A group that is new begins at the first message. Source: `ConsumeInitMode.MIN`.
const INIT_AT_FIRST: i64 = 0;
/// A pop that is read later than this after its client gave up gets nothing. Source: `PopMessageRequestHeader.isTimeoutTooMuch`.
const LATE_MS_MAX: i64 = 500;

/// Leases messages.
pub(super) async fn pop(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let header = PopMessage::of(&request.fields)?;
    let wait = wait_left(header.born_time, header.poll_time, core.now()).ok_or_else(|| {
        let (born, poll) = (header.born_time, header.poll_time);
        let remark = format!("the pop is too late: born at {born}, it was to wait {poll} ms");
        Refusal::new(ResponseCode::PollingTimeout, remark)
    })?;
    let invisible = duration("invisibleTime", header.invisible_time)?;
    let pop = Pop {
        group: group(&header.consumer_group)?,
        client: ClientId::from(CLIENT),
        topic: known_topic(core, &header.topic)?,
        queue: (header.queue_id >= 0).then(|| queue(header.queue_id)).transpose()?,
        messages_max: messages_max(header.max_msg_nums)?,
        invisible,
        auto_renew: false,
        filter: filter(header.exp_type.as_deref(), header.exp.as_deref())?,
        wait,
        attempt_id: header.attempt_id.as_deref().map(Arc::from),
    };
    check_readable(core, &pop.group, &pop.topic)?;
    let in_order = header.order == Some(true);
    let way = PopWay { in_order, begins_at_first: header.init_mode == INIT_AT_FIRST };
    let owner = LeaseOwner { group: pop.group.clone(), topic: pop.topic.clone() };
    // What is leased when nobody waits any longer is free again at once.
    let popped = tokio::select! {
        popped = core.broker.pop_in(pop, way) => popped,
        () = core.stopping.cancelled() => Ok(Popped::default()),
        () = connection.unheard() => Ok(Popped::default()),
    };
    match popped {
        Ok(Popped { messages }) => {
            let bytes = messages.iter().map(|message| message.record.len()).sum();
            if !messages.is_empty()
                && let Err(refusal) =
                    check_still_readable(core, &owner.group, &owner.topic).and_then(|()| check_room(connection, bytes))
            {
                free(core, owner, messages.into_iter().map(|message| message.handle).collect()).await;
                return Err(refusal);
            }
            let count = messages.len() as u64;
            let PopAnswer { header, body, left_out } = pop_answer::of(messages, &owner.topic, in_order);
            let (count, bytes) = (count - left_out.len() as u64, body.len() as u64);
            if count > 0 {
                core.statistics.lock().get(owner.topic.as_str(), owner.group.as_str(), count, bytes, core.now());
            }
            free(core, owner, left_out).await;
            let Some(header) = header else {
                return Ok(nothing(request, ResponseCode::PollingTimeout, core.now(), invisible));
            };
            Ok(Command { fields: header.to_fields(), body, remark: Some("FOUND".to_owned()), ..done(request) })
        }
        Err(PopError::TooManyWaiting { .. }) => Ok(nothing(request, ResponseCode::PollingFull, core.now(), invisible)),
        Err(error) => Err(error.into()),
    }
}

/// Whether the client reads what it is answered: messages that would only wait for it are not leased to it.
fn check_room(connection: &Connection, bytes: usize) -> Result<(), Refusal> {
    if connection.has_room(bytes) {
        return Ok(());
    }
    let remark =
        format!("[OVERLOAD] {bytes} bytes of messages would wait behind answers that this client has not read");
    Err(Refusal::new(ResponseCode::SystemBusy, remark))
}

/// Says whether a pop would get something, as soon as it would.
pub(super) async fn notification(core: &Core, connection: &Connection, request: &Command) -> Answer {
    let header = Notification::of(&request.fields)?;
    let pop = Pop {
        group: group(&header.consumer_group)?,
        client: ClientId::from(CLIENT),
        topic: known_topic(core, &header.topic)?,
        queue: (header.queue_id >= 0).then(|| queue(header.queue_id)).transpose()?,
        messages_max: 1,
        invisible: Duration::ZERO,
        auto_renew: false,
        filter: filter(header.exp_type.as_deref(), header.exp.as_deref())?,
        wait: wait_left(header.born_time, header.poll_time, core.now()).unwrap_or_default(),
        attempt_id: None,
    };
    check_readable(core, &pop.group, &pop.topic)?;
    let way = PopWay { in_order: header.order == Some(true), begins_at_first: false };
    let has_message = tokio::select! {
        has_message = core.broker.has_message(pop, way) => has_message,
        () = core.stopping.cancelled() => Ok(false),
        () = connection.unheard() => Ok(false),
    };
    let (has_message, is_full) = match has_message {
        Err(PopError::TooManyWaiting { .. }) => (false, true),
        answered => (answered?, false),
    };
    let answer = NotificationAnswer { has_msg: Some(has_message), polling_full: Some(is_full) };
    Ok(Command { fields: answer.to_fields(), ..done(request) })
}

/// Leases that are not told of are free again, and the delivery does not count.
async fn free(core: &Core, lease: LeaseOwner, lost: Vec<types::ReceiptHandle>) {
    if lost.is_empty() {
        return;
    }
    let (written, unwanted) = (Vec::new(), Vec::new());
    core.broker.report_delivery(DeliveryReport { lease, client: CLIENT.into(), written, lost, unwanted }).await;
}

/// Clients read the same fields whatever the code.
fn nothing(request: &Command, code: ResponseCode, now: Timestamp, invisible: Duration) -> Command {
    let header = PopMessageAnswer {
        pop_time: now.0,
        invisible_time: pop_answer::ms(invisible),
        revive_qid: 0,
        rest_num: 0,
        start_offset_info: None,
        msg_offset_info: None,
        order_count_info: None,
    };
    let remark = Some("NO_MESSAGE_IN_QUEUE".to_owned());
    Command { fields: header.to_fields(), remark, ..request.answer(code) }
}

/// How much of a wait is left, told when it was asked for (0 is now); `None` when who asked has given up. The clock of who asked
/// counts, as it does for Apache's broker, but nobody waits for longer than was asked.
fn wait_left(born_ms: i64, poll_ms: i64, now: Timestamp) -> Option<Duration> {
    let left_ms = if born_ms <= 0 { poll_ms } else { born_ms.saturating_add(poll_ms).saturating_sub(now.0) };
    let left_ms = left_ms.min(poll_ms);
    (left_ms >= -LATE_MS_MAX).then(|| Duration::from_millis(u64::try_from(left_ms).unwrap_or_default()))
}

/// The filter of a pop; without an expression all is wanted.
fn filter(expression_type: Option<&str>, text: Option<&str>) -> Result<Arc<Filter>, Refusal> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => pull::parse(expression_type, text).map(Arc::new),
        None => Ok(Arc::new(Filter::All)),
    }
}

/// How many messages one pop may lease.
pub(super) fn messages_max(asked: i64) -> Result<u32, Refusal> {
    let limit = Pop::MESSAGES_MAX;
    u32::try_from(asked)
        .ok()
        .filter(|count| (1..=limit).contains(count))
        .ok_or_else(|| Refusal::invalid(format!("maxMsgNums is {asked}, expected 1 to {limit}")))
}

/// A time of so many ms.
pub(super) fn duration(name: &str, ms: i64) -> Result<Duration, Refusal> {
    let ms = u64::try_from(ms).map_err(|_| Refusal::invalid(format!("{name} is {ms} ms, expected 0 or more")))?;
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_its_client_expects_it() {
        let left = |born, poll, now| wait_left(born, poll, Timestamp(now)).map(|left| left.as_millis());
        assert_eq!(left(0, 20_000, 5_000), Some(20_000));
        assert_eq!(left(1_000, 20_000, 5_000), Some(16_000));
        // A clock that is ahead of ours.
        assert_eq!(left(9_000, 20_000, 5_000), Some(20_000));
        assert_eq!(left(1_000, 0, 1_500), Some(0));
        assert_eq!(left(1_000, 0, 1_501), None);
        assert_eq!(left(i64::MAX, i64::MAX, 0), Some(i64::MAX as u128));
    }
}
