//! A 4.x consumer hands a message back that it failed to consume: a copy waits and comes again through the group's retry topic, or is
//! given up. Source: Apache 5.5 `AbstractSendMessageProcessor#consumerSendMsgBack`.

use bytes::Bytes;
use record::Record;
use remoting_proto::requests::ConsumerSendMsgBack;
use remoting_proto::{Command, ResponseCode};
use types::broker::{LeaseOwner, SendError};
use types::properties::names;
use types::{Admin as _, Broker as _, GroupName, Message, PhysicalOffset, Properties, QueueId, SysFlag, TopicName};

use super::names::{PRODUCERS_SYS_FLAG, TIMES, group, make_group_topic};
use super::{Answer, Refusal, done};
use crate::copy;
use crate::server::Core;

/// The delay level of a message's first retry: 10 s.
const FIRST_LEVEL: i64 = 3;
/// How the remark begins that a record is gone, by which Apache's clients and proxies know that asking again is of no use.
/// Source: Apache 5.5 `AbstractSendMessageProcessor#consumerSendMsgBack`.
const RECORD_GONE: &str = "look message by offset failed";

/// On return the copy is stored; the consumer then commits behind the message.
pub(super) async fn send_back(core: &Core, request: &Command) -> Answer {
    let header = ConsumerSendMsgBack::of(&request.fields)?;
    let group = group(&header.group)?;
    let config = core.broker.group(&group).await?;
    let position = PhysicalOffset(u64::try_from(header.offset).unwrap_or(u64::MAX));
    let Some(bytes) = core.broker.message_at(position).await? else {
        let remark = format!("{RECORD_GONE}, no message is at position {}", header.offset);
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    };
    let damaged = |error| Refusal::new(ResponseCode::SystemError, format!("the message cannot be read: {error}"));
    let record = record::decode(&bytes).map_err(damaged)?;
    core.statistics.lock().send_back(record.topic, group.as_str(), core.now());
    if header.delay_level < 0 && give_up(core, &group, &record).await? {
        return Ok(done(request));
    }
    let mut message = returned(&bytes, &record, core)?;
    let retries_max = header.max_reconsume_times.unwrap_or(i64::from(config.attempts_max) - 1);
    let retries = i64::from(message.reconsume_times);
    message.topic = if header.delay_level < 0 || retries >= retries_max {
        let topic = message.properties.get(names::RETRY_TOPIC).unwrap_or_default().to_owned();
        own(&mut message.properties, names::DLQ_ORIGIN_TOPIC, &topic)?;
        let id = message.properties.get(names::UNIQUE_KEY).unwrap_or_default().to_owned();
        own(&mut message.properties, names::DLQ_ORIGIN_MESSAGE_ID, &id)?;
        make_group_topic(core, TopicName::dead_letter(&group)).await?
    } else {
        let level = if header.delay_level == 0 { FIRST_LEVEL + retries } else { header.delay_level };
        own(&mut message.properties, names::DELAY_LEVEL, &level.to_string())?;
        make_group_topic(core, TopicName::group_retry(&group)).await?
    };
    // 32 bits with a sign on the wire.
    message.reconsume_times = message.reconsume_times.saturating_add(1).min(i32::MAX.cast_unsigned());
    let stored: Result<Vec<_>, SendError> = core.broker.send(QueueId(0), vec![message]).await.into_iter().collect();
    stored?;
    Ok(done(request))
}

/// Moves a popped message, as who forwards it by its handle does: a forward that is repeated is the same again, and the lease ends with
/// it. `false` for one that was pulled: only a copy can be made of it.
async fn give_up(core: &Core, group: &GroupName, record: &Record<'_>) -> Result<bool, Refusal> {
    let owner = LeaseOwner { group: group.clone(), topic: TopicName::new(record.topic)? };
    Ok(core.broker.give_up(owner, record.header.queue, record.header.queue_offset).await?)
}

/// The message again, with the properties by which 4.x consumers know what it was first.
fn returned(bytes: &Bytes, record: &Record<'_>, core: &Core) -> Result<Message, Refusal> {
    let header = &record.header;
    let mut properties = Properties::parse(record.properties);
    // A copy's times are its own.
    for name in TIMES {
        properties.remove(name);
    }
    if properties.get(names::RETRY_TOPIC).is_none() {
        own(&mut properties, names::RETRY_TOPIC, record.topic)?;
    }
    if properties.get(names::ORIGIN_MESSAGE_ID).is_none() {
        let id = record::offset_message_id(core.options.advertised, header.physical_offset);
        own(&mut properties, names::ORIGIN_MESSAGE_ID, &id)?;
    }
    let sys_flag = SysFlag(header.sys_flag.0 & PRODUCERS_SYS_FLAG);
    let topic = TopicName::new(record.topic)?;
    Ok(Message { properties, sys_flag, source_offset: 0, ..copy::message(bytes, record, topic) })
}

fn own(properties: &mut Properties, name: &'static str, value: &str) -> Result<(), Refusal> {
    properties.set(name, value).map_err(|error| Refusal::new(ResponseCode::MessageIllegal, error.to_string()))
}
