//! What clients and front doors do with a handle: ack, change, report its delivery, give it up.
//!
//! A handle is good when its pop time is not older than the first pop time of the entry's current delivery, and not
//! newer than any that was given out. So renewals and re-entries keep old handles good, and the next delivery makes them
//! invalid. A handle of an entry that was moved to the retry topic names the copy (`pop/retry.rs`). A finished entry has no good
//! handle: clients take that refusal as final (grpc fact 19.5, pitfall 34).

use types::broker::{ChangeInvisible, LeaseError, LeaseOwner};
use types::receipt_handle::HandleSource;
use types::topic::RETRY_QUEUE;
use types::{QueueId, QueueOffset, ReceiptHandle, Timestamp};

use super::event::{Offsets, PopEvent, SlotId};
use super::slot::{Entry, Slot, Stage};
use super::{Origin, PopMachine, Standing, Unfinished};

/// Why a handle is refused that names nothing.
const NEVER_GIVEN_OUT: &str = "it was never given out";

/// What a handle names.
enum Named<'a> {
    /// An entry whose current delivery it is of: where it is now.
    Current(SlotId, QueueOffset, &'a Entry),
    /// An entry that is not unfinished any more, or whose queue is gone.
    Gone(LeaseError),
    /// An entry that was delivered again since, or nothing that was ever given out.
    Wrong(&'static str),
}

/// Looks up the slots of a batch of handles, which mostly are of one queue.
#[derive(Default)]
struct LastQueue(Option<((HandleSource, QueueId), Option<SlotId>)>);

impl LastQueue {
    fn slot(&mut self, machine: &PopMachine, owner: &LeaseOwner, handle: &ReceiptHandle) -> Option<SlotId> {
        match self.0 {
            Some((queue, slot)) if queue == (handle.source, handle.queue) => slot,
            _ => self.0.insert(((handle.source, handle.queue), machine.slot_of(owner, handle))).1,
        }
    }
}

impl PopMachine {
    /// Finishes messages, with a result for each handle, in order.
    pub fn ack(
        &mut self,
        owner: &LeaseOwner,
        handles: &[ReceiptHandle],
        events: &mut Vec<PopEvent>,
    ) -> Vec<Result<(), LeaseError>> {
        let mut queue = LastQueue::default();
        let one = |handle: &ReceiptHandle| {
            let (id, offset, _) = self.current(owner, queue.slot(self, owner, handle), handle)?;
            self.finish_and_record(id, offset, events);
            Ok(())
        };
        handles.iter().map(one).collect()
    }

    /// Makes a message visible again after a time from now, at the next [`PopMachine::expire`] when that is zero.
    /// Returns the handle to use from now on; the old one stays good too. The delivery counts as failed, unless it is suspended.
    ///
    /// # Errors
    /// [`LeaseError::Invalid`].
    pub fn change_invisible(
        &mut self,
        owner: &LeaseOwner,
        handle: &ReceiptHandle,
        change: ChangeInvisible,
        now: Timestamp,
        events: &mut Vec<PopEvent>,
    ) -> Result<ReceiptHandle, LeaseError> {
        let (id, offset, entry) = self.current(owner, self.slot_of(owner, handle), handle)?;
        if entry.stage == Stage::Exhausted {
            return Err(LeaseError::Invalid { reason: "the message goes to the dead-letter topic" });
        }
        let slot = self.slots.get(id).expect("the slot of a good handle");
        let popped_at = now.max(slot.last_pop);
        let ChangeInvisible { invisible, suspend } = change;
        // One that is visible already was counted, or not, when its lease ended.
        let is_suspended = suspend && matches!(entry.stage, Stage::Leased(_));
        let visible_at = now.plus(invisible);
        self.commit(PopEvent::Changed { slot: id, offset, popped_at, visible_at, is_suspended }, events);
        Ok(ReceiptHandle { start_offset: handle.offset, popped_at, invisible, ..handle.clone() })
    }

    /// These were written to the client: from now on their leases are prolonged if that was asked for. Not durable.
    /// Handles that are not of an open lease are passed over.
    pub fn hold(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle]) {
        let mut queue = LastQueue::default();
        for handle in handles {
            if let Some((id, offset)) = self.leased(owner, queue.slot(self, owner, handle), handle) {
                let slot = self.slots.get_mut(id).expect("the slot of a good handle");
                let entry = slot.entries.get_mut(&offset).expect("the entry of a good handle");
                entry.is_held = true;
            }
        }
    }

    /// These never reached the client: visible at once, the delivery is not counted.
    /// Handles that are not of an open lease are passed over.
    pub fn release(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle], events: &mut Vec<PopEvent>) {
        let mut queue = LastQueue::default();
        for handle in handles {
            if let Some((slot, offset)) = self.leased(owner, queue.slot(self, owner, handle), handle) {
                self.commit(PopEvent::Released { slot, offsets: Offsets::from_slice(&[offset]) }, events);
            }
        }
    }

    /// These the group's filter does not want after all: finished. Handles that are not good are passed over.
    pub fn skip(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle], events: &mut Vec<PopEvent>) {
        let mut queue = LastQueue::default();
        for handle in handles {
            if let Ok((id, offset, _)) = self.current(owner, queue.slot(self, owner, handle), handle) {
                self.finish_and_record(id, offset, events);
            }
        }
    }

    /// What a handle names, for a client that gives the message up; `None` when it is finished or gone already,
    /// which such a client must hear as success (grpc fact 19.5, pitfall 35).
    ///
    /// # Errors
    /// [`LeaseError::Invalid`] when it was delivered again since or the handle is none of ours.
    pub fn find(&self, owner: &LeaseOwner, handle: &ReceiptHandle) -> Result<Option<Unfinished>, LeaseError> {
        match self.named(owner, self.slot_of(owner, handle), handle) {
            Named::Current(id, offset, entry) => Ok(Some(self.unfinished_entry(id, offset, entry))),
            Named::Gone(_) => Ok(None),
            Named::Wrong(reason) => Err(LeaseError::Invalid { reason }),
        }
    }

    /// Where a group is with an entry that is named by its place, as who forwards a message by its record does.
    #[must_use]
    pub fn standing(&self, owner: &LeaseOwner, queue: QueueId, offset: QueueOffset) -> Standing {
        let Some((id, slot)) = self.slots.find(owner, queue).and_then(|id| Some((id, self.slots.get(id)?))) else {
            return Standing::Unread;
        };
        if offset >= slot.next {
            return Standing::Unread;
        }
        let at_its_place = slot.entries.get(&offset).map(|entry| (id, offset, entry));
        match at_its_place.or_else(|| self.copy_of(owner, slot, queue, offset)) {
            Some((id, offset, entry)) => Standing::Unfinished(self.unfinished_entry(id, offset, entry)),
            None => Standing::Finished,
        }
    }

    /// The entry's dead-letter copy is in the log, now or on replay: it is finished. That record says so, hence there is
    /// no event. Returns whether it was unfinished.
    pub fn finish(&mut self, owner: &LeaseOwner, queue: QueueId, offset: QueueOffset) -> bool {
        self.slots.find(owner, queue).is_some_and(|id| self.finish_entry(id, offset).is_ok())
    }

    fn unfinished_entry(&self, id: SlotId, offset: QueueOffset, entry: &Entry) -> Unfinished {
        let slot = self.slots.get(id).expect("the slot of an entry");
        Unfinished { owner: slot.owner.clone(), queue: slot.queue, offset, attempts: entry.attempts.into() }
    }

    /// Finishes an entry; the ends of a queue's entries that follow each other share an event.
    fn finish_and_record(&mut self, id: SlotId, offset: QueueOffset, events: &mut Vec<PopEvent>) {
        self.finish_entry(id, offset).expect("the entry of a good handle is unfinished");
        match events.last_mut() {
            Some(PopEvent::Finished { slot, offsets }) if *slot == id => offsets.push(offset),
            _ => events.push(PopEvent::Finished { slot: id, offsets: Offsets::from_slice(&[offset]) }),
        }
    }

    fn current(
        &self,
        owner: &LeaseOwner,
        slot: Option<SlotId>,
        handle: &ReceiptHandle,
    ) -> Result<(SlotId, QueueOffset, &Entry), LeaseError> {
        match self.named(owner, slot, handle) {
            Named::Current(id, offset, entry) => Ok((id, offset, entry)),
            Named::Gone(error) => Err(error),
            Named::Wrong(reason) => Err(LeaseError::Invalid { reason }),
        }
    }

    /// Where the handle's entry is, if the handle's very lease is open there: not one that its client changed or popped anew
    /// meanwhile.
    pub(super) fn leased(
        &self,
        owner: &LeaseOwner,
        slot: Option<SlotId>,
        handle: &ReceiptHandle,
    ) -> Option<(SlotId, QueueOffset)> {
        let named = self.named(owner, slot, handle);
        let Named::Current(id, offset, Entry { stage: Stage::Leased(lease), .. }) = named else { return None };
        let lease = self.leases.get(*lease);
        (lease.holder.is_some() && lease.popped_at == handle.popped_at).then_some((id, offset))
    }

    /// The slot of the queue that a handle names.
    pub(super) fn slot_of(&self, owner: &LeaseOwner, handle: &ReceiptHandle) -> Option<SlotId> {
        match handle.source {
            HandleSource::Topic => self.slots.find(owner, handle.queue),
            HandleSource::RetryV1 => self.slots.retry(owner).filter(|_| handle.queue == RETRY_QUEUE),
            HandleSource::RetryV2 => None,
        }
    }

    fn named(&self, owner: &LeaseOwner, slot: Option<SlotId>, handle: &ReceiptHandle) -> Named<'_> {
        let Some(id) = slot else {
            return Named::Gone(LeaseError::Invalid { reason: "the group has nothing from that queue" });
        };
        let slot = self.slots.get(id).expect("a number that was just looked up");
        if handle.offset >= slot.next {
            return Named::Wrong(NEVER_GIVEN_OUT);
        }
        match slot.entries.get(&handle.offset) {
            None => self.named_copy(owner, slot, handle),
            Some(_) if handle.popped_at > slot.last_pop => Named::Wrong(NEVER_GIVEN_OUT),
            Some(entry) => current(id, handle.offset, entry, handle),
        }
    }

    /// What a handle of an entry that is not in its queue any more names: the copy that it was moved to, until that is
    /// delivered anew or finished.
    fn named_copy(&self, owner: &LeaseOwner, source: &Slot, handle: &ReceiptHandle) -> Named<'_> {
        let retry = self.retry_of(owner, source);
        // A change of the copy's lease is a pop time of the retry queue.
        let last_pop = retry.map_or(source.last_pop, |(_, retry)| retry.last_pop.max(source.last_pop));
        if handle.popped_at > last_pop {
            return Named::Wrong(NEVER_GIVEN_OUT);
        }
        match self.copy_of(owner, source, handle.queue, handle.offset) {
            None => Named::Gone(LeaseError::FINISHED),
            Some((id, offset, entry)) => current(id, offset, entry, handle),
        }
    }

    /// The copy that an entry was moved to, while that is unfinished.
    fn copy_of(
        &self,
        owner: &LeaseOwner,
        source: &Slot,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Option<(SlotId, QueueOffset, &Entry)> {
        let (id, retry) = self.retry_of(owner, source)?;
        let offset = retry.aliases.copy_of(Origin { is_retry: source.is_retry, queue, offset })?;
        Some((id, offset, retry.entries.get(&offset)?))
    }

    /// Where entries of a queue are moved to.
    fn retry_of(&self, owner: &LeaseOwner, source: &Slot) -> Option<(SlotId, &Slot)> {
        let id = if source.is_retry { self.slots.find(&source.owner, source.queue) } else { self.slots.retry(owner) }?;
        Some((id, self.slots.get(id)?))
    }
}

/// An entry as a handle names it: good or of an earlier delivery.
fn current<'a>(id: SlotId, offset: QueueOffset, entry: &'a Entry, handle: &ReceiptHandle) -> Named<'a> {
    if handle.popped_at < entry.popped_at {
        return Named::Wrong("the message was delivered again since");
    }
    Named::Current(id, offset, entry)
}
