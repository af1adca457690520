//! Copies of stored messages: the delivered, committed, parked, dead-lettered, retried, redriven or resumed message, each naming its source.
//!
//! Pure: the source record's bytes go in, the message to append comes out. The body is shared, not copied.
//! Source of the properties: Apache `TimerMessageStore.convert`, `EndTransactionProcessor.endMessageTransaction`,
//! `AbstractTransactionalMessageCheckListener.toMessageExtBrokerInner`, `AbstractSendMessageProcessor`.

use bytes::Bytes;
use record::{Record, offset_message_id};
use types::broker::{LeaseOwner, TransactionPosition};
use types::properties::names;
use types::topic::RETRY_QUEUE;
use types::{GroupName, Message, PhysicalOffset, Properties, QueueId, QueueOffset, SysFlag, Timestamp, TopicName};

use crate::effect::{
    ENTRY_SOURCE, carried_from, carried_source, entry_source, is_retry_of_another, redriven_source, resumed_source,
};
use crate::pop::{Move, Origin};
use crate::timer::{WHEEL_TOPIC, due};
use crate::transaction::{HALF_TOPIC, OP_TAG, OP_TOPIC, PARK_TOPIC};

/// A message to append, and to which queue.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) message: Message,
    pub(crate) queue: QueueId,
    /// Set when it goes to the wheel topic: it waits until then.
    pub(crate) due: Option<Timestamp>,
}

impl Copy {
    /// Says when the message was due, which names its timer; Apache's records say that otherwise, by a level or relative to a
    /// time.
    pub(crate) fn was_due(mut self, due: Timestamp) -> Self {
        due::set(&mut self.message.properties, due);
        self
    }

    /// Lets it wait until `due` in the wheel's topic, wherever it waited before: Apache's delay levels have one of their own.
    pub(crate) fn waits_until(mut self, due: Timestamp) -> Self {
        (self.message.topic, self.queue, self.due) = (system_topic(WHEEL_TOPIC), QueueId(0), Some(due));
        self.was_due(due)
    }
}

/// A record that cannot be what its topic says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Record(#[from] record::Error),
    #[error("record at {offset} names no topic and queue that it is for")]
    NoTarget { offset: PhysicalOffset },
    #[error("record at {offset} is another group's copy in a retry topic that both share")]
    NotOurs { offset: PhysicalOffset },
}

/// One of the system's own topics.
///
/// # Panics
/// When the name is not valid: a bug, the names are constants.
pub(crate) fn system_topic(name: &'static str) -> TopicName {
    TopicName::new(name).expect("the system's topics have valid names")
}

/// A record's message of our own, for a system topic.
pub(crate) fn system_message(topic: &'static str, body: Bytes, now: Timestamp) -> Message {
    let mut message = Message::new(system_topic(topic), body);
    message.born_at = now;
    message
}

/// An op record's message, which names ended half messages.
pub(crate) fn op(body: String, now: Timestamp) -> Message {
    let mut message = system_message(OP_TOPIC, Bytes::from(body), now);
    message.properties.set_own(names::TAGS, OP_TAG);
    message
}

/// A waiting message that is appended again, in the wheel or half topic, because the log's front with its record is about
/// to expire.
pub(crate) fn carried(source: &Bytes) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let header = &record.header;
    let mut message = message(source, &record, TopicName::new(record.topic).map_err(|_| no_target(&record))?);
    message.source_offset = header.source_offset;
    let here = TransactionPosition { physical_offset: header.physical_offset, queue_offset: header.queue_offset };
    // A half message keeps its first name, a delayed one is known by its place.
    let from = carried_from(&record).filter(|_| record.topic == HALF_TOPIC).unwrap_or(here);
    message.properties.set_own(ENTRY_SOURCE, &carried_source(from));
    Ok(Copy { message, queue: header.queue, due: None })
}

/// A delayed message whose time has come.
pub(crate) fn delivered(source: &Bytes) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let (topic, queue) = target(&record)?;
    let mut message = message(source, &record, topic);
    message.properties.remove(names::REAL_TOPIC);
    message.properties.remove(names::REAL_QUEUE_ID);
    message.properties.remove(ENTRY_SOURCE);
    Ok(Copy { message, queue, due: None })
}

/// A half message that was committed: delivered at once, or delayed if it asks for that.
pub(crate) fn committed(source: &Bytes, now: Timestamp) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let (topic, queue) = target(&record)?;
    let mut message = message_of_half(source, &record, topic);
    for name in [names::TRANSACTION_PREPARED, names::REAL_TOPIC, names::REAL_QUEUE_ID, ENTRY_SOURCE] {
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

/// A message that goes on waiting until `due`, again in the wheel topic: for Apache, which reads that topic only from
/// a position on, and slots only from `read_from` on.
pub(crate) fn waiting_on(source: &Bytes, due: Timestamp, read_from: Timestamp) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    target(&record)?;
    let topic = system_topic(WHEEL_TOPIC);
    let mut copy = Copy { message: message(source, &record, topic), queue: QueueId(0), due: None }.waits_until(due);
    copy.message.properties.remove(ENTRY_SOURCE);
    due::not_before(&mut copy.message.properties, read_from);
    Ok(copy)
}

/// A half message that nobody decided.
pub(crate) fn parked(source: &Bytes) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let message = message_of_half(source, &record, system_topic(PARK_TOPIC));
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
    let retried = owner.topic.retried(&owner.group);
    let origin = Origin { is_retry: retried.is_some(), queue, offset };
    let properties = &mut message.properties;
    properties.set_own(names::DLQ_ORIGIN_TOPIC, retried.unwrap_or(owner.topic.as_str()));
    properties.set_own(names::DLQ_ORIGIN_MESSAGE_ID, &message_id(&record));
    properties.set_own(ENTRY_SOURCE, &entry_source(origin));
    Ok(Copy { message, queue: QueueId(0), due: None })
}

/// A failed message, to be delivered again from its group's retry topic. Source of what it says: Apache
/// `PopReviveService.reviveRetry`; the sender stays who it was.
pub(crate) fn retry(source: &Bytes, planned: &Move) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let Move { retry, origin, attempts, popped_at } = planned;
    if is_retry_of_another(&record, &retry.group) {
        return Err(CopyError::NotOurs { offset: record.header.physical_offset });
    }
    let mut message = message(source, &record, retry.topic.clone());
    // The entry is named by a property of its own: a source offset stands for waiting messages only.
    message.source_offset = 0;
    message.sys_flag = message.sys_flag.without_transaction();
    message.reconsume_times = *attempts;
    let properties = &mut message.properties;
    if record.property(names::UNIQUE_KEY).is_none() {
        properties.set_own(names::ORIGIN_MESSAGE_ID, &message_id(&record));
    }
    if let Some(popped_at) = popped_at
        && record.property(names::FIRST_POP_TIME).is_none()
    {
        properties.set_own(names::FIRST_POP_TIME, &popped_at.to_string());
    }
    if let Some(topic) = retry.topic.retried(&retry.group)
        && record.property(names::RETRY_TOPIC).is_none()
    {
        properties.set_own(names::RETRY_TOPIC, topic);
    }
    properties.set_own(ENTRY_SOURCE, &format!("{} {}", retry.group, entry_source(*origin)));
    Ok(Copy { message, queue: RETRY_QUEUE, due: None })
}

/// Where a dead letter came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetterOrigin {
    pub(crate) topic: TopicName,
    /// Whether the dead letter shows that its group popped it.
    pub(crate) is_popped: bool,
}

/// Where a dead letter of `group` came from. Apache's broker says so only as the topic of the message's first retry: the one that it was sent
/// to, or a popping group's retry topic for that. Source: Apache `AbstractSendMessageProcessor.consumerSendMsgBack`.
pub(crate) fn dead_letter_origin(source: &Bytes, group: &GroupName) -> Result<DeadLetterOrigin, CopyError> {
    let record = record::decode(source)?;
    let named = record.property(names::DLQ_ORIGIN_TOPIC).or_else(|| record.property(names::RETRY_TOPIC));
    let named = named.and_then(|topic| TopicName::new(topic).ok()).ok_or(no_target(&record))?;
    let retried = named.retried(group).and_then(|topic| TopicName::new(topic).ok());
    let is_popped = retried.is_some() || record.property(ENTRY_SOURCE).is_some();
    Ok(DeadLetterOrigin { topic: retried.unwrap_or(named), is_popped })
}

/// A dead letter of `group`, to be delivered to it again from its `retry` topic as if it had never been delivered.
pub(crate) fn redriven(
    source: &Bytes,
    group: &GroupName,
    from: &TopicName,
    retry: TopicName,
) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    let mut message = message(source, &record, retry);
    message.source_offset = 0;
    message.sys_flag = message.sys_flag.without_transaction();
    message.reconsume_times = 0;
    let made_of = redriven_source(group, record.header.queue, record.header.queue_offset);
    let own = [(names::RETRY_TOPIC, from.as_str()), (ENTRY_SOURCE, &*made_of)];
    message.properties = named(&record, &own, &DEAD_LETTERS_OWN);
    Ok(Copy { message, queue: RETRY_QUEUE, due: None })
}

/// What a dead letter says that no longer holds when it is delivered again.
const DEAD_LETTERS_OWN: [&str; 3] = [names::DLQ_ORIGIN_TOPIC, names::DLQ_ORIGIN_MESSAGE_ID, names::FIRST_POP_TIME];

/// A parked half message, about which its producers are to be asked again.
pub(crate) fn resumed(source: &Bytes) -> Result<Copy, CopyError> {
    let record = record::decode(source)?;
    target(&record)?;
    let mut message = message(source, &record, system_topic(HALF_TOPIC));
    message.source_offset = 0;
    let made_of = resumed_source(record.header.queue_offset);
    message.properties = named(&record, &[(ENTRY_SOURCE, &*made_of)], &[names::TRANSACTION_CHECK_TIMES]);
    Ok(Copy { message, queue: QueueId(0), due: None })
}

/// A record's properties with `own` ones in place of earlier ones and without those `dropped`. The unique key comes first, which it has
/// if the record has none: behind many keys of its producer it would not be found in the key index.
fn named(record: &Record<'_>, own: &[(&'static str, &str)], dropped: &[&str]) -> Properties {
    let known = record.property(names::UNIQUE_KEY).or_else(|| record.property(names::DLQ_ORIGIN_MESSAGE_ID));
    let id = known.map_or_else(|| message_id(record), str::to_owned);
    let mut properties = Properties::with_capacity(record.properties.len() + 64);
    properties.set_own(names::UNIQUE_KEY, &id);
    for (name, value) in own {
        properties.set_own(name, value);
    }
    let is_left = |name: &str| properties.get(name).is_none() && !dropped.contains(&name);
    let left: Vec<_> = record.properties().filter(|(name, _)| is_left(name)).collect();
    for (name, value) in left {
        properties.set(name, value).expect("what was split at the separators holds none");
    }
    properties
}

/// The id that consumers know a message by. Without one of its sender's it is where the message was first stored, which
/// its copies tell.
fn message_id(record: &Record<'_>) -> String {
    let known = record.property(names::UNIQUE_KEY).or_else(|| record.property(names::ORIGIN_MESSAGE_ID));
    let place = || offset_message_id(record.header.store_host, record.header.physical_offset);
    known.map_or_else(place, str::to_owned)
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
    topic.zip(queue.map(QueueId)).ok_or(no_target(record))
}

fn no_target(record: &Record<'_>) -> CopyError {
    CopyError::NoTarget { offset: record.header.physical_offset }
}

/// An outcome names a half message by where it was first stored.
fn message_of_half(source: &Bytes, record: &Record<'_>, topic: TopicName) -> Message {
    let mut message = message(source, record, topic);
    if let Some(first) = carried_from(record) {
        message.source_offset = first.physical_offset.0;
        message.properties.remove(ENTRY_SOURCE);
    }
    message
}

/// What a record says, as the outcome of that record.
pub(crate) fn message(source: &Bytes, record: &Record<'_>, topic: TopicName) -> Message {
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
        assert!(effect(&copy).ends_with("source: Some(PhysicalOffset(900)), before: None }"));
        let late = committed(&source, Timestamp(60_000)).expect("a half message");
        assert_eq!((late.message.topic.as_str(), late.queue, late.due), ("orders", QueueId(2), None));
        assert!(late.message.sys_flag.has(SysFlag::TRANSACTION_COMMIT));
        assert_eq!(late.message.properties.get(names::TRANSACTION_PREPARED), None);
    }

    #[test]
    fn a_carried_delayed_message_names_the_record_before_and_comes_back_as_it_was() {
        let waiting = delayed(message_for("orders", &[("KEYS", "k")]), QueueId(3), Timestamp(60_500));
        let once = carried(&stored(&waiting.message, waiting.queue)).expect("a delayed message");
        assert!(effect(&once).ends_with("source: None, before: Some(PhysicalOffset(900)) }"), "{}", effect(&once));
        let again = carried(&stored(&once.message, once.queue)).expect("a delayed message");
        assert_eq!(effect(&again), effect(&once));
        let copy = delivered(&stored(&again.message, again.queue)).expect("a delayed message");
        assert_eq!((copy.message.topic.as_str(), copy.queue), ("orders", QueueId(3)));
        assert_eq!(copy.message.properties.get(ENTRY_SOURCE), None);
        assert_eq!(effect(&copy), "Copy { source: PhysicalOffset(900), due: Some(Timestamp(60500)) }");
    }

    #[test]
    fn a_carried_half_message_keeps_its_first_name() {
        let mut half = message_for("orders", &[(names::TRANSACTION_PREPARED, "true")]);
        redirect(&mut half, QueueId(2), HALF_TOPIC);
        let mut first = carried(&stored(&half, QueueId(0))).expect("a half message");
        let name = TransactionPosition { physical_offset: AT, queue_offset: QueueOffset(4) };
        assert!(effect(&first).ends_with(&format!("first: Some({name:?}) }}")), "{}", effect(&first));
        let elsewhere = TransactionPosition { physical_offset: PhysicalOffset(5), queue_offset: QueueOffset(1) };
        first.message.properties.set_own(ENTRY_SOURCE, &carried_source(elsewhere));
        let again = carried(&stored(&first.message, first.queue)).expect("a half message");
        assert!(effect(&again).ends_with(&format!("first: Some({elsewhere:?}) }}")), "{}", effect(&again));
        for copy in [committed(&stored(&again.message, again.queue), NOW), parked(&stored(&again.message, again.queue))]
        {
            let copy = copy.expect("a half message");
            assert_eq!((copy.message.source_offset, copy.message.properties.get(ENTRY_SOURCE)), (5, None));
        }
    }

    #[test]
    fn a_dead_letter_names_entry_and_origin() {
        let owner =
            LeaseOwner { group: GroupName::new("g").expect("valid"), topic: TopicName::new("t").expect("valid") };
        let source = stored(&message_for("t", &[(names::UNIQUE_KEY, "ID1")]), QueueId(1));
        let copy = dead_letter(&source, &owner, QueueId(1), QueueOffset(4)).expect("a message");
        assert_eq!(copy.message.topic.as_str(), "%DLQ%g");
        assert_eq!(copy.message.properties.get(names::DLQ_ORIGIN_MESSAGE_ID), Some("ID1"));
        let expected = Effect::DeadLetter { owner, queue: QueueId(1), offset: QueueOffset(4) };
        assert_eq!(effect(&copy), format!("{expected:?}"));
    }

    fn plan(group: &str, topic: &str, origin: Origin) -> Move {
        let retry =
            LeaseOwner { group: GroupName::new(group).expect("valid"), topic: TopicName::new(topic).expect("valid") };
        Move { retry, origin, attempts: 2, popped_at: Some(Timestamp(7_000)) }
    }

    #[test]
    fn a_retry_copy_names_its_entry_and_says_what_apache_reads() {
        let mut sent = message_for("t", &[(names::UNIQUE_KEY, "ID1"), (names::TAGS, "a")]);
        sent.source_offset = 55;
        sent.sys_flag = SysFlag::default().with(SysFlag::TRANSACTION_COMMIT);
        let origin = Origin { is_retry: false, queue: QueueId(1), offset: QueueOffset(4) };
        let planned = plan("g", "%RETRY%g_t", origin);
        let copy = retry(&stored(&sent, QueueId(1)), &planned).expect("a message");
        let message = &copy.message;
        assert_eq!((message.topic.as_str(), copy.queue), ("%RETRY%g_t", QueueId(0)));
        assert_eq!((message.reconsume_times, message.source_offset), (2, 0));
        assert_eq!(message.properties.get(names::FIRST_POP_TIME), Some("7000"));
        assert_eq!(message.properties.get(names::UNIQUE_KEY), Some("ID1"));
        assert_eq!(message.properties.get(names::RETRY_TOPIC), Some("t"));
        assert_eq!(message.properties.get(names::ORIGIN_MESSAGE_ID), None);
        assert_eq!(message.properties.get(names::TAGS), Some("a"));
        let expected = Effect::Retry { retry: planned.retry, origin };
        assert_eq!(effect(&copy), format!("{expected:?}"));
    }

    #[test]
    fn copies_of_a_copy_keep_the_first_id_and_pop_time() {
        let origin = Origin { is_retry: false, queue: QueueId(1), offset: QueueOffset(4) };
        let first =
            retry(&stored(&message_for("t", &[]), QueueId(1)), &plan("g", "%RETRY%g_t", origin)).expect("copied");
        let id = offset_message_id(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), AT);
        assert_eq!(first.message.properties.get(names::ORIGIN_MESSAGE_ID), Some(id.as_str()));
        let origin = Origin { is_retry: true, queue: QueueId(0), offset: QueueOffset(4) };
        let mut planned = plan("g", "%RETRY%g_t", origin);
        planned.popped_at = Some(Timestamp(9_000));
        let second = retry(&stored(&first.message, QueueId(0)), &planned).expect("copied");
        assert_eq!(second.message.properties.get(names::ORIGIN_MESSAGE_ID), Some(id.as_str()));
        assert_eq!(second.message.properties.get(names::FIRST_POP_TIME), Some("7000"));
        let dead = dead_letter(&stored(&second.message, QueueId(0)), &planned.retry, QueueId(0), QueueOffset(9));
        let dead = dead.expect("copied");
        assert_eq!(dead.message.properties.get(names::DLQ_ORIGIN_MESSAGE_ID), Some(id.as_str()));
        assert_eq!(dead.message.properties.get(names::DLQ_ORIGIN_TOPIC), Some("t"));
        let expected = Effect::DeadLetter { owner: planned.retry, queue: QueueId(0), offset: QueueOffset(9) };
        assert_eq!(effect(&dead), format!("{expected:?}"));
    }

    #[test]
    fn another_groups_copy_in_a_shared_retry_topic_is_not_copied() {
        let origin = Origin { is_retry: false, queue: QueueId(0), offset: QueueOffset(1) };
        let of_a = retry(&stored(&message_for("b_c", &[]), QueueId(0)), &plan("a", "%RETRY%a_b_c", origin));
        let source = stored(&of_a.expect("copied").message, QueueId(0));
        let origin = Origin { is_retry: true, queue: QueueId(0), offset: QueueOffset(4) };
        let refused = retry(&source, &plan("a_b", "%RETRY%a_b_c", origin)).map(drop);
        assert_eq!(refused, Err(CopyError::NotOurs { offset: AT }));
    }

    #[test]
    fn records_without_a_target_are_refused() {
        let plain = stored(&message_for("t", &[]), QueueId(0));
        assert_eq!(delivered(&plain).map(drop), Err(CopyError::NoTarget { offset: AT }));
        assert!(matches!(committed(&plain.slice(..10), NOW), Err(CopyError::Record(_))));
    }

    #[test]
    fn a_redriven_dead_letter_is_as_new_and_names_what_it_was_made_of() {
        let group = GroupName::new("g").expect("valid");
        let owner = LeaseOwner { group: group.clone(), topic: TopicName::new("t").expect("valid") };
        let many = "k ".repeat(100);
        let source = stored(&message_for("t", &[(names::KEYS, &many), (names::UNIQUE_KEY, "ID1")]), QueueId(1));
        let dead = dead_letter(&source, &owner, QueueId(1), QueueOffset(4)).expect("a message");
        let dead = stored(&dead.message, dead.queue);
        let from = DeadLetterOrigin { topic: owner.topic.clone(), is_popped: true };
        assert_eq!(dead_letter_origin(&dead, &group), Ok(from));
        let retry = TopicName::retry(&group, &owner.topic).expect("short");
        let copy = redriven(&dead, &group, &owner.topic, retry).expect("a dead letter");
        let properties = &copy.message.properties;
        assert_eq!((copy.message.topic.as_str(), copy.message.reconsume_times), ("%RETRY%g_t", 0));
        assert_eq!(properties.iter().next(), Some((names::UNIQUE_KEY, "ID1")), "found, however many keys there are");
        assert_eq!(properties.get(names::KEYS), Some(&*many));
        assert_eq!((properties.get(ENTRY_SOURCE), properties.get(names::DLQ_ORIGIN_TOPIC)), (Some(">g 0 4"), None));
        let retry = LeaseOwner { group, topic: copy.message.topic.clone() };
        assert_eq!(effect(&copy), format!("{:?}", Effect::Redriven { retry }));
        let bytes = stored(&copy.message, copy.queue);
        let record = record::decode(&bytes).expect("own record");
        assert!(!is_retry_of_another(&record, &owner.group));
        assert!(is_retry_of_another(&record, &GroupName::new("g_t").expect("valid")));
    }

    #[test]
    fn what_a_pulling_group_gave_up_comes_again_from_its_one_retry_topic() {
        let group = GroupName::new("g").expect("valid");
        let dead = message_for("%DLQ%g", &[(names::DLQ_ORIGIN_TOPIC, "t"), (names::DLQ_ORIGIN_MESSAGE_ID, "ID1")]);
        let dead = stored(&dead, QueueId(0));
        let from = dead_letter_origin(&dead, &group).expect("it says so");
        assert!(!from.is_popped);
        let copy = redriven(&dead, &group, &from.topic, TopicName::group_retry(&group)).expect("a dead letter");
        assert_eq!(copy.message.properties.get(names::RETRY_TOPIC), Some("t"));
        assert_eq!(copy.message.properties.get(names::UNIQUE_KEY), Some("ID1"));
        assert!(effect(&copy).starts_with("Message"), "{}", effect(&copy));
        let stray = stored(&message_for("%DLQ%g", &[]), QueueId(0));
        assert!(dead_letter_origin(&stray, &group).is_err(), "nobody says where it came from");
    }

    #[test]
    fn apaches_dead_letters_say_their_origin_as_the_topic_of_the_first_retry() {
        let group = GroupName::new("g").expect("valid");
        let origin = |named| {
            let dead = stored(&message_for("%DLQ%g", &[(names::RETRY_TOPIC, named)]), QueueId(0));
            let from = dead_letter_origin(&dead, &group).expect("it says so");
            (from.topic.to_string(), from.is_popped)
        };
        assert_eq!(origin("t"), ("t".to_owned(), false));
        assert_eq!(origin("%RETRY%g_t"), ("t".to_owned(), true));
    }

    #[test]
    fn a_resumed_half_message_is_one_again() {
        let mut half = message_for("orders", &[(names::TRANSACTION_PREPARED, "true"), (names::UNIQUE_KEY, "ID1")]);
        redirect(&mut half, QueueId(2), HALF_TOPIC);
        let parked = parked(&stored(&half, QueueId(0))).expect("a half message");
        let copy = resumed(&stored(&parked.message, parked.queue)).expect("a parked one");
        assert_eq!(copy.message.properties.get(ENTRY_SOURCE), Some("parked 4"));
        assert!(effect(&copy).starts_with("Half { topic: Some(\"orders\")"), "{}", effect(&copy));
        assert!(effect(&copy).ends_with("first: None }"), "{}", effect(&copy));
        let again = committed(&stored(&copy.message, copy.queue), NOW).expect("a half message");
        assert_eq!((again.message.topic.as_str(), again.queue), ("orders", QueueId(2)));
        assert_eq!(again.message.properties.get(ENTRY_SOURCE), None);
    }
}
