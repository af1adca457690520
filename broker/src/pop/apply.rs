//! Events change the state: the same way when they are made and when they are replayed.

use types::{QueueOffset, Timestamp};

use super::event::{PopEvent, Popped, Run, RunKind, SlotId};
use super::lease::LeaseId;
use super::slot::{Entry, Slot, Stage};
use super::{PopMachine, RETRIES_MAX, UNFINISHED_MAX};

/// Why an event does not fit the state: the journal misses events or they are not in order. The state is of no
/// use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A slot number that stands for nothing.
    #[error("pop event names slot {slot}, which is free")]
    UnknownSlot {
        /// The number.
        slot: u32,
    },
    /// A slot number or queue that was begun already.
    #[error("pop event begins slot {slot}, expected slot {expected} and a queue without one")]
    SlotTaken {
        /// The number.
        slot: u32,
        /// The number that had to come.
        expected: u32,
    },
    /// An entry that is finished or was never looked at.
    #[error("pop event names offset {offset} of slot {slot}, which is not unfinished")]
    NotUnfinished {
        /// The slot.
        slot: u32,
        /// The offset.
        offset: QueueOffset,
    },
    /// A pop without the terms of its lease, or past the last offset.
    #[error("pop event for slot {slot} contradicts itself")]
    Inconsistent {
        /// The slot.
        slot: u32,
    },
}

impl PopMachine {
    /// Changes the state as `event` says.
    ///
    /// # Errors
    /// [`ApplyError`] when it does not fit; never for events of this machine, applied in the order in which they were made.
    pub fn apply(&mut self, event: &PopEvent) -> Result<(), ApplyError> {
        match event {
            PopEvent::Began { slot: id, owner, queue, start } => {
                let expected = self.slots.next_id();
                let slot = Slot::new(owner.clone(), *queue, *start);
                if *id != expected || !self.slots.insert(*id, slot) {
                    return Err(ApplyError::SlotTaken { slot: id.0, expected: expected.0 });
                }
            }
            PopEvent::Popped(popped) => self.apply_popped(popped)?,
            PopEvent::Finished { slot, offsets } => {
                for offset in offsets {
                    self.finish_entry(*slot, *offset)?;
                }
            }
            PopEvent::Changed { slot: id, offset, popped_at, visible_at, is_suspended } => {
                let (slot, leases) = (slot_mut(&mut self.slots, *id)?, &mut self.leases);
                let lease = leases.wait(*id, *popped_at, *visible_at, *is_suspended);
                leases.enter(lease, *offset);
                slot.last_pop = slot.last_pop.max(*popped_at);
                slot.set_stage(*offset, Stage::Leased(lease), leases).ok_or(not_unfinished(*id, *offset))?;
                self.note_delay(*id, *offset, visible_at.since(*popped_at));
            }
            PopEvent::Released { slot: id, offsets } => {
                for offset in offsets {
                    let entry = self.make_ready(*id, *offset)?;
                    entry.attempts = entry.attempts.saturating_sub(1);
                }
            }
            PopEvent::Expired { slot: id, offsets } => {
                for offset in offsets {
                    self.make_ready(*id, *offset)?;
                }
            }
            PopEvent::Exhausted { slot: id, offsets } => {
                let slot = slot_mut(&mut self.slots, *id)?;
                for offset in offsets {
                    let entry = slot.set_stage(*offset, Stage::Exhausted, &mut self.leases);
                    entry.ok_or(not_unfinished(*id, *offset))?;
                    self.exhausted.push_back((*id, *offset));
                }
            }
            PopEvent::Reset { slot: id, offset } => {
                let slot = slot_mut(&mut self.slots, *id)?;
                slot.clear(&mut self.leases);
                slot.next = *offset;
                // Else a handle from before could be good for the same entry, delivered anew in the same millisecond.
                slot.last_pop = after(slot.last_pop);
                self.visible.insert(*id);
                self.forget_aliases_of(*id);
            }
            PopEvent::Trimmed { slot: id, first } => {
                if slot_mut(&mut self.slots, *id)?.trim(*first, &mut self.leases) {
                    self.visible.insert(*id);
                }
            }
            PopEvent::Forgot { slot } => {
                let mut forgotten = self.slots.remove(*slot).ok_or(ApplyError::UnknownSlot { slot: slot.0 })?;
                forgotten.clear(&mut self.leases);
                self.visible.remove(slot);
                self.wide.remove(slot);
                self.delayed.retain(|(id, _)| id != slot);
            }
        }
        Ok(())
    }

    fn apply_popped(&mut self, popped: &Popped) -> Result<(), ApplyError> {
        let id = popped.slot;
        let slot = slot_mut(&mut self.slots, id)?;
        let lease = popped.terms.as_ref().map(|terms| (self.leases.grant(id, terms), terms));
        for offset in &popped.again {
            let (lease, terms) = lease.ok_or(ApplyError::Inconsistent { slot: id.0 })?;
            self.leases.enter(lease, *offset);
            let entry =
                slot.set_stage(*offset, Stage::Leased(lease), &mut self.leases).ok_or(not_unfinished(id, *offset))?;
            if !terms.is_reentry {
                entry.attempts = entry.attempts.saturating_add(1);
                entry.popped_at = terms.popped_at;
                slot.aliases.forget(*offset);
            }
        }
        let granted = lease.map(|(lease, terms)| (lease, terms.popped_at));
        for run in &popped.fresh {
            self.apply_run(id, run, granted)?;
        }
        if let Some((lease, terms)) = lease {
            let slot = slot_mut(&mut self.slots, id)?;
            slot.last_pop = slot.last_pop.max(terms.popped_at);
            self.leases.end_if_empty(lease);
        }
        Ok(())
    }

    /// Takes in entries that were looked at for the first time.
    fn apply_run(&mut self, id: SlotId, run: &Run, lease: Option<(LeaseId, Timestamp)>) -> Result<(), ApplyError> {
        let slot = slot_mut(&mut self.slots, id)?;
        let start = slot.next;
        let end = start.0.checked_add(u64::from(run.count)).ok_or(ApplyError::Inconsistent { slot: id.0 })?;
        slot.next = QueueOffset(end);
        let line = match run.kind {
            RunKind::Skipped => return Ok(()),
            RunKind::Free => 0,
            RunKind::Line(line) => line,
        };
        for offset in (start.0..end).map(QueueOffset) {
            let entry = if line != 0 && slot.has_line(line) {
                Entry { line, ..Entry::new(Stage::Blocked) }
            } else {
                let (lease, popped_at) = lease.ok_or(ApplyError::Inconsistent { slot: id.0 })?;
                self.leases.enter(lease, offset);
                Entry { popped_at, stage: Stage::Leased(lease), line, attempts: 1, is_held: false }
            };
            slot.insert(offset, entry);
        }
        Ok(())
    }

    /// Ends an entry for good.
    pub(super) fn finish_entry(&mut self, id: SlotId, offset: QueueOffset) -> Result<(), ApplyError> {
        let slot = slot_mut(&mut self.slots, id)?;
        let was_full = slot.entries.len() >= if slot.is_retry { RETRIES_MAX } else { UNFINISHED_MAX };
        let is_woken = slot.finish(offset, &mut self.leases).ok_or(not_unfinished(id, offset))?;
        if is_woken || was_full {
            self.visible.insert(id);
        }
        self.delayed.remove(&(id, offset));
        Ok(())
    }

    fn make_ready(&mut self, id: SlotId, offset: QueueOffset) -> Result<&mut Entry, ApplyError> {
        let slot = slot_mut(&mut self.slots, id)?;
        self.visible.insert(id);
        slot.set_stage(offset, Stage::Ready, &mut self.leases).ok_or(not_unfinished(id, offset))
    }
}

fn slot_mut(slots: &mut super::Slots, id: SlotId) -> Result<&mut Slot, ApplyError> {
    slots.get_mut(id).ok_or(ApplyError::UnknownSlot { slot: id.0 })
}

fn not_unfinished(slot: SlotId, offset: QueueOffset) -> ApplyError {
    ApplyError::NotUnfinished { slot: slot.0, offset }
}

/// The next pop time that is later than `time`.
pub(super) fn after(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_add(1))
}
