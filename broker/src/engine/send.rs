//! Sends: records are appended, waiting ones enter their machine.

use smallvec::SmallVec;
use types::TopicName;
use types::broker::{Durability, SendError, Unavailable};

use super::Engine;
use super::answer::{Answer, tell};
use super::append::append_error;
use crate::command::{Place, Placed, Reply};
use crate::journal::Event;
use crate::prepare::{Kind, Prepared};
use crate::transaction::Transactions;

impl Engine {
    /// Appends the records one after the other; `topic` is the one that they are for.
    pub(super) fn send(
        &mut self,
        records: SmallVec<[Prepared; 1]>,
        topic: &TopicName,
        reply: Reply<(Placed, Durability)>,
    ) {
        let bytes = records.iter().map(|prepared| prepared.record.record_bytes() as usize).sum();
        self.shared.release_bytes(bytes);
        if let Some(why) = self.refusal().or_else(|| self.retention.refusal()) {
            let placed = records.iter().map(|_| Err(why.clone().into())).collect();
            return tell(reply, (placed, Durability::Written));
        }
        let placed: Placed = records.into_iter().map(|prepared| self.place(prepared, topic)).collect();
        let stored = placed.iter().flatten().filter_map(|place| match place {
            Place::Stored(appended) => Some(appended),
            Place::Repeat(_) => None,
        });
        let (count, bytes) = stored.fold((0, 0), |(count, bytes), at| (count + 1, bytes + u64::from(at.record_bytes)));
        self.shared.counters.messages_in.add(count);
        self.shared.counters.bytes_in.add(bytes);
        self.answers.push(Answer::Sent { reply, placed });
    }

    fn place(&mut self, prepared: Prepared, topic: &TopicName) -> Result<Place, SendError> {
        let Prepared { record, kind, claim } = prepared;
        if let Some(claim) = &claim
            && let Some(first) = self.machines.keys.find(claim, &self.options.idempotency)?
        {
            // Its answer waits for the disk as the first one's does, or did.
            self.shared.counters.repeated.add(1);
            return Ok(Place::Repeat(Box::new(first.clone())));
        }
        self.check_room(kind)?;
        let queue = record.queue();
        let appended = self.store.append(record, self.now).map_err(append_error)?;
        match kind {
            Kind::Message(kind) => {
                match claim {
                    // The same as applying the record, which would have to be decoded for it.
                    None => self.machines.catalog.used(topic, kind),
                    Some(_) => self.apply_from(appended.physical_offset),
                }
                self.arrivals.push(topic, queue, &appended);
            }
            Kind::Delayed | Kind::Half => self.apply_from(appended.physical_offset),
        }
        Ok(Place::Stored(appended))
    }

    /// Forgets the idempotency keys that were known for long enough.
    pub(super) fn forget_keys(&mut self) {
        if let Some(to) = self.machines.keys.poll(self.options.idempotency.window, self.moment) {
            self.commit_event(&Event::KeysForgotten { to });
        }
    }

    fn check_room(&self, kind: Kind) -> Result<(), SendError> {
        let busy = |waiting_max| Err(Unavailable::Busy { waiting_max }.into());
        match kind {
            Kind::Delayed => self.machines.timer.is_full().map_or(Ok(()), busy),
            Kind::Half if self.machines.transactions.is_full() => busy(Transactions::HALVES_MAX),
            Kind::Message(_) | Kind::Half => Ok(()),
        }
    }
}
