//! What the pop machine journals: every change of its state that must survive, and its byte form.
//!
//! An event begins with one byte: its kind, and in the four high bits the format's version. It names its queue by a
//! slot number, which [`PopEvent::Began`] bound to a group, topic and queue; so an ack costs three to eight bytes, and
//! acks of one queue that follow each other in a batch share one event and cost one or two each.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use types::broker::{ClientId, LeaseOwner};
use types::topic::QUEUES_MAX;
use types::{GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::SCAN_ENTRIES_MAX;
use super::codec::{DecodeError, EVENT_KIND, Reader, put_i64, put_offsets, put_text, put_u64, put_usize};

/// Version of the events' byte form.
const VERSION: u8 = 1;

/// Most queues with a group's state; a slot number beyond it is not ours. 100,000 queues of one group each are ordinary.
pub const SLOTS_MAX: u32 = 16 * 1024 * 1024;

/// Number of a (group, topic, queue) in the machine, reused after the group or topic is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

/// Offsets of an event; most acks are alone.
pub type Offsets = SmallVec<[QueueOffset; 4]>;

/// A change of the pop machine's state that survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PopEvent {
    /// A group began to consume a queue at `start`.
    Began {
        /// The number that stands for it from now on.
        slot: SlotId,
        /// The group and topic.
        owner: LeaseOwner,
        /// The queue.
        queue: QueueId,
        /// The first offset that it will look at.
        start: QueueOffset,
    },
    /// A pop looked at new entries and leased some.
    Popped(Popped),
    /// Acked, skipped by the filter or given up: done for this group.
    Finished {
        /// Where.
        slot: SlotId,
        /// Which.
        offsets: Offsets,
    },
    /// The client changed when an entry is visible again.
    Changed {
        /// Where.
        slot: SlotId,
        /// Which.
        offset: QueueOffset,
        /// The pop time of the new handle.
        popped_at: Timestamp,
        /// When it is visible again.
        visible_at: Timestamp,
        /// Whether the delivery is not counted.
        is_suspended: bool,
    },
    /// Never reached the client, or suspended and the time is over: visible, and the delivery is not counted.
    Released {
        /// Where.
        slot: SlotId,
        /// Which.
        offsets: Offsets,
    },
    /// The lease ended without an ack: visible for the next delivery.
    Expired {
        /// Where.
        slot: SlotId,
        /// Which.
        offsets: Offsets,
    },
    /// The last allowed delivery failed: never delivered again, to be dead-lettered.
    Exhausted {
        /// Where.
        slot: SlotId,
        /// Which.
        offsets: Offsets,
    },
    /// The group's progress was set to `offset`; all leases there ended.
    Reset {
        /// Where.
        slot: SlotId,
        /// The first offset that it will look at next.
        offset: QueueOffset,
    },
    /// The queue begins at `first` now, what was unfinished before is gone.
    Trimmed {
        /// Where.
        slot: SlotId,
        /// The queue's first offset.
        first: QueueOffset,
    },
    /// The group or topic was deleted; the slot number is free again.
    Forgot {
        /// Which.
        slot: SlotId,
    },
}

/// What a pop changed in one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Popped {
    /// Where.
    pub slot: SlotId,
    /// Unfinished entries that were leased again.
    pub again: Offsets,
    /// What became of the entries from `next` on, in order.
    pub fresh: SmallVec<[Run; 2]>,
    /// To whom; `None` when nothing was leased.
    pub terms: Option<Terms>,
}

/// Entries that follow each other and are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub count: u32,
    /// What they are.
    pub kind: RunKind,
}

/// What a pop saw in an entry that it looked at for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// The filter does not want it: finished.
    Skipped,
    /// Leased.
    Free,
    /// Leased when it is the head of this line, else blocked behind it.
    Line(u32),
}

/// The conditions of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The handles' pop time.
    pub popped_at: Timestamp,
    /// When it ends unless it is prolonged.
    pub visible_at: Timestamp,
    /// For how long it was given, and is prolonged each time.
    pub invisible: Duration,
    /// To whom.
    pub client: ClientId,
    /// Whether it is prolonged once the messages were written and as long as the client lives.
    pub auto_renew: bool,
    /// Whether the same client asked again with the same attempt: the delivery goes on and is not counted again.
    pub is_reentry: bool,
    /// The client's name for the attempt; kept for ordered entries only.
    pub attempt_id: Option<Arc<str>>,
}

mod kind {
    pub(super) const BEGAN: u8 = 0;
    pub(super) const POPPED: u8 = 1;
    pub(super) const FINISHED: u8 = 2;
    pub(super) const CHANGED: u8 = 3;
    pub(super) const RELEASED: u8 = 4;
    pub(super) const EXPIRED: u8 = 5;
    pub(super) const EXHAUSTED: u8 = 6;
    pub(super) const RESET: u8 = 7;
    pub(super) const TRIMMED: u8 = 8;
    pub(super) const FORGOT: u8 = 9;
    pub(super) const SUSPENDED: u8 = 10;
}

impl PopEvent {
    /// Appends the byte form. It ends itself, so events follow each other without frames.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Began { slot, owner, queue, start } => {
                put_head(out, kind::BEGAN, *slot);
                put_text(out, owner.group.as_str());
                put_text(out, owner.topic.as_str());
                put_u64(out, u64::from(queue.0));
                put_u64(out, start.0);
            }
            Self::Popped(popped) => popped.encode(out),
            Self::Finished { slot, offsets } => put_list(out, kind::FINISHED, *slot, offsets),
            Self::Changed { slot, offset, popped_at, visible_at, is_suspended } => {
                put_head(out, if *is_suspended { kind::SUSPENDED } else { kind::CHANGED }, *slot);
                put_u64(out, offset.0);
                put_i64(out, popped_at.0);
                put_i64(out, visible_at.0.wrapping_sub(popped_at.0));
            }
            Self::Released { slot, offsets } => put_list(out, kind::RELEASED, *slot, offsets),
            Self::Expired { slot, offsets } => put_list(out, kind::EXPIRED, *slot, offsets),
            Self::Exhausted { slot, offsets } => put_list(out, kind::EXHAUSTED, *slot, offsets),
            Self::Reset { slot, offset } => {
                put_head(out, kind::RESET, *slot);
                put_u64(out, offset.0);
            }
            Self::Trimmed { slot, first } => {
                put_head(out, kind::TRIMMED, *slot);
                put_u64(out, first.0);
            }
            Self::Forgot { slot } => put_head(out, kind::FORGOT, *slot),
        }
    }

    /// Takes one event from the front of `input`. Never panics, whatever the bytes are.
    ///
    /// # Errors
    /// [`DecodeError`]; `input` is then as it was.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { rest: input };
        let event = Self::take(&mut reader)?;
        *input = reader.rest;
        Ok(event)
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = reader.byte()?;
        if head >> 4 != VERSION {
            return Err(DecodeError::Version { found: head >> 4, expected: VERSION });
        }
        let slot = take_slot(reader)?;
        Ok(match head & 0x0f {
            kind::BEGAN => Self::Began {
                slot,
                owner: take_owner(reader)?,
                queue: take_queue(reader)?,
                start: reader.offset("start offset")?,
            },
            kind::POPPED => Self::Popped(Popped::take(slot, reader)?),
            kind::FINISHED => Self::Finished { slot, offsets: reader.offsets()? },
            changed @ (kind::CHANGED | kind::SUSPENDED) => {
                let offset = reader.offset("changed offset")?;
                let popped_at = reader.timestamp("pop time")?;
                let visible_at = Timestamp(popped_at.0.wrapping_add(reader.i64("visible time")?));
                let is_suspended = changed == kind::SUSPENDED;
                Self::Changed { slot, offset, popped_at, visible_at, is_suspended }
            }
            kind::RELEASED => Self::Released { slot, offsets: reader.offsets()? },
            kind::EXPIRED => Self::Expired { slot, offsets: reader.offsets()? },
            kind::EXHAUSTED => Self::Exhausted { slot, offsets: reader.offsets()? },
            kind::RESET => Self::Reset { slot, offset: reader.offset("reset offset")? },
            kind::TRIMMED => Self::Trimmed { slot, first: reader.offset("first offset")? },
            kind::FORGOT => Self::Forgot { slot },
            found => return Err(DecodeError::Kind { what: EVENT_KIND, found }),
        })
    }
}

impl Popped {
    fn encode(&self, out: &mut Vec<u8>) {
        put_head(out, kind::POPPED, self.slot);
        put_offsets(out, &self.again);
        put_usize(out, self.fresh.len());
        for run in &self.fresh {
            let (code, line) = match run.kind {
                RunKind::Skipped => (0, None),
                RunKind::Free => (1, None),
                RunKind::Line(line) => (2, Some(line)),
            };
            put_u64(out, u64::from(run.count) << 2 | code);
            if let Some(line) = line {
                out.extend_from_slice(&line.to_le_bytes());
            }
        }
        match &self.terms {
            None => out.push(0),
            Some(terms) => terms.encode(out),
        }
    }

    fn take(slot: SlotId, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let again = reader.offsets()?;
        let mut fresh = SmallVec::new();
        // Each of them becomes an entry in memory, but for those that are skipped.
        let mut room = SCAN_ENTRIES_MAX as u64;
        for _ in 0..reader.count("run count")? {
            let coded = reader.u64("run")?;
            let count = u32::try_from(coded >> 2).map_err(|_| DecodeError::Range { what: "run length" })?;
            let kind = match coded & 0b11 {
                0 => RunKind::Skipped,
                1 => RunKind::Free,
                2 => RunKind::Line(take_line(reader)?),
                _ => return Err(DecodeError::Kind { what: "run kind", found: 3 }),
            };
            if kind != RunKind::Skipped {
                room = room.checked_sub(count.into()).ok_or(DecodeError::Range { what: "run length" })?;
            }
            fresh.push(Run { count, kind });
        }
        Ok(Self { slot, again, fresh, terms: Terms::take(reader)? })
    }
}

mod flag {
    pub(super) const LEASED: u8 = 1;
    pub(super) const AUTO_RENEW: u8 = 2;
    pub(super) const REENTRY: u8 = 4;
    pub(super) const ATTEMPT: u8 = 8;
    pub(super) const ALL: u8 = 15;
}

impl Terms {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let bit = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(
            flag::LEASED
                | bit(self.auto_renew, flag::AUTO_RENEW)
                | bit(self.is_reentry, flag::REENTRY)
                | bit(self.attempt_id.is_some(), flag::ATTEMPT),
        );
        put_i64(out, self.popped_at.0);
        put_i64(out, self.visible_at.0.wrapping_sub(self.popped_at.0));
        put_u64(out, millis(self.invisible));
        put_text(out, &self.client);
        if let Some(attempt_id) = &self.attempt_id {
            put_text(out, attempt_id);
        }
    }

    /// `None` for the byte that stands for no lease.
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Option<Self>, DecodeError> {
        let flags = reader.byte()?;
        if flags == 0 {
            return Ok(None);
        }
        if flags & flag::LEASED == 0 || flags & !flag::ALL != 0 {
            return Err(DecodeError::Kind { what: "lease flags", found: flags });
        }
        let popped_at = reader.timestamp("pop time")?;
        Ok(Some(Self {
            popped_at,
            visible_at: Timestamp(popped_at.0.wrapping_add(reader.i64("visible time")?)),
            invisible: Duration::from_millis(reader.u64("invisible time")?),
            client: reader.shared_text()?,
            auto_renew: flags & flag::AUTO_RENEW != 0,
            is_reentry: flags & flag::REENTRY != 0,
            attempt_id: if flags & flag::ATTEMPT != 0 { Some(reader.shared_text()?) } else { None },
        }))
    }
}

/// Durations are kept in whole milliseconds, capped at what 64 bits hold.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn put_head(out: &mut Vec<u8>, kind: u8, slot: SlotId) {
    out.push(VERSION << 4 | kind);
    put_u64(out, u64::from(slot.0));
}

fn put_list(out: &mut Vec<u8>, kind: u8, slot: SlotId, offsets: &[QueueOffset]) {
    put_head(out, kind, slot);
    put_offsets(out, offsets);
}

pub(super) fn take_slot(reader: &mut Reader<'_>) -> Result<SlotId, DecodeError> {
    match reader.u32("slot")? {
        slot if slot < SLOTS_MAX => Ok(SlotId(slot)),
        _ => Err(DecodeError::Range { what: "slot" }),
    }
}

pub(super) fn take_owner(reader: &mut Reader<'_>) -> Result<LeaseOwner, DecodeError> {
    Ok(LeaseOwner { group: GroupName::new(reader.text()?)?, topic: TopicName::new(reader.text()?)? })
}

pub(super) fn take_queue(reader: &mut Reader<'_>) -> Result<QueueId, DecodeError> {
    match reader.u32("queue")? {
        queue if queue < QUEUES_MAX => Ok(QueueId(queue)),
        _ => Err(DecodeError::Range { what: "queue" }),
    }
}

/// A hash, so it is no shorter as a variable-length number.
fn take_line(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let (bytes, rest) = reader.rest.split_first_chunk::<4>().ok_or(DecodeError::Truncated)?;
    reader.rest = rest;
    Ok(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    fn terms() -> Terms {
        Terms {
            popped_at: Timestamp(1_767_323_045_000),
            visible_at: Timestamp(1_767_323_105_000),
            invisible: Duration::from_secs(60),
            client: "host@1@0@abc".into(),
            auto_renew: true,
            is_reentry: false,
            attempt_id: Some("attempt".into()),
        }
    }

    fn examples() -> Vec<PopEvent> {
        let slot = SlotId(300);
        let offsets: Offsets = smallvec![QueueOffset(7), QueueOffset(5), QueueOffset(1 << 40)];
        let owner = LeaseOwner {
            group: GroupName::new("group").expect("valid"),
            topic: TopicName::new("topic").expect("valid"),
        };
        let popped = |terms| {
            PopEvent::Popped(Popped {
                slot,
                again: offsets.clone(),
                fresh: smallvec![
                    Run { count: 9, kind: RunKind::Skipped },
                    Run { count: 1, kind: RunKind::Free },
                    Run { count: 3, kind: RunKind::Line(u32::MAX) },
                ],
                terms,
            })
        };
        let changed = |is_suspended| PopEvent::Changed {
            slot,
            offset: QueueOffset(7),
            popped_at: Timestamp(10),
            visible_at: Timestamp(4),
            is_suspended,
        };
        vec![
            PopEvent::Began { slot, owner, queue: QueueId(3), start: QueueOffset(100) },
            popped(Some(terms())),
            popped(Some(Terms { auto_renew: false, is_reentry: true, attempt_id: None, ..terms() })),
            popped(None),
            PopEvent::Finished { slot, offsets: offsets.clone() },
            changed(false),
            changed(true),
            PopEvent::Released { slot, offsets: offsets.clone() },
            PopEvent::Expired { slot, offsets: offsets.clone() },
            PopEvent::Exhausted { slot, offsets },
            PopEvent::Reset { slot, offset: QueueOffset(0) },
            PopEvent::Trimmed { slot, first: QueueOffset(9) },
            PopEvent::Forgot { slot },
        ]
    }

    #[test]
    fn every_event_comes_back_from_its_bytes() {
        let mut bytes = Vec::new();
        examples().iter().for_each(|event| event.encode(&mut bytes));
        let mut input = bytes.as_slice();
        for event in examples() {
            assert_eq!(PopEvent::decode(&mut input), Ok(event));
        }
        assert!(input.is_empty());
    }

    #[test]
    fn every_cut_of_an_event_is_refused_and_leaves_the_input() {
        for event in examples() {
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            for end in 0..bytes.len() {
                let mut input = &bytes[..end];
                assert_eq!(PopEvent::decode(&mut input), Err(DecodeError::Truncated), "{event:?} cut at {end}");
                assert_eq!(input.len(), end);
            }
        }
    }

    #[test]
    fn more_new_entries_than_a_pop_looks_at_are_refused() {
        let popped = |counts: [u32; 2]| {
            let kinds = [RunKind::Line(7), RunKind::Free];
            let runs = counts.into_iter().zip(kinds).map(|(count, kind)| Run { count, kind });
            let skipped = Run { count: u32::MAX, kind: RunKind::Skipped };
            let fresh = std::iter::once(skipped).chain(runs).collect();
            let event = PopEvent::Popped(Popped { slot: SlotId(3), again: smallvec![], fresh, terms: Some(terms()) });
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            PopEvent::decode(&mut bytes.as_slice()).map(drop)
        };
        let max = u32::try_from(SCAN_ENTRIES_MAX).expect("small");
        assert_eq!(popped([max - 1, 1]), Ok(()));
        for counts in [[max, 1], [0, u32::MAX], [u32::MAX, u32::MAX]] {
            assert_eq!(popped(counts), Err(DecodeError::Range { what: "run length" }), "{counts:?}");
        }
    }

    #[test]
    fn an_ack_costs_few_bytes() {
        let mut bytes = Vec::new();
        PopEvent::Finished { slot: SlotId(200), offsets: smallvec![QueueOffset(1_000_000_000)] }.encode(&mut bytes);
        assert_eq!(bytes.len(), 9);
    }

    #[test]
    fn newer_versions_and_unknown_kinds_are_refused() {
        assert_eq!(PopEvent::decode(&mut &[0x22, 0, 0][..]), Err(DecodeError::Version { found: 2, expected: 1 }));
        let unknown = DecodeError::Kind { what: EVENT_KIND, found: 15 };
        assert_eq!(PopEvent::decode(&mut &[0x1f, 0, 0][..]), Err(unknown));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes: Vec<u8>, kind in 0u8..16) {
            let _ = PopEvent::decode(&mut bytes.as_slice());
            if let Some(first) = bytes.first_mut() {
                *first = VERSION << 4 | kind;
            }
            let _ = PopEvent::decode(&mut bytes.as_slice());
        }
    }
}
