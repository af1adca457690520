//! How far topics and groups are. Source: Apache 5.5 `AdminBrokerProcessor#getTopicStatsInfo`, `#getConsumeStats`.

use std::collections::BTreeSet;

use remoting_proto::Command;
use remoting_proto::body::{ConsumeOffset, GroupList, MessageQueue, QueueTable, TopicOffset};
use remoting_proto::requests::{GetConsumeStats, TopicName as Named};
use types::admin::GroupProgress;
use types::broker::LookupError;
use types::{Admin as _, QueueId, QueueOffset, Timestamp, TopicName};

use super::names::{group, number};
use super::{Answer, Refusal, done, json};
use crate::server::Core;

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
    Ok(Command { body: QueueTable(table).to_body("topicPutTps").into(), ..done(request) })
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

/// How far a group is on each queue that it has consumed from.
pub(super) async fn of_group(core: &Core, request: &Command) -> Answer {
    let GetConsumeStats { consumer_group, topic } = GetConsumeStats::of(&request.fields)?;
    let only = topic.filter(|topic| !topic.is_empty());
    let group = group(&consumer_group)?;
    let progress = core.broker.describe_group(&group).await?.progress;
    let mut table = Vec::with_capacity(progress.len());
    for GroupProgress { topic, queue, is_retry, committed, end, .. } in progress {
        if only.as_ref().is_some_and(|only| *only != topic.as_str()) {
            continue;
        }
        let topic = if is_retry { TopicName::retry(&group, &topic).unwrap_or(topic) } else { topic };
        let committed_at = core.broker.stored_at(&topic, queue, QueueOffset(committed.0.saturating_sub(1))).await?;
        let offsets = ConsumeOffset {
            broker_offset: number(end),
            consumer_offset: number(committed),
            last_timestamp: committed_at.unwrap_or_default().0,
            pull_offset: number(committed),
        };
        table.push((message_queue(core, &topic, queue), offsets));
    }
    Ok(Command { body: QueueTable(table).to_body("consumeTps").into(), ..done(request) })
}

/// Groups that consume a topic, or have.
pub(super) async fn consumers_of(core: &Core, request: &Command) -> Answer {
    let Named { topic } = Named::of(&request.fields)?;
    let mut group_list: BTreeSet<String> = core.clients.lock().groups_of(&topic).map(str::to_owned).collect();
    for config in core.broker.groups().await? {
        let progress = core.broker.describe_group(&config.name).await.map_err(Refusal::from)?.progress;
        if progress.iter().any(|at| at.topic.as_str() == topic) {
            group_list.insert(config.name.to_string());
        }
    }
    Ok(json(request, &GroupList { group_list }))
}

fn message_queue(core: &Core, topic: &TopicName, queue: QueueId) -> MessageQueue {
    MessageQueue {
        broker_name: core.name().to_owned(),
        queue_id: i32::try_from(queue.0).unwrap_or(i32::MAX),
        topic: topic.to_string(),
    }
}
