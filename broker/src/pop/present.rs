//! What clients and front doors do with a handle: ack, change, report its delivery, give it up.
//!
//! A handle is good when its pop time is not older than the first pop time of the entry's current delivery, and not
//! newer than any that was given out. So renewals and re-entries keep old handles good, and the next delivery makes them
//! invalid. A finished entry has no good handle: clients take that refusal as final (grpc fact 19.5, pitfall 34).

use std::time::Duration;

use types::broker::{LeaseError, LeaseOwner};
use types::receipt_handle::HandleSource;
use types::{QueueId, QueueOffset, ReceiptHandle, Timestamp};

use super::event::{Offsets, PopEvent, SlotId};
use super::slot::{Entry, Stage};
use super::{PopMachine, Unfinished};

/// What a handle names.
enum Named<'a> {
    /// An entry whose current delivery it is of.
    Current(SlotId, &'a Entry),
    /// An entry that is not unfinished any more, or whose queue is gone.
    Gone(&'static str),
    /// An entry that was delivered again since, or nothing that was ever given out.
    Wrong(&'static str),
}

/// Looks up the slots of a batch of handles, which mostly are of one queue.
#[derive(Default)]
struct LastQueue(Option<(QueueId, Option<SlotId>)>);

impl LastQueue {
    fn slot(&mut self, machine: &PopMachine, owner: &LeaseOwner, handle: &ReceiptHandle) -> Option<SlotId> {
        match self.0 {
            Some((queue, slot)) if queue == handle.queue => slot,
            _ => self.0.insert((handle.queue, machine.slots.find(owner, handle.queue))).1,
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
            let (id, _) = self.current(queue.slot(self, owner, handle), handle)?;
            self.finish_and_record(id, handle.offset, events);
            Ok(())
        };
        handles.iter().map(one).collect()
    }

    /// Makes a message visible again `invisible` from now, at the next [`PopMachine::expire`] when that is zero.
    /// Returns the handle to use from now on; the old one stays good too. The delivery counts as failed.
    ///
    /// # Errors
    /// [`LeaseError::Invalid`].
    pub fn change_invisible(
        &mut self,
        owner: &LeaseOwner,
        handle: &ReceiptHandle,
        invisible: Duration,
        now: Timestamp,
        events: &mut Vec<PopEvent>,
    ) -> Result<ReceiptHandle, LeaseError> {
        let (id, entry) = self.current(self.slots.find(owner, handle.queue), handle)?;
        if entry.stage == Stage::Exhausted {
            return Err(LeaseError::Invalid { reason: "the message goes to the dead-letter topic" });
        }
        let slot = self.slots.get(id).expect("the slot of a good handle");
        let popped_at = now.max(slot.last_pop);
        let visible_at = now.plus(invisible);
        self.commit(PopEvent::Changed { slot: id, offset: handle.offset, popped_at, visible_at }, events);
        Ok(ReceiptHandle { start_offset: handle.offset, popped_at, invisible, ..handle.clone() })
    }

    /// These were written to the client: from now on their leases are prolonged if that was asked for. Not durable.
    /// Handles that are not of an open lease are passed over.
    pub fn hold(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle]) {
        let mut queue = LastQueue::default();
        for handle in handles {
            if let Some(id) = self.leased(queue.slot(self, owner, handle), handle) {
                let slot = self.slots.get_mut(id).expect("the slot of a good handle");
                let entry = slot.entries.get_mut(&handle.offset).expect("the entry of a good handle");
                entry.is_held = true;
            }
        }
    }

    /// These never reached the client: visible at once, the delivery is not counted.
    /// Handles that are not of an open lease are passed over.
    pub fn release(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle], events: &mut Vec<PopEvent>) {
        let mut queue = LastQueue::default();
        for handle in handles {
            if let Some(slot) = self.leased(queue.slot(self, owner, handle), handle) {
                self.commit(PopEvent::Released { slot, offsets: Offsets::from_slice(&[handle.offset]) }, events);
            }
        }
    }

    /// These the group's filter does not want after all: finished. Handles that are not good are passed over.
    pub fn skip(&mut self, owner: &LeaseOwner, handles: &[ReceiptHandle], events: &mut Vec<PopEvent>) {
        let mut queue = LastQueue::default();
        for handle in handles {
            if let Ok((id, _)) = self.current(queue.slot(self, owner, handle), handle) {
                self.finish_and_record(id, handle.offset, events);
            }
        }
    }

    /// What a handle names, for a client that gives the message up; `None` when it is finished or gone already,
    /// which such a client must hear as success (grpc fact 19.5, pitfall 35).
    ///
    /// # Errors
    /// [`LeaseError::Invalid`] when it was delivered again since or the handle is none of ours.
    pub fn find(&self, owner: &LeaseOwner, handle: &ReceiptHandle) -> Result<Option<Unfinished>, LeaseError> {
        match self.named(self.slots.find(owner, handle.queue), handle) {
            Named::Current(_, entry) => Ok(Some(Unfinished {
                owner: owner.clone(),
                queue: handle.queue,
                offset: handle.offset,
                attempts: u32::from(entry.attempts),
            })),
            Named::Gone(_) => Ok(None),
            Named::Wrong(reason) => Err(LeaseError::Invalid { reason }),
        }
    }

    /// The entry's dead-letter copy is in the log, now or on replay: it is finished. That record says so, hence there is
    /// no event. Returns whether it was unfinished.
    pub fn finish(&mut self, owner: &LeaseOwner, queue: QueueId, offset: QueueOffset) -> bool {
        self.slots.find(owner, queue).is_some_and(|id| self.finish_entry(id, offset).is_ok())
    }

    /// Finishes an entry; the ends of a queue's entries that follow each other share an event.
    fn finish_and_record(&mut self, id: SlotId, offset: QueueOffset, events: &mut Vec<PopEvent>) {
        self.finish_entry(id, offset).expect("the entry of a good handle is unfinished");
        match events.last_mut() {
            Some(PopEvent::Finished { slot, offsets }) if *slot == id => offsets.push(offset),
            _ => events.push(PopEvent::Finished { slot: id, offsets: Offsets::from_slice(&[offset]) }),
        }
    }

    fn current(&self, slot: Option<SlotId>, handle: &ReceiptHandle) -> Result<(SlotId, &Entry), LeaseError> {
        match self.named(slot, handle) {
            Named::Current(id, entry) => Ok((id, entry)),
            Named::Gone(reason) | Named::Wrong(reason) => Err(LeaseError::Invalid { reason }),
        }
    }

    /// The slot, if the handle's very lease is open there: not one that its client changed or popped anew meanwhile.
    pub(super) fn leased(&self, slot: Option<SlotId>, handle: &ReceiptHandle) -> Option<SlotId> {
        let Named::Current(id, Entry { stage: Stage::Leased(lease), .. }) = self.named(slot, handle) else {
            return None;
        };
        let lease = self.leases.get(*lease);
        (lease.holder.is_some() && lease.popped_at == handle.popped_at).then_some(id)
    }

    fn named(&self, slot: Option<SlotId>, handle: &ReceiptHandle) -> Named<'_> {
        if handle.source != HandleSource::Topic {
            return Named::Wrong("it is of a retry topic, which this broker does not use");
        }
        let Some(id) = slot else {
            return Named::Gone("the group has nothing from that queue");
        };
        let slot = self.slots.get(id).expect("a number that was just looked up");
        if handle.offset >= slot.next || handle.popped_at > slot.last_pop {
            return Named::Wrong("it was never given out");
        }
        match slot.entries.get(&handle.offset) {
            None => Named::Gone("the message is finished"),
            Some(entry) if handle.popped_at < entry.popped_at => Named::Wrong("the message was delivered again since"),
            Some(entry) => Named::Current(id, entry),
        }
    }
}
