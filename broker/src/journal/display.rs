//! Journal events in words, for those who look into a log. Slots are numbers that a `began` event has bound.

use std::fmt::{self, Display, Formatter};

use types::QueueOffset;

use super::{Event, events};
use crate::catalog;
use crate::pop::PopEvent;
use crate::pop::event::{Popped, RunKind, SlotId};

/// The events of a journal record's body, one line each; the first that cannot be read is the last and says so.
pub fn lines(body: &[u8]) -> impl Iterator<Item = String> + '_ {
    events(body).map(|event| match event {
        Ok(event) => event.to_string(),
        Err(error) => format!("unreadable: {error}"),
    })
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog(event) => event.fmt(f),
            Self::Pop(event) => event.fmt(f),
            Self::Offset(commit) => {
                let (group, topic, queue, offset) = (&commit.group, &commit.topic, commit.queue, commit.offset);
                write!(f, "offset committed: group {group} at {offset} of queue {queue} of {topic}")
            }
            Self::Checked(checked) => {
                write!(f, "transaction checked: half message at {}, next at {} ms", checked.offset, checked.next_at)
            }
            Self::Recalled { due, offset } => write!(f, "delayed message recalled: at {offset}, was due at {due} ms"),
            Self::KeysForgotten { to } => write!(f, "idempotency keys forgotten: those of messages up to {to}"),
            Self::Imported => f.write_str("imported: the log up to here is Apache's"),
            Self::Waits(waits) => {
                write!(f, "delayed message of Apache's: at {}, due at {} ms", waits.offset, waits.due)
            }
            Self::Undecided(half) => {
                let (topic, offset) = (&half.topic, half.position.physical_offset);
                write!(f, "half message of Apache's: at {offset}, for {topic}, asked about {} times", half.times)
            }
            Self::HandedBack => f.write_str("handed back: the log from here on is Apache's"),
        }
    }
}

impl Display for catalog::Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutTopic(config) => write!(
                f,
                "topic put: {}, {}, {} queues to read, {} to write",
                config.name, config.topic_type, config.read_queues, config.write_queues
            ),
            Self::DeleteTopic { name, .. } => write!(f, "topic deleted: {name}"),
            Self::PutGroup(config) => {
                let (name, attempts) = (&config.name, config.attempts_max);
                write!(f, "group put: {name}, {attempts} attempts, in order: {}", config.is_fifo)
            }
            Self::DeleteGroup { name } => write!(f, "group deleted: {name}"),
        }
    }
}

impl Display for PopEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let list = |f: &mut Formatter<'_>, what: &str, slot: SlotId, offsets: &[QueueOffset]| {
            write!(f, "{what}: slot {}, offsets ", slot.0)?;
            write_list(f, offsets)
        };
        match self {
            Self::Began { slot, owner, queue, start } => {
                let (group, topic) = (&owner.group, &owner.topic);
                write!(f, "began: slot {} is group {group} on queue {queue} of {topic} from {start} on", slot.0)
            }
            Self::Popped(popped) => popped.fmt(f),
            Self::Finished { slot, offsets } => list(f, "finished", *slot, offsets),
            Self::Changed { slot, offset, visible_at, is_suspended, popped_at: _ } => {
                let what = if *is_suspended { "suspended" } else { "changed" };
                write!(f, "{what}: slot {}, offset {offset} visible at {visible_at} ms", slot.0)
            }
            Self::Released { slot, offsets } => list(f, "released", *slot, offsets),
            Self::Expired { slot, offsets } => list(f, "expired", *slot, offsets),
            Self::Exhausted { slot, offsets } => list(f, "exhausted", *slot, offsets),
            Self::Reset { slot, offset } => write!(f, "reset: slot {} to {offset}", slot.0),
            Self::Trimmed { slot, first } => write!(f, "trimmed: slot {} to {first}", slot.0),
            Self::Forgot { slot } => write!(f, "forgot: slot {}", slot.0),
        }
    }
}

impl Display for Popped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "popped: slot {}", self.slot.0)?;
        let of_kind = |wanted: fn(RunKind) -> bool| -> u64 {
            self.fresh.iter().filter(|run| wanted(run.kind)).map(|run| u64::from(run.count)).sum()
        };
        let counts = [
            ("leased", of_kind(|kind| kind == RunKind::Free)),
            ("in lines", of_kind(|kind| matches!(kind, RunKind::Line(_)))),
            ("skipped", of_kind(|kind| kind == RunKind::Skipped)),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, ", {count} new {what}")?;
        }
        if !self.again.is_empty() {
            f.write_str(", again ")?;
            write_list(f, &self.again)?;
        }
        match &self.terms {
            Some(terms) => write!(f, ", visible at {} ms", terms.visible_at),
            None => Ok(()),
        }
    }
}

fn write_list(f: &mut Formatter<'_>, offsets: &[QueueOffset]) -> fmt::Result {
    for (index, offset) in offsets.iter().enumerate() {
        if index > 0 {
            f.write_str(" ")?;
        }
        write!(f, "{offset}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use types::broker::LeaseOwner;
    use types::{GroupName, PhysicalOffset, QueueId, Timestamp, TopicName};

    use super::super::{Pending, VERSION};
    use super::*;

    #[test]
    fn a_journal_record_reads_aloud() {
        let owner = LeaseOwner {
            group: GroupName::new("workers").expect("valid"),
            topic: TopicName::new("orders").expect("valid"),
        };
        let began = PopEvent::Began { slot: SlotId(0), owner, queue: QueueId(3), start: QueueOffset(9) };
        let offsets = [QueueOffset(9), QueueOffset(11)].into_iter().collect();
        let mut pending = Pending::new(1 << 30);
        pending.push(&Event::Pop(began));
        pending.push(&Event::Pop(PopEvent::Finished { slot: SlotId(0), offsets }));
        pending.push(&Event::Recalled { due: Timestamp(5), offset: PhysicalOffset(77) });
        let body = pending.take().concat();
        assert_eq!(
            lines(&body).collect::<Vec<_>>(),
            [
                "began: slot 0 is group workers on queue 3 of orders from 9 on",
                "finished: slot 0, offsets 9 11",
                "delayed message recalled: at 77, was due at 5 ms",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_ends_the_lines() {
        assert_eq!(lines(&[VERSION, 99, 1]).collect::<Vec<_>>(), ["unreadable: malformed event tag"]);
        assert_eq!(lines(&[]).collect::<Vec<_>>(), ["unreadable: malformed journal version"]);
    }
}
