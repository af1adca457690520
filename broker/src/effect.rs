//! What a record of the log means to the machines.
//!
//! One place for live records and for replay: both see the record as it is stored, so both come to the same state.

use record::Record;
use types::broker::{LeaseOwner, TransactionPosition};
use types::message::MessageType;
use types::properties::names;
use types::topic::RETRY_QUEUE;
use types::{GroupName, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

use crate::journal::JOURNAL_TOPIC;
use crate::pop::Origin;
use crate::timer::{WHEEL_TOPIC, recall};
use crate::transaction::{HALF_TOPIC, OP_TOPIC, PARK_TOPIC};

/// Keeps what Apache's broker notes of pops and acks. Source: Apache `PopAckConstants.REVIVE_TOPIC`.
pub(crate) const REVIVE_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";

/// Marks a copy of ours that finishes an entry. The name is one of Apache's that no client may set and every front door
/// hides.
///
/// | copy        | value                             | the entry                                                          |
/// |-------------|-----------------------------------|--------------------------------------------------------------------|
/// | dead letter | `<queue> <offset> <retry>`        | of the dead-letter topic's group, in the topic that `DLQ_ORIGIN_TOPIC` names |
/// | carried     | `carried <physical offset> <queue offset>` | a waiting message's record, in the wheel or half topic; of a half message the first one |
/// | retry       | `<group> <queue> <offset> <retry>` | of that group, in the topic whose retry topic the copy stands in   |
///
/// Copies that operators ask for name what they were made of, which finishes nothing:
///
/// | copy     | value                       | made of                                                   |
/// |----------|-----------------------------|-----------------------------------------------------------|
/// | redriven | `><group> <queue> <offset>` | a dead letter, in that group's dead-letter topic          |
/// | resumed  | `parked <offset>`           | a parked half message, in queue 0 of the park topic       |
///
/// `<retry>` is 1 when the entry is in the group's retry topic for that topic, else 0; dead letters of earlier builds have none.
pub(crate) const ENTRY_SOURCE: &str = "POP_CK_OFFSET";

/// Begins the value of a carried copy.
const CARRIED: &str = "carried";
/// Begins the value of a redriven copy; no group's name begins so.
const REDRIVEN: char = '>';

/// What a record changes besides its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect<'a> {
    /// An ordinary message: its topic saw this kind. It may have an idempotency key.
    Message { topic: &'a str, kind: MessageType, has_key: bool },
    /// A delayed message: it waits. Retention appends one again that was at `before`.
    Timer {
        due: Timestamp,
        identity: u64,
        topic: Option<&'a str>,
        source: Option<PhysicalOffset>,
        before: Option<PhysicalOffset>,
    },
    /// A half message: it waits. Retention appends one again that was stored `first` elsewhere.
    Half { topic: Option<&'a str>, immunity_seconds: Option<u64>, first: Option<TransactionPosition> },
    /// A copy of a waiting message: that one is delivered or committed.
    Copy { source: PhysicalOffset, due: Option<Timestamp> },
    /// A copy of a half message that nobody decided.
    Parked { source: PhysicalOffset },
    /// Half messages ended.
    Op,
    /// A copy of a message that was delivered too often: that one is finished.
    DeadLetter { owner: LeaseOwner, queue: QueueId, offset: QueueOffset },
    /// A copy in the retry topic: the entry is finished, the copy unfinished in its place.
    Retry { retry: LeaseOwner, origin: Origin },
    /// A copy of a dead letter in the retry topic: it is unfinished there, whatever became of the message before.
    Redriven { retry: LeaseOwner },
    /// Journal events.
    Journal,
    /// Nothing.
    None,
}

impl<'a> Effect<'a> {
    pub(crate) fn of(record: &'a Record<'a>) -> Self {
        match record.topic {
            JOURNAL_TOPIC => Self::Journal,
            WHEEL_TOPIC => Self::timer(record),
            HALF_TOPIC => Self::half(record),
            OP_TOPIC => Self::Op,
            PARK_TOPIC => source(record).map_or(Self::None, |source| Self::Parked { source }),
            topic => match (source(record), dead_letter(record).or_else(|| retry(record)).or_else(|| redriven(record)))
            {
                (Some(source), _) => Self::Copy { source, due: time(record, names::TIMER_DELIVER_MS) },
                (None, Some(copy)) => copy,
                (None, None) => {
                    let (kind, key) = kind_and_key(record.properties());
                    Self::Message { topic, kind, has_key: key.is_some() }
                }
            },
        }
    }

    /// Apache's records have no `TIMER_DELIVER_MS` where the delay was relative; theirs are due by their slot. Those of its pops
    /// lie in the wheel's topic too and are no messages.
    fn timer(record: &'a Record<'a>) -> Self {
        let due = time(record, names::TIMER_DELIVER_MS).or_else(|| time(record, names::TIMER_OUT_MS));
        let topic = record.property(names::REAL_TOPIC);
        let unique_key = record.property(names::UNIQUE_KEY).unwrap_or_default();
        match due.filter(|_| !topic.is_some_and(|topic| topic.starts_with(REVIVE_TOPIC_PREFIX))) {
            Some(due) => Self::Timer {
                due,
                identity: recall::identity(topic.unwrap_or_default(), unique_key),
                topic,
                source: source(record),
                before: carried_from(record).map(|before| before.physical_offset),
            },
            None => Self::None,
        }
    }

    fn half(record: &'a Record<'a>) -> Self {
        let immunity = record.property(names::CHECK_IMMUNITY_SECONDS);
        Self::Half {
            topic: record.property(names::REAL_TOPIC),
            immunity_seconds: immunity.and_then(|seconds| seconds.parse().ok()),
            first: carried_from(record),
        }
    }
}

/// The record that this one is the outcome of. A commit says so by its flag too, which tells a source at position 0
/// from none.
fn source(record: &Record<'_>) -> Option<PhysicalOffset> {
    let offset = record.header.source_offset;
    let is_commit = record.header.sys_flag.has(types::SysFlag::TRANSACTION_COMMIT);
    (offset != 0 || is_commit).then_some(PhysicalOffset(offset))
}

fn time(record: &Record<'_>, name: &str) -> Option<Timestamp> {
    record.property(name)?.parse().ok().map(Timestamp)
}

fn dead_letter<'a>(record: &'a Record<'a>) -> Option<Effect<'a>> {
    let group = GroupName::new(record.topic.strip_prefix("%DLQ%")?).ok()?;
    let Origin { is_retry, queue, offset } = origin(record.property(ENTRY_SOURCE)?)?;
    let topic = TopicName::new(record.property(names::DLQ_ORIGIN_TOPIC)?).ok()?;
    let topic = if is_retry { TopicName::retry(&group, &topic)? } else { topic };
    Some(Effect::DeadLetter { owner: LeaseOwner { group, topic }, queue, offset })
}

fn retry<'a>(record: &'a Record<'a>) -> Option<Effect<'a>> {
    let (group, entry) = retry_source(record)?;
    let origin = origin(entry)?;
    let retry = LeaseOwner { group: GroupName::new(group).ok()?, topic: TopicName::new(record.topic).ok()? };
    Some(Effect::Retry { retry, origin })
}

/// Only where the group pops: what 4.x's consumers failed with waits in a retry topic for all topics, which they read as any other.
fn redriven<'a>(record: &'a Record<'a>) -> Option<Effect<'a>> {
    let (group, _) = retry_source(record)?;
    let group = GroupName::new(group.strip_prefix(REDRIVEN)?).ok()?;
    let retry = LeaseOwner { group, topic: TopicName::new(record.topic).ok()? };
    retry.topic.retried(&retry.group)?;
    (record.header.queue == RETRY_QUEUE).then_some(Effect::Redriven { retry })
}

/// Whether a record is a copy in a retry topic for another group than this: different groups may share one, see
/// [`TopicName::retry`].
pub(crate) fn is_retry_of_another(record: &Record<'_>, group: &GroupName) -> bool {
    retry_source(record).is_some_and(|(of, _)| of.strip_prefix(REDRIVEN).unwrap_or(of) != group.as_str())
}

/// The group and the entry that a copy in a retry topic names.
fn retry_source<'a>(record: &'a Record<'_>) -> Option<(&'a str, &'a str)> {
    if !record.topic.starts_with("%RETRY%") {
        return None;
    }
    record.property(ENTRY_SOURCE)?.split_once(' ')
}

fn origin(value: &str) -> Option<Origin> {
    let mut numbers = value.split(' ');
    let queue = QueueId(numbers.next()?.parse().ok()?);
    let offset = QueueOffset(numbers.next()?.parse().ok()?);
    let is_retry = match numbers.next() {
        None | Some("0") => false,
        Some("1") => true,
        Some(_) => return None,
    };
    numbers.next().is_none().then_some(Origin { is_retry, queue, offset })
}

/// How [`ENTRY_SOURCE`] names an entry.
pub(crate) fn entry_source(origin: Origin) -> String {
    let Origin { is_retry, queue, offset } = origin;
    format!("{queue} {offset} {}", u8::from(is_retry))
}

/// How [`ENTRY_SOURCE`] names the record that a carried one stands for.
pub(crate) fn carried_source(from: TransactionPosition) -> String {
    format!("{CARRIED} {} {}", from.physical_offset, from.queue_offset)
}

/// How [`ENTRY_SOURCE`] names the dead letter that a redriven copy was made of.
pub(crate) fn redriven_source(group: &GroupName, queue: QueueId, offset: QueueOffset) -> String {
    format!("{REDRIVEN}{group} {queue} {offset}")
}

/// How [`ENTRY_SOURCE`] names the parked half message that a resumed one was made of.
pub(crate) fn resumed_source(offset: QueueOffset) -> String {
    format!("parked {offset}")
}

/// The record that a carried one stands for.
pub(crate) fn carried_from(record: &Record<'_>) -> Option<TransactionPosition> {
    let (mark, numbers) = record.property(ENTRY_SOURCE)?.split_once(' ')?;
    let (physical, queue) = numbers.split_once(' ').filter(|_| mark == CARRIED)?;
    let physical_offset = PhysicalOffset(physical.parse().ok()?);
    Some(TransactionPosition { physical_offset, queue_offset: QueueOffset(queue.parse().ok()?) })
}

/// A message's type and its idempotency key, at the cost of the type alone: each message is asked for them.
pub(crate) fn kind_and_key<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> (MessageType, Option<&'a str>) {
    let mut key = None;
    let kind = MessageType::of_pairs(pairs.inspect(|(name, value)| {
        if *name == names::IDEMPOTENCY_KEY {
            key = Some(*value);
        }
    }));
    (kind, key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_is_named_so_that_it_is_found(is_retry: bool, queue: u32, offset: u64) {
            let named = Origin { is_retry, queue: QueueId(queue), offset: QueueOffset(offset) };
            prop_assert_eq!(origin(&entry_source(named)), Some(named));
        }

        #[test]
        fn no_text_makes_reading_an_entry_panic(text in ".{0,40}") {
            let _ = origin(&text);
        }
    }

    #[test]
    fn dead_letters_of_earlier_builds_name_an_entry_of_the_topic() {
        let named = Origin { is_retry: false, queue: QueueId(3), offset: QueueOffset(7) };
        assert_eq!(origin("3 7"), Some(named));
        for broken in ["", "3", "3 7 2", "3 7 1 0", "x 7 0", "3 -7 0"] {
            assert_eq!(origin(broken), None, "{broken}");
        }
    }
}
