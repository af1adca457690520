//! The durable state as bytes, for checkpoints.
//!
//! ```text
//! version u8 · slots · { id · group · topic · queue · next · last pop time
//!                        · leases  { pop time · visible time, or whole terms }
//!                        · entries { offset (distance) · attempts · pop time · line · stage }
//!                        · aliases { offset (distance) · is retry u8 · queue · offset }  }
//! ```
//!
//! Slots ascend by number, entries by offset, leases by their first entry: equal states have equal bytes, whatever way
//! they came about. Numbers and texts are those of `codec.rs`. Version 1 had no aliases; it is refused, and the log is
//! replayed instead. Version 2 knew no suspended leases, and is what is written while there are none
//! (`docs/decisions/0008-one-version-back.md`).

use std::collections::BTreeMap;

use types::{QueueOffset, Timestamp};

use super::PopMachine;
use super::codec::{DecodeError, Reader, put_i64, put_text, put_u64, put_usize};
use super::event::{SlotId, Terms, take_owner, take_queue, take_slot};
use super::lease::{LeaseId, Leases};
use super::retry::{Aliases, Origin};
use super::slot::{Entry, Slot, Stage};

/// Version of the snapshot's byte form.
const VERSION: u8 = 3;
/// The oldest version that is read: without suspended leases, else the same.
const VERSION_WITHOUT_SUSPENDED: u8 = 2;
/// Stages as numbers; that of a leased entry is this plus the lease's place among those of its slot.
const STAGE_BLOCKED: u64 = 0;
const STAGE_READY: u64 = 1;
const STAGE_EXHAUSTED: u64 = 2;
const STAGE_LEASED: u64 = 3;
/// First byte of a lease of nobody; that of others are the flags of their terms, which are neither of these.
const LEASE_WAITING: u8 = 0;
/// The same of one whose delivery is not counted.
const LEASE_SUSPENDED: u8 = 16;

impl PopMachine {
    /// Appends the durable state.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        out.push(if self.leases.has_suspended() { VERSION } else { VERSION_WITHOUT_SUSPENDED });
        put_usize(out, self.slots.iter().count());
        for (id, slot) in self.slots.iter() {
            put_u64(out, u64::from(id.0));
            put_slot(out, slot, &self.leases);
        }
    }

    /// The machine with this durable state. Call [`PopMachine::recovered`] when all that came after is replayed.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not exactly one snapshot. Never panics, whatever they are.
    pub fn restore(input: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { rest: input };
        let found = reader.byte()?;
        if !(VERSION_WITHOUT_SUSPENDED..=VERSION).contains(&found) {
            return Err(DecodeError::Version { found, expected: VERSION });
        }
        let mut machine = Self::new();
        let mut last = None;
        for _ in 0..reader.count("slot count")? {
            let id = take_slot(&mut reader)?;
            if last.is_some_and(|last| last >= id) {
                return Err(DecodeError::Inconsistent { what: "slot number" });
            }
            last = Some(id);
            let slot = restore_slot(&mut reader, id, &mut machine.leases)?;
            if !machine.slots.insert(id, slot) {
                return Err(DecodeError::Inconsistent { what: "queue" });
            }
        }
        if reader.rest.is_empty() { Ok(machine) } else { Err(DecodeError::Inconsistent { what: "length" }) }
    }
}

fn put_slot(out: &mut Vec<u8>, slot: &Slot, leases: &Leases) {
    put_text(out, slot.owner.group.as_str());
    put_text(out, slot.owner.topic.as_str());
    put_u64(out, u64::from(slot.queue.0));
    put_u64(out, slot.next.0);
    put_i64(out, slot.last_pop.0);

    let mut numbers: BTreeMap<LeaseId, u64> = BTreeMap::new();
    let mut encoded_leases = Vec::new();
    let mut entries = Vec::new();
    let mut last = 0;
    for (offset, entry) in &slot.entries {
        put_u64(&mut entries, offset.0 - last);
        last = offset.0;
        put_u64(&mut entries, u64::from(entry.attempts));
        put_i64(&mut entries, entry.popped_at.0);
        put_u64(&mut entries, u64::from(entry.line));
        let stage = match entry.stage {
            Stage::Blocked => STAGE_BLOCKED,
            Stage::Ready => STAGE_READY,
            Stage::Exhausted => STAGE_EXHAUSTED,
            Stage::Leased(lease) => {
                let number = numbers.len() as u64;
                STAGE_LEASED
                    + *numbers.entry(lease).or_insert_with(|| {
                        put_lease(&mut encoded_leases, leases, lease);
                        number
                    })
            }
        };
        put_u64(&mut entries, stage);
    }
    put_usize(out, numbers.len());
    out.append(&mut encoded_leases);
    put_usize(out, slot.entries.len());
    out.append(&mut entries);
    put_aliases(out, &slot.aliases);
}

fn put_aliases(out: &mut Vec<u8>, aliases: &Aliases) {
    put_usize(out, aliases.iter().len());
    let mut last = 0;
    for (copy, origin) in aliases.iter() {
        put_u64(out, copy.0 - last);
        last = copy.0;
        out.push(u8::from(origin.is_retry));
        put_u64(out, u64::from(origin.queue.0));
        put_u64(out, origin.offset.0);
    }
}

fn put_lease(out: &mut Vec<u8>, leases: &Leases, id: LeaseId) {
    let lease = leases.get(id);
    let Some(holder) = &lease.holder else {
        out.push(if lease.is_suspended { LEASE_SUSPENDED } else { LEASE_WAITING });
        put_i64(out, lease.popped_at.0);
        put_i64(out, lease.visible_at.0);
        return;
    };
    let terms = Terms {
        popped_at: lease.popped_at,
        visible_at: lease.visible_at,
        invisible: holder.invisible,
        client: leases.client_name(holder).clone(),
        auto_renew: holder.auto_renew,
        is_reentry: false,
        attempt_id: holder.attempt_id.clone(),
    };
    terms.encode(out);
}

fn restore_slot(reader: &mut Reader<'_>, id: SlotId, leases: &mut Leases) -> Result<Slot, DecodeError> {
    let owner = take_owner(reader)?;
    let queue = take_queue(reader)?;
    let mut slot = Slot::new(owner, queue, reader.offset("next offset")?);
    slot.last_pop = reader.timestamp("last pop time")?;

    let mut numbers = Vec::new();
    for _ in 0..reader.count("lease count")? {
        numbers.push(restore_lease(reader, id, leases)?);
    }
    let mut last = 0u64;
    for index in 0..reader.count("entry count")? {
        let distance = reader.u64("entry offset")?;
        let offset = last.checked_add(distance).filter(|offset| *offset < slot.next.0);
        let offset = offset.filter(|_| index == 0 || distance > 0);
        last = offset.ok_or(DecodeError::Inconsistent { what: "entry offset" })?;
        restore_entry(reader, &mut slot, QueueOffset(last), &numbers, leases)?;
    }
    numbers.into_iter().for_each(|lease| leases.end_if_empty(lease));
    restore_aliases(reader, &mut slot)?;
    Ok(slot)
}

fn restore_lease(reader: &mut Reader<'_>, id: SlotId, leases: &mut Leases) -> Result<LeaseId, DecodeError> {
    let is_suspended = reader.rest.first() == Some(&LEASE_SUSPENDED);
    if is_suspended {
        reader.byte()?;
    } else if let Some(terms) = Terms::take(reader)? {
        return Ok(leases.grant(id, &terms));
    }
    Ok(leases.wait(id, reader.timestamp("pop time")?, reader.timestamp("visible time")?, is_suspended))
}

fn restore_aliases(reader: &mut Reader<'_>, slot: &mut Slot) -> Result<(), DecodeError> {
    let mut copy = 0u64;
    for _ in 0..reader.count("alias count")? {
        copy = copy.wrapping_add(reader.u64("alias copy")?);
        let is_retry = match reader.byte()? {
            0 => false,
            1 => true,
            found => return Err(DecodeError::Kind { what: "alias source", found }),
        };
        let origin = Origin { is_retry, queue: take_queue(reader)?, offset: reader.offset("alias offset")? };
        let copy = QueueOffset(copy);
        if !slot.is_retry || !slot.entries.contains_key(&copy) || !slot.aliases.insert(copy, origin) {
            return Err(DecodeError::Inconsistent { what: "alias" });
        }
    }
    Ok(())
}

fn restore_entry(
    reader: &mut Reader<'_>,
    slot: &mut Slot,
    offset: QueueOffset,
    numbers: &[LeaseId],
    leases: &mut Leases,
) -> Result<(), DecodeError> {
    let attempts = reader.u64("attempts")?.try_into().map_err(|_| DecodeError::Range { what: "attempts" })?;
    let popped_at: Timestamp = reader.timestamp("pop time")?;
    let line = reader.u32("line")?;
    let stage = match reader.u64("stage")? {
        STAGE_BLOCKED => Stage::Blocked,
        STAGE_READY => Stage::Ready,
        STAGE_EXHAUSTED => Stage::Exhausted,
        number => {
            let index = usize::try_from(number - STAGE_LEASED).ok();
            let lease = index.and_then(|index| numbers.get(index));
            let lease = *lease.ok_or(DecodeError::Inconsistent { what: "lease number" })?;
            leases.enter(lease, offset);
            Stage::Leased(lease)
        }
    };
    // The head of a line is its first entry, and it alone is not blocked.
    if (stage == Stage::Blocked) != (line != 0 && slot.has_line(line)) {
        return Err(DecodeError::Inconsistent { what: "stage" });
    }
    slot.insert(offset, Entry { popped_at, stage, line, attempts, is_held: false });
    Ok(())
}
