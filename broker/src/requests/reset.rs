//! Where groups go on, as operators set it. Source: Apache 5.5 `AdminBrokerProcessor#resetOffset`, `#cloneGroupOffset`,
//! `Broker2Client#resetOffset`.

use std::collections::BTreeSet;

use remoting_proto::body::{MessageQueue, QueueTable};
use remoting_proto::requests::{CloneGroupOffset, ResetOffset};
use remoting_proto::{Command, RequestCode, ResponseCode};
use types::admin::GroupProgress;
use types::broker::{LookupError, OffsetAt};
use types::{Admin as _, Broker as _, GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::names::{group, known_topic, message_queue, number, offset};
use super::{Answer, Refusal, done};
use crate::server::Core;

/// Consumers before 5.0 are told themselves: V5_0_0. Those after it go on as their next pull is answered, without the 10 s in which the
/// others stand still.
const VERSION_PULLS: i32 = 413;

/// Lets a group go on elsewhere, at once: its leases end, and who pulls is told.
pub(super) async fn reset(core: &Core, request: &Command) -> Answer {
    let header = ResetOffset::of(&request.fields)?;
    let (group, topic) = (group(&header.group)?, known_topic(core, &header.topic)?);
    if !core.broker.groups().await?.iter().any(|config| config.name == group) {
        return Err(LookupError::GroupNotFound { group }.into());
    }
    let queues = match header.queue_id.filter(|queue| *queue >= 0) {
        Some(queue) => vec![super::names::queue(queue)?],
        None => {
            let queues = core.broker.known_topic(&topic).map_or(0, |config| config.read_queues);
            (0..queues).map(QueueId).collect()
        }
    };
    let mut table = Vec::with_capacity(queues.len());
    for queue in queues {
        table.push((queue, target(core, &header, &topic, queue).await?));
    }
    // First, so that what consumers commit from now on counts no more.
    expect(core, &group, &topic, &table);
    if let Err(error) = set(core, &group, &topic, &table).await {
        let mut resets = core.resets.lock();
        for (queue, _) in &table {
            let _ = resets.take(&(group.clone(), topic.clone(), *queue));
        }
        return Err(error.into());
    }
    tracing::info!(%group, %topic, timestamp = header.timestamp, queues = table.len(), "a group goes on elsewhere");
    core.resets_made.send_modify(|count| *count += 1);
    let body = told(core, &topic, &table);
    tell_old_consumers(core, &header, &body);
    Ok(Command { body: body.into(), ..done(request) })
}

async fn target(core: &Core, header: &ResetOffset, topic: &TopicName, queue: QueueId) -> Result<QueueOffset, Refusal> {
    let at = async |at| core.broker.queue_offset(topic, queue, at).await;
    match header.offset.filter(|offset| *offset >= 0 && header.queue_id.is_some_and(|queue| queue >= 0)) {
        None if header.timestamp < 0 => Ok(at(OffsetAt::End).await?),
        None => Ok(at(OffsetAt::Time(Timestamp(header.timestamp))).await?),
        Some(asked) => {
            let (first, end) = (at(OffsetAt::Beginning).await?, at(OffsetAt::End).await?);
            let asked = offset(asked);
            if (first..=end).contains(&asked) {
                return Ok(asked);
            }
            let remark = format!("offset {asked} is outside {first}..={end}");
            Err(Refusal::new(ResponseCode::SystemError, remark))
        }
    }
}

/// Who pulls learns from its next pull.
fn expect(core: &Core, group: &GroupName, topic: &TopicName, table: &[(QueueId, QueueOffset)]) {
    if core.clients.lock().consumers(group.as_str()).is_empty() {
        return;
    }
    let now = core.now();
    let mut resets = core.resets.lock();
    for (queue, to) in table {
        resets.expect((group.clone(), topic.clone(), *queue), *to, now);
    }
}

async fn set(
    core: &Core,
    group: &GroupName,
    topic: &TopicName,
    table: &[(QueueId, QueueOffset)],
) -> Result<(), LookupError> {
    for (queue, to) in table {
        core.broker.reset_offset(group, topic, *queue, *to).await?;
    }
    Ok(())
}

fn tell_old_consumers(core: &Core, header: &ResetOffset, body: &[u8]) {
    let consumers = core.clients.lock().consumers(&header.group);
    for (_, peer) in consumers.into_iter().filter(|(_, peer)| peer.version < VERSION_PULLS) {
        let told = ResetOffset { is_force: Some(true), queue_id: None, offset: None, ..header.clone() };
        let request = Command::request(RequestCode::ResetConsumerClientOffset, told.to_fields(), body.to_vec().into());
        // One that cannot be told finds out when it pulls.
        core.ask(peer.connection, request);
    }
}

fn told(core: &Core, topic: &TopicName, table: &[(QueueId, QueueOffset)]) -> Vec<u8> {
    let of = |(queue, to): &(QueueId, QueueOffset)| -> (MessageQueue, i64) {
        (message_queue(core, topic, *queue), number(*to))
    };
    QueueTable(table.iter().map(of).collect()).to_members("")
}

/// Gives a group the offsets of another. Failed messages that wait stay with their group.
pub(super) async fn clone(core: &Core, request: &Command) -> Answer {
    let header = CloneGroupOffset::of(&request.fields)?;
    let (source, target) = (group(&header.src_group)?, group(&header.dest_group)?);
    core.broker.group(&target).await?;
    let only = header.topic.filter(|topic| !topic.is_empty());
    let progress = core.broker.describe_group(&source).await?.progress;
    let subscribed: Option<BTreeSet<String>> = match header.offline {
        Some(true) => None,
        _ => core.clients.lock().subscribed(&header.src_group),
    };
    for GroupProgress { topic, queue, is_retry, committed, .. } in progress {
        let is_asked = only.as_ref().is_none_or(|only| *only == topic.as_str());
        let is_subscribed = subscribed.as_ref().is_none_or(|topics| topics.contains(topic.as_str()));
        let is_own = topic.retrying_group().is_some();
        if !is_retry && !is_own && is_asked && is_subscribed {
            core.broker.reset_offset(&target, &topic, queue, committed).await?;
        }
    }
    Ok(done(request))
}
