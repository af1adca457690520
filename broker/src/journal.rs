//! The journal: what clients and operators change besides messages, as records of a system topic.
//!
//! A record's body, all numbers as in `codec`:
//!
//! | part    | bytes | notes                                         |
//! |---------|-------|-----------------------------------------------|
//! | version | 1     | [`VERSION`]                                   |
//! | events  | …     | one after the other: a tag, then its own form |
//!
//! The events of one engine round are one record; why so is told by `docs/decisions/0003`.

mod display;

use types::{PhysicalOffset, Timestamp};

use crate::codec::{Input, Malformed, put_time, put_u64};
use crate::pop::PopEvent;
use crate::timer::Waits;
use crate::{catalog, offset, transaction};

pub use display::lines;

/// The system topic that keeps the journal, in its queue 0.
pub const JOURNAL_TOPIC: &str = "rmq_sys_gantry_journal";
/// The form of the events.
pub const VERSION: u8 = 1;
/// An event that this version does not know: records have checksums, so a newer one wrote it.
pub(crate) const UNKNOWN_EVENT: Malformed = Malformed { what: "event tag" };
/// The same of a whole record.
pub(crate) const UNKNOWN_VERSION: Malformed = Malformed { what: "journal version" };
/// A record is closed once its body is longer than this, so that none comes near the largest body.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Events that could not be stored are kept up to this many bytes; then requests that would make more are refused.
pub const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One change of the machines' state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Topics and groups.
    Catalog(catalog::Event),
    /// Leases.
    Pop(PopEvent),
    /// A group's offset.
    Offset(offset::Committed),
    /// A producer was asked about a half message.
    Checked(transaction::Checked),
    /// A delayed message was taken back.
    Recalled {
        /// When it was due.
        due: Timestamp,
        /// Its record in the wheel topic.
        offset: PhysicalOffset,
    },
    /// The idempotency keys of messages stored up to here are forgotten.
    KeysForgotten {
        /// The last such message's record.
        to: PhysicalOffset,
    },
    /// The log up to here is Apache's: nothing that its records said counts. What does is said by the events that follow.
    Imported,
    /// A message that Apache stored waits for its time.
    Waits(Waits),
    /// A half message that Apache stored waits for its outcome.
    Undecided(transaction::Undecided),
    /// The directory is about to be Apache's again: for Apache what waits for a time is in the records that follow.
    HandedBack,
}

const CATALOG: u8 = 1;
const POP: u8 = 2;
const OFFSET: u8 = 3;
const CHECKED: u8 = 4;
const RECALLED: u8 = 5;
const KEYS_FORGOTTEN: u8 = 6;
// Those of a takeover.
const IMPORTED: u8 = 16;
const WAITS: u8 = 17;
const UNDECIDED: u8 = 18;
const HANDED_BACK: u8 = 19;

impl Event {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Catalog(event) => {
                out.push(CATALOG);
                event.encode(out);
            }
            Self::Pop(event) => {
                out.push(POP);
                event.encode(out);
            }
            Self::Offset(event) => {
                out.push(OFFSET);
                event.encode(out);
            }
            Self::Checked(event) => {
                out.push(CHECKED);
                event.encode(out);
            }
            Self::Recalled { due, offset } => {
                out.push(RECALLED);
                put_time(out, *due);
                put_u64(out, offset.0);
            }
            Self::KeysForgotten { to } => {
                out.push(KEYS_FORGOTTEN);
                put_u64(out, to.0);
            }
            Self::Imported => out.push(IMPORTED),
            Self::Waits(waits) => {
                out.push(WAITS);
                waits.encode(out);
            }
            Self::Undecided(half) => {
                out.push(UNDECIDED);
                half.encode(out);
            }
            Self::HandedBack => out.push(HANDED_BACK),
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(match input.u8()? {
            CATALOG => Self::Catalog(catalog::Event::decode(input)?),
            POP => Self::Pop(PopEvent::decode(&mut input.0).map_err(|error| match error.is_newer() {
                true => UNKNOWN_EVENT,
                false => Malformed { what: "pop event" },
            })?),
            OFFSET => Self::Offset(offset::Committed::decode(input)?),
            CHECKED => Self::Checked(transaction::Checked::decode(input)?),
            RECALLED => Self::Recalled { due: input.time()?, offset: input.physical_offset()? },
            KEYS_FORGOTTEN => Self::KeysForgotten { to: input.physical_offset()? },
            IMPORTED => Self::Imported,
            WAITS => Self::Waits(Waits::decode(input)?),
            UNDECIDED => Self::Undecided(transaction::Undecided::decode(input)?),
            HANDED_BACK => Self::HandedBack,
            _ => return Err(UNKNOWN_EVENT),
        })
    }
}

/// The events of a record's body, in order; the first that cannot be read ends them.
pub(crate) fn events(body: &[u8]) -> impl Iterator<Item = Result<Event, Malformed>> + '_ {
    let mut input = Input(body);
    let mut is_broken = !matches!(input.u8(), Ok(VERSION));
    let version_error = is_broken.then_some(Err(UNKNOWN_VERSION));
    version_error.into_iter().chain(std::iter::from_fn(move || {
        if is_broken || input.is_empty() {
            return None;
        }
        let event = Event::decode(&mut input);
        is_broken = event.is_err();
        Some(event)
    }))
}

/// Events that wait for their record, oldest first.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Bodies, each but the last longer than `body_bytes`.
    bodies: Vec<Vec<u8>>,
    bytes: usize,
    body_bytes: usize,
}

impl Pending {
    /// For a log with segments of this length: a record must be far smaller than one.
    pub(crate) fn new(segment_bytes: u64) -> Self {
        let quarter = usize::try_from(segment_bytes / 4).unwrap_or(usize::MAX);
        Self { bodies: Vec::new(), bytes: 0, body_bytes: BODY_BYTES.min(quarter) }
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Whether the log has not taken events for so long that no more may be made.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES_MAX
    }

    pub(crate) fn push(&mut self, event: &Event) {
        self.write(|body| event.encode(body));
    }

    pub(crate) fn push_pop(&mut self, events: &mut Vec<PopEvent>) {
        for event in events.drain(..) {
            self.write(|body| {
                body.push(POP);
                event.encode(body);
            });
        }
    }

    fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.bodies.last().is_none_or(|body| body.len() > self.body_bytes) {
            self.bodies.push(vec![VERSION]);
        }
        if let Some(body) = self.bodies.last_mut() {
            let before = body.len();
            encode(body);
            self.bytes += body.len() - before;
        }
    }

    /// All bodies; the caller stores them or gives them back by [`Pending::put_back`].
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        self.bytes = 0;
        std::mem::take(&mut self.bodies)
    }

    /// Gives back bodies that were not stored; nothing may have been pushed since.
    pub(crate) fn put_back(&mut self, bodies: Vec<Vec<u8>>) {
        debug_assert!(self.is_empty(), "events must keep their order");
        self.bytes = bodies.iter().map(Vec::len).sum();
        self.bodies = bodies;
    }
}

#[cfg(test)]
mod tests {
    use types::broker::TransactionPosition;
    use types::{GroupName, QueueId, QueueOffset, TopicName};

    use super::*;

    fn some_events() -> Vec<Event> {
        let (group, topic) = (GroupName::new("g").expect("valid"), TopicName::new("t").expect("valid"));
        let (queue, offset) = (QueueId(3), QueueOffset(1 << 40));
        vec![
            Event::Recalled { due: Timestamp(5), offset: PhysicalOffset(77) },
            Event::Checked(transaction::Checked { offset: PhysicalOffset(1), next_at: Timestamp(-1) }),
            Event::Offset(offset::Committed { group: group.clone(), topic, queue, offset }),
            Event::Catalog(catalog::Event::DeleteGroup { name: group }),
            Event::Imported,
            Event::Waits(Waits { due: Timestamp(9), offset: PhysicalOffset(0), record_bytes: 200, identity: u64::MAX }),
            Event::Undecided(transaction::Undecided {
                position: TransactionPosition { queue_offset: offset, physical_offset: PhysicalOffset(3) },
                record_bytes: 300,
                topic: TopicName::new("t").expect("valid"),
                times: 2,
                check_at: Timestamp(4),
            }),
            Event::HandedBack,
        ]
    }

    #[test]
    fn events_come_out_in_the_order_they_went_in() {
        let mut pending = Pending::new(1 << 30);
        for event in some_events() {
            pending.push(&event);
        }
        let bodies = pending.take();
        assert_eq!(bodies.len(), 1);
        let read: Result<Vec<_>, _> = events(&bodies[0]).collect();
        assert_eq!(read, Ok(some_events()));
        assert!(pending.is_empty());
    }

    #[test]
    fn a_long_journal_is_split_and_bounded() {
        let mut pending = Pending::new(1 << 30);
        let mut pushed = 0;
        while !pending.is_full() {
            pending.push(&some_events()[0]);
            pushed += 1;
        }
        let bodies = pending.take();
        assert!(bodies.iter().all(|body| body.len() < BODY_BYTES + 100));
        assert_eq!(bodies.iter().flat_map(|body| events(body)).count(), pushed);
        pending.put_back(bodies);
        assert!(pending.is_full());
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_read_or_refused(rest: Vec<u8>) {
            let body: Vec<u8> = std::iter::once(VERSION).chain(rest).collect();
            for event in events(&body) {
                drop(event);
            }
        }
    }

    #[test]
    fn broken_bodies_end_with_an_error() {
        assert_eq!(events(&[9]).collect::<Vec<_>>(), [Err(UNKNOWN_VERSION)]);
        // Of the journal, of pops (form and kind), of the catalog.
        for unknown in [&[99][..], &[POP, 0x21, 0], &[POP, 0x1f, 0], &[CATALOG, 99]] {
            assert_eq!(events(&[&[VERSION], unknown].concat()).collect::<Vec<_>>(), [Err(UNKNOWN_EVENT)]);
        }
        assert_eq!(events(&[VERSION]).count(), 0);
    }
}
