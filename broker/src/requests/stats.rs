//! What topics have, and what was counted. Source: Apache 5.5 `AdminBrokerProcessor#getTopicStatsInfo`, `#ViewBrokerStatsData`,
//! `#queryConsumeQueue`.

use remoting_proto::body::{QueueEntries, QueueEntry, QueueTable, TopicOffset};
use remoting_proto::requests::{QueryConsumeQueue, TopicName as Named, ViewBrokerStatsData};
use remoting_proto::{Command, ResponseCode};
use types::broker::{LookupError, OffsetAt, PullError};
use types::{Admin as _, Broker as _, QueueId, QueueOffset, Timestamp, TopicName};

use super::names::{known_topic, message_queue, number, offset};
use super::{Answer, Refusal, done, json};
use crate::command::PulledEntries;
use crate::server::Core;

/// Most entries of a queue that are told at once.
const ENTRIES_MAX: u32 = 1024;

/// First and end offset of each queue of a topic, and when something was stored there last.
pub(super) async fn of_topic(core: &Core, request: &Command) -> Answer {
    let Named { topic } = Named::of(&request.fields)?;
    let topic = TopicName::new(&topic)?;
    let queues = core.broker.describe_topic(&topic).await?.queues;
    let mut table = Vec::with_capacity(queues.len());
    for (queue, (first, end)) in (0..).map(QueueId).zip(queues) {
        let last = stored_before(core, &topic, queue, first, end).await?;
        let offsets = TopicOffset {
            last_update_timestamp: last.unwrap_or_default().0,
            max_offset: number(end),
            min_offset: number(first),
        };
        table.push((message_queue(core, &topic, queue), offsets));
    }
    let rate = core.statistics.lock().topic_rate(topic.as_str(), core.now());
    let body = QueueTable(table).to_members(&format!("\"topicPutTps\":{rate:?},"));
    Ok(Command { body: body.into(), ..done(request) })
}

async fn stored_before(
    core: &Core,
    topic: &TopicName,
    queue: QueueId,
    first: QueueOffset,
    end: QueueOffset,
) -> Result<Option<Timestamp>, LookupError> {
    if end <= first {
        return Ok(None);
    }
    core.broker.stored_at(topic, queue, QueueOffset(end.0 - 1)).await
}

/// What was counted under one of Apache's names.
pub(super) fn view(core: &Core, request: &Command) -> Answer {
    let ViewBrokerStatsData { stats_name, stats_key } = ViewBrokerStatsData::of(&request.fields)?;
    let data = core.statistics.lock().view(&stats_name, &stats_key, core.now());
    let nothing =
        || Refusal::new(ResponseCode::SystemError, format!("nothing was counted of {stats_name} {stats_key}"));
    Ok(json(request, &data.ok_or_else(nothing)?))
}

/// Entries of a queue.
pub(super) async fn entries(core: &Core, request: &Command) -> Answer {
    let header = QueryConsumeQueue::of(&request.fields)?;
    let (topic, queue) = (known_topic(core, &header.topic)?, super::names::queue(header.queue_id)?);
    let first = core.broker.queue_offset(&topic, queue, OffsetAt::Beginning).await?;
    let end = core.broker.queue_offset(&topic, queue, OffsetAt::End).await?;
    let count = u32::try_from(header.count).unwrap_or_default().min(ENTRIES_MAX);
    let found = match core.broker.entries_of(&topic, queue, offset(header.index), count).await {
        Ok(PulledEntries { entries, .. }) => entries,
        Err(PullError::OffsetOutOfRange { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let subscription = header.consumer_group.as_deref().map(|group| {
        let known = core.clients.lock().subscription(group, &header.topic).flatten().cloned();
        (known, format!("{group}@{topic} is not online!"))
    });
    let (subscription_data, offline) = subscription.unzip();
    let subscription_data = subscription_data.flatten();
    let entry = |entry: &store::QueueEntry| QueueEntry {
        physic_offset: entry.physical_offset.0.cast_signed(),
        physic_size: entry.record_bytes.into(),
        tags_code: entry.tag_hash.into(),
    };
    let body = QueueEntries {
        filter_data: offline.filter(|_| subscription_data.is_none()),
        subscription_data,
        queue_data: found.iter().take(count as usize).map(entry).collect(),
        max_queue_index: number(end),
        min_queue_index: number(first),
    };
    Ok(json(request, &body))
}
