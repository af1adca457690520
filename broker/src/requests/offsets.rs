//! Where queues begin and end, where groups are on them, and the record at a place of the log.
//! Source: Apache 5.5 `ConsumerManageProcessor`, `AdminBrokerProcessor`.

use remoting_proto::requests::{
    EarliestMsgStoreTimeAnswer, OffsetAnswer, QueryConsumerOffset, SearchOffset, TopicQueue, UpdateConsumerOffset,
    ViewMessage,
};
use remoting_proto::{Command, ResponseCode};
use types::broker::OffsetAt;
use types::{Admin as _, Broker as _, PhysicalOffset, QueueOffset, Timestamp};

use super::names::{group, known_topic, number, queue};
use super::{Answer, Refusal, done};
use crate::resets;
use crate::server::Core;

/// Where a group is. Of a group that is new on a queue this decides whether it begins at the queue's first message.
pub(super) async fn query(core: &Core, request: &Command) -> Answer {
    let header = QueryConsumerOffset::of(&request.fields)?;
    let place = (group(&header.consumer_group)?, known_topic(core, &header.topic)?, queue(header.queue_id)?);
    let committed = committed(core, &place).await?;
    let (group, topic, queue) = place;
    let begins = match committed {
        None if header.set_zero_if_not_found != Some(false) => core.broker.young_beginning(&topic, queue).await?,
        committed => committed,
    };
    match begins {
        Some(offset) => Ok(of_offset(request, offset)),
        None => {
            let remark = format!("group {group} has committed nothing on queue {queue} of topic {topic}");
            Err(Refusal::new(ResponseCode::QueryNotFound, remark))
        }
    }
}

/// Where a group is: what a slave takes in its master's stead counts too.
pub(super) async fn committed(core: &Core, queue: &resets::Queue) -> Result<Option<QueueOffset>, Refusal> {
    let (group, topic, number) = queue;
    let committed = core.broker.committed_offset(group, topic, *number).await?;
    let acting = core.acting.as_ref().filter(|_| core.broker.is_slave());
    Ok(acting.map_or(committed, |acting| acting.committed(queue, committed)))
}

/// Commits a group's offset.
pub(super) async fn update(core: &Core, request: &Command) -> Answer {
    let header = UpdateConsumerOffset::of(&request.fields)?;
    let (group, topic, queue) =
        (group(&header.consumer_group)?, known_topic(core, &header.topic)?, queue(header.queue_id)?);
    let Ok(committed) = u64::try_from(header.commit_offset) else {
        return Err(Refusal::invalid(format!("offset to commit is {}, expected 0 or more", header.commit_offset)));
    };
    commit(core, &(group, topic, queue), QueueOffset(committed)).await?;
    Ok(done(request))
}

/// Commits a group's offset, unless the group is about to go on elsewhere: what it was at does not count then.
pub(super) async fn commit(core: &Core, queue: &resets::Queue, committed: QueueOffset) -> Result<(), Refusal> {
    if core.resets.lock().expected(queue).is_some() {
        return Ok(());
    }
    let (group, topic, number) = queue;
    if let Some(acting) = core.acting.as_ref().filter(|acting| acting.stands_in()) {
        let known = core.broker.committed_offset(group, topic, *number).await?;
        return Ok(acting.commit(queue, known, committed)?);
    }
    core.broker.commit_offset(group, topic, *number, committed).await?;
    // A reset that began meanwhile may have come before the commit.
    let to = core.resets.lock().expected(queue);
    if let Some(to) = to {
        core.broker.reset_offset(group, topic, *number, to).await?;
    }
    Ok(())
}

pub(super) async fn max(core: &Core, request: &Command) -> Answer {
    at(core, request, OffsetAt::End).await
}

pub(super) async fn min(core: &Core, request: &Command) -> Answer {
    at(core, request, OffsetAt::Beginning).await
}

async fn at(core: &Core, request: &Command, at: OffsetAt) -> Answer {
    let header = TopicQueue::of(&request.fields)?;
    let found = core.broker.queue_offset(&known_topic(core, &header.topic)?, queue(header.queue_id)?, at).await?;
    Ok(of_offset(request, found))
}

/// The first message at or after a time, or the last at or before it.
pub(super) async fn search(core: &Core, request: &Command) -> Answer {
    let header = SearchOffset::of(&request.fields)?;
    let (topic, queue) = (known_topic(core, &header.topic)?, queue(header.queue_id)?);
    let first_at = async |time| core.broker.queue_offset(&topic, queue, OffsetAt::Time(Timestamp(time))).await;
    let is_upper = header.boundary_type.is_some_and(|kind| kind.eq_ignore_ascii_case("upper"));
    let found = if is_upper {
        QueueOffset(first_at(header.timestamp.saturating_add(1)).await?.0.saturating_sub(1))
    } else {
        first_at(header.timestamp).await?
    };
    Ok(of_offset(request, found))
}

/// When a queue's first message was stored; -1 if it has none.
pub(super) async fn earliest(core: &Core, request: &Command) -> Answer {
    let header = TopicQueue::of(&request.fields)?;
    let (topic, queue) = (known_topic(core, &header.topic)?, queue(header.queue_id)?);
    let first = core.broker.queue_offset(&topic, queue, OffsetAt::Beginning).await?;
    let stored_at = core.broker.stored_at(&topic, queue, first).await?;
    let answer = EarliestMsgStoreTimeAnswer { timestamp: stored_at.map_or(-1, |time| time.0) };
    Ok(Command { fields: answer.to_fields(), ..done(request) })
}

/// The record at a place of the log.
pub(super) async fn view(core: &Core, request: &Command) -> Answer {
    let header = ViewMessage::of(&request.fields)?;
    let position = PhysicalOffset(u64::try_from(header.offset).unwrap_or(u64::MAX));
    match core.broker.message_at(position).await? {
        Some(body) => Ok(Command { body, ..done(request) }),
        None => {
            let remark = format!("no message is at position {}", header.offset);
            Err(Refusal::new(ResponseCode::SystemError, remark))
        }
    }
}

fn of_offset(request: &Command, offset: QueueOffset) -> Command {
    let answer = OffsetAnswer { offset: Some(number(offset)) };
    Command { fields: answer.to_fields(), ..done(request) }
}
