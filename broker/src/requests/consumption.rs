//! What groups consume and how far they are, for operators' tools. Source: Apache 5.5 `AdminBrokerProcessor`.

use std::collections::{BTreeMap, BTreeSet};

use remoting_proto::Command;
use remoting_proto::body::{
    BrokerConsumeStats, ConsumeOffset, ConsumeTimeSpans, CorrectionOffsets, GroupList, GroupSubscription, QueueTable,
    QueueTimeSpan, TopicList,
};
use remoting_proto::requests::{
    GetBrokerConsumeStats, GetConsumeStats, GroupName as NamedGroup, GroupTopic, QueryCorrectionOffset,
    TopicName as Named,
};
use types::admin::GroupProgress;
use types::broker::OffsetAt;
use types::{Admin as _, Broker as _, GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::names::{group, known_topic, message_queue, number};
use super::{Answer, Refusal, done, json};
use crate::server::Core;

/// How far a group is on each queue of the topics that it has consumed from.
pub(super) async fn of_group(core: &Core, request: &Command) -> Answer {
    let header = GetConsumeStats::of(&request.fields)?;
    let group = group(&header.consumer_group)?;
    let progress = core.broker.describe_group(&group).await?.progress;
    let known = by_topic(&group, &progress);
    let listed = header.topic_list.as_deref().unwrap_or_default();
    let listed: BTreeSet<_> = listed.split(';').filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
    let topics = match header.topic.filter(|topic| !topic.is_empty()) {
        _ if !listed.is_empty() => listed,
        Some(only) => BTreeSet::from([only]),
        None => known.keys().cloned().collect(),
    };
    let subscribed = core.clients.lock().subscribed(group.as_str()).filter(|_| header.topic_list.is_none());
    let (mut table, mut rate, now) = (Vec::new(), 0.0, core.now());
    for topic in topics.iter().filter(|topic| subscribed.as_ref().is_none_or(|known| known.contains(*topic))) {
        table.extend(of_topic(core, topic, known.get(topic)).await?.0);
        rate += core.statistics.lock().group_rate(topic, group.as_str(), now);
    }
    let body = QueueTable(table).to_members(&format!("\"consumeTps\":{rate:?},"));
    Ok(Command { body: body.into(), ..done(request) })
}

/// The same of all groups.
pub(super) async fn of_broker(core: &Core, request: &Command) -> Answer {
    let header = GetBrokerConsumeStats::of(&request.fields)?;
    let mut groups = Vec::new();
    // No topic is consumed in order for its own sake here: that is the group's matter.
    let configs = if header.is_order == Some(true) { Vec::new() } else { core.broker.groups().await? };
    for config in configs {
        let progress = core.broker.describe_group(&config.name).await?.progress;
        let subscribed = core.clients.lock().subscribed(config.name.as_str());
        let mut tables = Vec::new();
        for (topic, known) in by_topic(&config.name, &progress) {
            if subscribed.as_ref().is_none_or(|subscribed| subscribed.contains(&topic)) {
                tables.push(of_topic(core, &topic, Some(&known)).await?);
            }
        }
        groups.push((config.name.to_string(), tables));
    }
    let body = BrokerConsumeStats { broker_addr: core.options.advertised.to_string(), groups }.to_body();
    Ok(Command { body: body.into(), ..done(request) })
}

/// How far a group is, by queue.
type Known<'a> = BTreeMap<QueueId, &'a GroupProgress>;

/// The topics that a group has consumed from, its retry topics among them, and how far it is there.
fn by_topic<'a>(group: &GroupName, progress: &'a [GroupProgress]) -> BTreeMap<String, Known<'a>> {
    let mut topics: BTreeMap<String, Known<'a>> = BTreeMap::new();
    for at in progress {
        let retry = at.is_retry.then(|| TopicName::retry(group, &at.topic)).flatten();
        let topic = retry.as_ref().unwrap_or(&at.topic).to_string();
        // A queue is there once.
        topics.entry(topic).or_default().entry(at.queue).or_insert(at);
    }
    topics
}

/// All queues of a topic that is there.
async fn of_topic(core: &Core, topic: &str, known: Option<&Known<'_>>) -> Result<QueueTable<ConsumeOffset>, Refusal> {
    let Ok(topic) = TopicName::new(topic) else { return Ok(QueueTable::default()) };
    let queues = core.broker.known_topic(&topic).map_or(0, |config| config.read_queues);
    let mut table = Vec::new();
    for queue in (0..queues).map(QueueId) {
        let known = known.and_then(|known| known.get(&queue));
        let committed = known.map_or(QueueOffset(0), |at| at.committed);
        let end = match known {
            Some(at) => at.end,
            None => core.broker.queue_offset(&topic, queue, OffsetAt::End).await?,
        };
        let offsets = ConsumeOffset {
            broker_offset: number(end),
            consumer_offset: number(committed),
            last_timestamp: before(core, &topic, queue, committed).await?.unwrap_or_default().0,
            pull_offset: number(committed.plus(known.map_or(0, |at| at.in_flight)).min(end.max(committed))),
        };
        table.push((message_queue(core, &topic, queue), offsets));
    }
    Ok(QueueTable(table))
}

/// When the message before an offset was stored.
async fn before(
    core: &Core,
    topic: &TopicName,
    queue: QueueId,
    offset: QueueOffset,
) -> Result<Option<Timestamp>, Refusal> {
    match offset.0.checked_sub(1) {
        Some(before) => Ok(core.broker.stored_at(topic, queue, QueueOffset(before)).await?),
        None => Ok(None),
    }
}

/// Groups that consume a topic, or have.
pub(super) async fn groups_of(core: &Core, request: &Command) -> Answer {
    let Named { topic } = Named::of(&request.fields)?;
    let mut group_list: BTreeSet<String> = core.clients.lock().groups_of(&topic).map(str::to_owned).collect();
    for config in core.broker.groups().await? {
        let progress = core.broker.describe_group(&config.name).await?.progress;
        if progress.iter().any(|at| at.topic.as_str() == topic) {
            group_list.insert(config.name.to_string());
        }
    }
    Ok(json(request, &GroupList { group_list }))
}

/// The lowest offsets of a topic's groups, where one of them is not behind the others: there the answer is as high as can be.
/// Source: Apache 5.5 `AdminBrokerProcessor#queryCorrectionOffset`.
pub(super) async fn corrections(core: &Core, request: &Command) -> Answer {
    let QueryCorrectionOffset { topic, compare_group, filter_groups } = QueryCorrectionOffset::of(&request.fields)?;
    let topic = known_topic(core, &topic)?;
    let left_out: BTreeSet<&str> = filter_groups.as_deref().unwrap_or_default().split(',').collect();
    let (mut lowest, mut compared) = (BTreeMap::new(), Vec::new());
    for config in core.broker.groups().await? {
        let progress = core.broker.describe_group(&config.name).await?.progress;
        for at in progress.into_iter().filter(|at| at.topic == topic && !at.is_retry) {
            let (queue, committed) = (i32::try_from(at.queue.0).unwrap_or(i32::MAX), number(at.committed));
            if config.name.as_str() == compare_group {
                compared.push((queue, committed));
            }
            let first = core.broker.queue_offset(&topic, at.queue, OffsetAt::Beginning).await?;
            if !left_out.contains(config.name.as_str()) && at.committed >= first {
                lowest.entry(queue).and_modify(|known: &mut i64| *known = committed.min(*known)).or_insert(committed);
            }
        }
    }
    for (queue, committed) in compared {
        lowest.entry(queue).and_modify(|known| *known = if *known > committed { i64::MAX } else { *known });
    }
    Ok(json(request, &CorrectionOffsets { correction_offsets: lowest }))
}

/// The topics that a group has consumed from.
pub(super) async fn topics_of(core: &Core, request: &Command) -> Answer {
    let NamedGroup { group: name } = NamedGroup::of(&request.fields)?;
    let group = group(&name)?;
    let progress = core.broker.describe_group(&group).await?.progress;
    let topic_list = by_topic(&group, &progress).into_keys().collect();
    Ok(json(request, &TopicList { broker_addr: Some(core.options.advertised.to_string()), topic_list }))
}

/// What a group subscribes to of a topic.
pub(super) fn subscription(core: &Core, request: &Command) -> Answer {
    let GroupTopic { group, topic } = GroupTopic::of(&request.fields)?;
    let subscription_data = core.clients.lock().subscription(&group, &topic).flatten().cloned();
    Ok(json(request, &GroupSubscription { group, topic, subscription_data }))
}

/// When what a group has consumed of a topic was stored, and for how long the next waits.
pub(super) async fn time_spans(core: &Core, request: &Command) -> Answer {
    let GroupTopic { group: name, topic } = GroupTopic::of(&request.fields)?;
    let (group, topic) = (group(&name)?, known_topic(core, &topic)?);
    let mut consume_time_span_set = Vec::new();
    for (queue, (first, end)) in (0..).map(QueueId).zip(core.broker.describe_topic(&topic).await?.queues) {
        let stored_at = async |offset| core.broker.stored_at(&topic, queue, offset).await;
        let ms = |time: Option<Timestamp>| time.map_or(-1, |time| time.0);
        let committed = core.broker.committed_offset(&group, &topic, queue).await?.unwrap_or(first);
        let min_time_stamp = ms(if first < end { stored_at(first).await? } else { None });
        let consumed = before(core, &topic, queue, committed).await?;
        let next = if committed < end { stored_at(committed).await? } else { None };
        consume_time_span_set.push(QueueTimeSpan {
            message_queue: message_queue(core, &topic, queue),
            min_time_stamp,
            max_time_stamp: ms(if first < end { before(core, &topic, queue, end).await? } else { None }),
            consume_time_stamp: consumed.map_or(min_time_stamp, |time| time.0),
            delay_time: next.map_or(0, |next| core.now().0 - next.0),
        });
    }
    Ok(json(request, &ConsumeTimeSpans { consume_time_span_set }))
}
