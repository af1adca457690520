//! From a request's names and numbers to ours.

use remoting_proto::ResponseCode;
use remoting_proto::body::MessageQueue;
use types::admin::AdminError;
use types::broker::{LookupError, PopError};
use types::properties::names;
use types::{Admin as _, GroupName, QueueId, QueueOffset, TopicName};

use super::Refusal;
use crate::catalog::auto_topic;
use crate::server::Core;

/// Bits of a message that its producer decides: compressed, several tags, and how it is compressed.
pub(crate) const PRODUCERS_SYS_FLAG: u32 = 0x703;
/// The receipt handle of a popped message as a property, which only a broker may set. Source: `MessageConst.PROPERTY_POP_CK`.
pub(super) const POP_CHECK: &str = "POP_CK";
/// Who waits for a reply to a message. Source: `MessageConst.PROPERTY_MESSAGE_REPLY_TO_CLIENT`.
pub(super) const REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
/// The cluster that a message was sent to, by which its consumers know the topic of replies. Source: `MessageConst.PROPERTY_CLUSTER`.
pub(super) const CLUSTER: &str = "CLUSTER";
/// The region that traces of a message name. Source: `MessageConst.PROPERTY_MSG_REGION`.
pub(super) const MESSAGE_REGION: &str = "MSG_REGION";
/// Whether clients tell traces of a message. Source: `MessageConst.PROPERTY_TRACE_SWITCH`.
pub(super) const TRACE_ON: &str = "TRACE_ON";
/// Properties that decide when a message is delivered.
pub(super) const TIMES: [&str; 5] = [
    names::TIMER_DELIVER_MS,
    names::TIMER_OUT_MS,
    names::TIMER_DELAY_MS,
    names::TIMER_DELAY_SECONDS,
    names::DELAY_LEVEL,
];

/// Longest name of a client that is remembered, in bytes. Clients make theirs of an address, a process id and a counter.
const CLIENT_ID_BYTES_MAX: usize = 255;

/// A client's name, not longer than what may be remembered of each.
pub(super) fn check_client(id: &str) -> Result<(), Refusal> {
    match id.len() {
        ..=CLIENT_ID_BYTES_MAX => Ok(()),
        bytes => {
            Err(Refusal::invalid(format!("the client id has {bytes} bytes, at most {CLIENT_ID_BYTES_MAX} allowed")))
        }
    }
}

/// Not more of something than one request may bring.
pub(super) fn check_count(what: &str, count: usize, count_max: usize) -> Result<(), Refusal> {
    if count <= count_max {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{count} {what}, at most {count_max} allowed")))
}

pub(super) fn queue(number: i64) -> Result<QueueId, Refusal> {
    let id = u32::try_from(number).map_err(|_| Refusal::invalid(format!("queue is {number}, expected 0 or more")))?;
    Ok(QueueId(id))
}

/// A topic that is there: reads make none, so that a topic that was deleted stays away while its consumers go on asking.
pub(super) fn known_topic(core: &Core, name: &str) -> Result<TopicName, Refusal> {
    let topic = TopicName::new(name)?;
    match core.broker.known_topic(&topic) {
        Some(_) => Ok(topic),
        None => Err(LookupError::TopicNotFound { topic }.into()),
    }
}

/// Whether a group may read a topic now, as operators set it of the broker and of the group. What is set of the topic itself is the
/// broker's matter. Source: Apache 5.5 `PullMessageProcessor`.
pub(super) fn check_readable(core: &Core, group: &GroupName, topic: &TopicName) -> Result<(), Refusal> {
    let refused = |remark: String| Err(Refusal::new(ResponseCode::NoPermission, remark));
    if !core.settings.lock().permission.is_readable() {
        return refused(format!("broker {} may not be read: its brokerPermission says so", core.name()));
    }
    if core.forbidden.lock().has(group, topic) {
        return refused(format!("consumer group {group} is forbidden to read topic {topic}"));
    }
    Ok(())
}

/// The same after a wait, during which operators may have changed what they allow, of the topic too.
pub(super) fn check_still_readable(core: &Core, group: &GroupName, topic: &TopicName) -> Result<(), Refusal> {
    check_readable(core, group, topic)?;
    if core.broker.known_topic(topic).is_some_and(|config| !config.is_readable) {
        return Err(PopError::NotReadable { topic: topic.clone() }.into());
    }
    Ok(())
}

/// An offset on the wire; below 0 is 0.
pub(super) fn offset(number: i64) -> QueueOffset {
    QueueOffset(u64::try_from(number).unwrap_or_default())
}

/// The wire's number of an offset.
pub(super) fn number(offset: QueueOffset) -> i64 {
    offset.0.cast_signed()
}

/// Makes a topic of the broker's own, if it is not there: for the messages that a group's consumers failed to consume, or that are given
/// up, or for what clients tell of theirs. It is made even where clients may make no topics.
pub(super) async fn make_group_topic(core: &Core, name: TopicName) -> Result<TopicName, Refusal> {
    if core.broker.known_topic(&name).is_none() {
        make_topic(core, &name, 1).await?;
    }
    Ok(name)
}

/// Makes a topic on its first use. That another request made it meanwhile is fine.
pub(super) async fn make_topic(core: &Core, name: &TopicName, queues: u32) -> Result<(), Refusal> {
    match core.broker.put_topic(auto_topic(name.clone(), queues), false).await {
        Ok(()) | Err(AdminError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A queue of ours as tools name it.
pub(super) fn message_queue(core: &Core, topic: &TopicName, queue: QueueId) -> MessageQueue {
    MessageQueue {
        broker_name: core.name().to_owned(),
        queue_id: i32::try_from(queue.0).unwrap_or(i32::MAX),
        topic: topic.to_string(),
    }
}

/// A group's name as its clients say it.
pub(super) fn group(name: &str) -> Result<GroupName, Refusal> {
    Ok(GroupName::new(name)?)
}
