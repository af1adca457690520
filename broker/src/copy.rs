//! Copies of stored messages: the delivered, committed, parked or dead-lettered message, each naming its source.
//!
//! Pure: the source record's bytes go in, the message to append comes out. The body is shared, not copied.
//! Source of the properties: Apache `TimerMessageStore.convert`, `EndTransactionProcessor.endMessageTransaction`,
//! `AbstractTransactionalMessageCheckListener.toMessageExtBrokerInner`, `AbstractSendMessageProcessor`.

use bytes::Bytes;
use record::{Record, offset_message_id};
use types::broker::LeaseOwner;
use types::properties::names;
use types::{Message, PhysicalOffset, Properties, QueueId, QueueOffset, SysFlag, Timestamp, TopicName};

use crate::effect::DEAD_LETTER_SOURCE;
use crate::timer::{WHEEL_TOPIC, due};
use crate::transaction::PARK_TOPIC;

/// A message to append, and to which queue.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) message: Message,
    pub(crate) queue: QueueId,
    /// Set when it goes to the wheel topic: it waits until then.
    pub(crate) due: Option<Timestamp>,
}

/// A record that cannot be what its topic says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Record(#[from] record::Error),
    #[error("record at {offset} names no topic and queue that it is for")]
    NoTarget { offset: PhysicalOffset },
}

/// One of the system's own topics.
///
/// # Panics
/// When the name is not valid: a bug, the names are constants.
pub(crate) fn system_topic(name: &'static str) -> TopicName {
    TopicName::new(name).expect("the system's topics have valid names")
}

/// A delayed message whose time has come.
pub(crate) fn delivered(source: &Bytes) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let (topic, queue) = target(&record)?;
    let mut message = message(source, &record, topic);
    message.properties.remove(names::REAL_TOPIC);
    message.properties.remove(names::REAL_QUEUE_ID);
    Ok(Copy { message, queue, due: None })
}

/// A half message that was committed: delivered at once, or delayed if it asks for that.
pub(crate) fn committed(source: &Bytes, now: Timestamp) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let (topic, queue) = target(&record)?;
    let mut message = message(source, &record, topic);
    for name in [names::TRANSACTION_PREPARED, names::REAL_TOPIC, names::REAL_QUEUE_ID] {
        message.properties.remove(name);
    }
    message.sys_flag = message.sys_flag.without_transaction().with(SysFlag::TRANSACTION_COMMIT);
    Ok(match due::due(&message.properties, now).filter(|due| *due > now) {
        Some(due) => delayed(message, queue, due),
        None => Copy { message, queue, due: None },
    })
}

/// A message that waits in the wheel topic until `due`.
pub(crate) fn delayed(mut message: Message, queue: QueueId, due: Timestamp) -> Copy {
    due::set(&mut message.properties, due);
    redirect(&mut message, queue, WHEEL_TOPIC);
    Copy { message, queue: QueueId(0), due: Some(due) }
}

/// A half message that nobody decided.
pub(crate) fn parked(source: &Bytes) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let message = message(source, &record, system_topic(PARK_TOPIC));
    Ok(Copy { message, queue: QueueId(0), due: None })
}

/// A message that `owner`'s group gave up.
pub(crate) fn dead_letter(
    source: &Bytes,
    owner: &LeaseOwner,
    queue: QueueId,
    offset: QueueOffset,
) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let mut message = message(source, &record, TopicName::dead_letter(&owner.group));
    // The entry is named by a property of its own: a source offset stands for waiting messages only.
    message.source_offset = 0;
    message.sys_flag = message.sys_flag.without_transaction();
    let id = match record.property(names::UNIQUE_KEY) {
        Some(id) => id.to_owned(),
        None => offset_message_id(record.header.store_host, record.header.physical_offset),
    };
    let properties = &mut message.properties;
    properties.set_own(names::DLQ_ORIGIN_TOPIC, owner.topic.as_str());
    properties.set_own(names::DLQ_ORIGIN_MESSAGE_ID, &id);
    properties.set_own(DEAD_LETTER_SOURCE, &format!("{queue} {offset}"));
    Ok(Copy { message, queue: QueueId(0), due: None })
}

/// Sends a message to one of the system's topics; the real one is kept in properties.
pub(crate) fn redirect(message: &mut Message, queue: QueueId, to: &'static str) {
    message.properties.set_own(names::REAL_TOPIC, message.topic.as_str());
    message.properties.set_own(names::REAL_QUEUE_ID, &queue.to_string());
    message.topic = system_topic(to);
}

fn target(record: &Record<'_>) -> Result<(TopicName, QueueId), CopyError> {
    let topic = record.property(names::REAL_TOPIC).and_then(|topic| TopicName::new(topic).ok());
    let queue = record.property(names::REAL_QUEUE_ID).and_then(|queue| queue.parse().ok());
    let no_target = CopyError::NoTarget { offset: record.header.physical_offset };
    topic.zip(queue.map(QueueId)).ok_or(no_target)
}

fn message(source: &Bytes, record: &Record<'_>, topic: TopicName) -> Message {
    let header = &record.header;
    Message {
        topic,
        body: source.slice_ref(record.body),
        properties: Properties::parse(record.properties),
        flag: header.flag,
        sys_flag: header.sys_flag,
        born_at: header.born_at,
        born_host: header.born_host,
        reconsume_times: header.reconsume_times,
        source_offset: header.physical_offset.0,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use types::GroupName;

    use super::*;
    use crate::effect::Effect;
    use crate::transaction::HALF_TOPIC;

    const AT: PhysicalOffset = PhysicalOffset(900);
    const NOW: Timestamp = Timestamp(50_000);

    fn message_for(topic: &str, pairs: &[(&'static str, &str)]) -> Message {
        let mut message = Message::new(TopicName::new(topic).expect("valid"), Bytes::from_static(b"body"));
        for (name, value) in pairs {
            message.properties.set_own(name, value);
        }
        message
    }

    fn stored(message: &Message, queue: QueueId) -> Bytes {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        record::encode(message, queue, host).expect("fits").place(QueueOffset(4), AT, NOW)
    }

    fn effect(copy: &Copy) -> String {
        format!("{:?}", Effect::of(&record::decode(&stored(&copy.message, copy.queue)).expect("own record")))
    }

    #[test]
    fn a_delayed_message_comes_back_as_it_was_and_names_its_source() {
        let waiting = delayed(message_for("orders", &[("KEYS", "k")]), QueueId(3), Timestamp(60_500));
        assert_eq!((waiting.message.topic.as_str(), waiting.queue), (WHEEL_TOPIC, QueueId(0)));
        assert!(effect(&waiting).starts_with("Timer { due: Timestamp(60500)"));
        let copy = delivered(&stored(&waiting.message, waiting.queue)).expect("a delayed message");
        assert_eq!((copy.message.topic.as_str(), copy.queue), ("orders", QueueId(3)));
        assert_eq!(copy.message.body, "body");
        assert_eq!(copy.message.properties.get("KEYS"), Some("k"));
        assert_eq!(copy.message.properties.get(names::REAL_TOPIC), None);
        assert_eq!(effect(&copy), "Copy { source: PhysicalOffset(900), due: Some(Timestamp(60500)) }");
    }

    #[test]
    fn a_committed_message_may_still_be_delayed() {
        let pairs = [(names::TRANSACTION_PREPARED, "true"), (names::TIMER_DELIVER_MS, "60000")];
        let mut half = message_for("orders", &pairs);
        redirect(&mut half, QueueId(2), HALF_TOPIC);
        let source = stored(&half, QueueId(0));
        let copy = committed(&source, NOW).expect("a half message");
        assert_eq!((copy.message.topic.as_str(), copy.due), (WHEEL_TOPIC, Some(Timestamp(60_000))));
        assert!(effect(&copy).ends_with("source: Some(PhysicalOffset(900)) }"));
        let late = committed(&source, Timestamp(60_000)).expect("a half message");
        assert_eq!((late.message.topic.as_str(), late.queue, late.due), ("orders", QueueId(2), None));
        assert!(late.message.sys_flag.has(SysFlag::TRANSACTION_COMMIT));
        assert_eq!(late.message.properties.get(names::TRANSACTION_PREPARED), None);
    }

    #[test]
    fn a_dead_letter_names_entry_and_origin() {
        let owner =
            LeaseOwner { group: GroupName::new("g").expect("valid"), topic: TopicName::new("t").expect("valid") };
        let source = stored(&message_for("t", &[(names::UNIQUE_KEY, "ID1")]), QueueId(1));
        let copy = dead_letter(&source, &owner, QueueId(1), QueueOffset(4)).expect("a message");
        assert_eq!(copy.message.topic.as_str(), "%DLQ%g");
        assert_eq!(copy.message.properties.get(names::DLQ_ORIGIN_MESSAGE_ID), Some("ID1"));
        let group = owner.group;
        let expected = Effect::DeadLetter { group, topic: owner.topic, queue: QueueId(1), offset: QueueOffset(4) };
        assert_eq!(effect(&copy), format!("{expected:?}"));
    }

    #[test]
    fn records_without_a_target_are_refused() {
        let plain = stored(&message_for("t", &[]), QueueId(0));
        assert_eq!(delivered(&plain).map(drop), Err(CopyError::NoTarget { offset: AT }));
        assert!(matches!(committed(&plain.slice(..10), NOW), Err(CopyError::Record(_))));
    }
}
