//! What a record of the log means to the machines.
//!
//! One place for live records and for replay: both see the record as it is stored, so both come to the same state.

use record::Record;
use types::message::MessageType;
use types::properties::names;
use types::{GroupName, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

use crate::journal::JOURNAL_TOPIC;
use crate::timer::{WHEEL_TOPIC, recall};
use crate::transaction::{HALF_TOPIC, OP_TOPIC, PARK_TOPIC};

/// Marks a dead-letter copy of ours: `<queue> <offset>` of the entry that it finishes, in the topic that
/// `DLQ_ORIGIN_TOPIC` names, for the group of the dead-letter topic. The name is one of Apache's that no client may set
/// and every front door hides.
pub(crate) const DEAD_LETTER_SOURCE: &str = "POP_CK_OFFSET";

/// What a record changes besides its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect<'a> {
    /// An ordinary message: its topic saw this kind.
    Message { topic: &'a str, kind: MessageType },
    /// A delayed message: it waits.
    Timer { due: Timestamp, identity: u64, topic: Option<&'a str>, source: Option<PhysicalOffset> },
    /// A half message: it waits.
    Half { topic: Option<&'a str>, immunity_seconds: Option<u64> },
    /// A copy of a waiting message: that one is delivered or committed.
    Copy { source: PhysicalOffset, due: Option<Timestamp> },
    /// A copy of a half message that nobody decided.
    Parked { source: PhysicalOffset },
    /// Half messages ended.
    Op,
    /// A copy of a message that was delivered too often: that one is finished.
    DeadLetter { group: GroupName, topic: TopicName, queue: QueueId, offset: QueueOffset },
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
            topic => match (source(record), dead_letter(record)) {
                (Some(source), _) => Self::Copy { source, due: time(record, names::TIMER_DELIVER_MS) },
                (None, Some(dead_letter)) => dead_letter,
                (None, None) => Self::Message { topic, kind: kind(record) },
            },
        }
    }

    /// Apache's records have no `TIMER_DELIVER_MS` where the delay was relative; theirs are due by their slot.
    fn timer(record: &'a Record<'a>) -> Self {
        let due = time(record, names::TIMER_DELIVER_MS).or_else(|| time(record, names::TIMER_OUT_MS));
        let topic = record.property(names::REAL_TOPIC);
        let unique_key = record.property(names::UNIQUE_KEY).unwrap_or_default();
        match due {
            Some(due) => Self::Timer {
                due,
                identity: recall::identity(topic.unwrap_or_default(), unique_key),
                topic,
                source: source(record),
            },
            None => Self::None,
        }
    }

    fn half(record: &'a Record<'a>) -> Self {
        let immunity = record.property(names::CHECK_IMMUNITY_SECONDS);
        Self::Half {
            topic: record.property(names::REAL_TOPIC),
            immunity_seconds: immunity.and_then(|seconds| seconds.parse().ok()),
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
    let group = record.topic.strip_prefix("%DLQ%")?;
    let (queue, offset) = record.property(DEAD_LETTER_SOURCE)?.split_once(' ')?;
    Some(Effect::DeadLetter {
        group: GroupName::new(group).ok()?,
        topic: TopicName::new(record.property(names::DLQ_ORIGIN_TOPIC)?).ok()?,
        queue: QueueId(queue.parse().ok()?),
        offset: QueueOffset(offset.parse().ok()?),
    })
}

fn kind(record: &Record<'_>) -> MessageType {
    MessageType::of_pairs(record.properties())
}
