//! Sends: records are appended, waiting ones enter their machine.

use smallvec::SmallVec;
use types::TopicName;
use types::broker::{Durability, SendError, Unavailable};

use super::Engine;
use super::answer::{Answer, tell};
use super::append::append_error;
use crate::command::{Placed, Reply};
use crate::journal::Event;
use crate::prepare::{Kind, Prepared};
use crate::transaction::Transactions;

impl Engine {
    /// Appends the records in order; `topic` is the one that they are for.
    pub(super) fn send(
        &mut self,
        records: SmallVec<[Prepared; 1]>,
        topic: &TopicName,
        reply: Reply<(SmallVec<[Placed; 1]>, Durability)>,
    ) {
        let bytes = records.iter().map(|prepared| prepared.records.total_bytes()).sum();
        self.shared.release_bytes(bytes);
        if let Some(why) = self.refusal_of_messages() {
            let refused =
                |prepared: &Prepared| Placed::Refused { count: prepared.records.count(), why: why.clone().into() };
            return tell(reply, (records.iter().map(refused).collect(), Durability::Written));
        }
        let place = |prepared: Prepared| {
            let count = prepared.records.count();
            self.place(prepared, topic).unwrap_or_else(|why| Placed::Refused { count, why })
        };
        let placed = records.into_iter().map(place).collect();
        self.answers.push(Answer::Sent { reply, placed });
    }

    fn place(&mut self, prepared: Prepared, topic: &TopicName) -> Result<Placed, SendError> {
        let Prepared { records, kind, claim } = prepared;
        if let Some(claim) = &claim
            && let Some(first) = self.machines.keys.find(claim, &self.options.idempotency)?
        {
            // Its answer waits for the disk as the first one's does, or did.
            self.shared.counters.repeated.add(1);
            return Ok(Placed::Repeat(Box::new(first.clone())));
        }
        self.check_room(kind)?;
        let (count, queue, bytes) = (records.count() as u64, records.queue(), records.total_bytes());
        let appended = self.store.append(records, self.now).map_err(append_error)?;
        self.shared.counters.messages_in.add(count);
        self.shared.counters.bytes_in.add(bytes);
        match kind {
            Kind::Message(kind) => {
                match claim {
                    // The same as applying the records, which would have to be decoded for it.
                    None => self.machines.catalog.used(topic, kind),
                    Some(_) => self.apply_from(appended.physical_offset()),
                }
                self.arrivals.push(topic, queue, &appended);
            }
            Kind::Delayed | Kind::Half => self.apply_from(appended.physical_offset()),
        }
        Ok(Placed::Stored(appended))
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
