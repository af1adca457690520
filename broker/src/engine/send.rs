//! Sends: records are appended, waiting ones enter their machine.

use smallvec::SmallVec;
use types::TopicName;
use types::broker::{Durability, SendError, Unavailable};

use super::Engine;
use super::answer::{Answer, tell};
use super::append::append_error;
use crate::command::{Place, Placed, Reply, Unplaced};
use crate::idempotency::{Claim, First};
use crate::journal::Event;
use crate::prepare::{Kind, Prepared};
use crate::transaction::Transactions;

impl Engine {
    /// Appends the records in order; `topic` is the one that they are for.
    pub(super) fn send(
        &mut self,
        records: SmallVec<[Prepared; 1]>,
        topic: &TopicName,
        reply: Reply<(Placed, Durability)>,
    ) {
        let bytes = records.iter().map(|prepared| prepared.records.total_bytes()).sum();
        self.shared.release_bytes(bytes);
        if let Some(why) = self.refusal().or_else(|| self.retention.refusal()) {
            let refused =
                |prepared: &Prepared| Err(Unplaced { count: prepared.records.count(), why: why.clone().into() });
            return tell(reply, (records.iter().map(refused).collect(), Durability::Written));
        }
        let placed: Placed = records.into_iter().map(|prepared| self.place(prepared, topic)).collect();
        self.answers.push(Answer::Sent { reply, placed });
    }

    fn place(&mut self, prepared: Prepared, topic: &TopicName) -> Result<Place, Unplaced> {
        let Prepared { records, kind, claim } = prepared;
        let (count, queue, bytes) = (records.count(), records.queue(), records.total_bytes());
        if let Some(claim) = &claim
            && let Some(first) = self.find_first(claim).map_err(|why| Unplaced { count, why })?
        {
            return Ok(Place::Repeat(first));
        }
        let appended = self.check_room(kind).and_then(|()| self.store.append(records, self.now).map_err(append_error));
        let appended = appended.map_err(|why| Unplaced { count, why })?;
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
        self.shared.counters.messages_in.add(count as u64);
        self.shared.counters.bytes_in.add(bytes);
        Ok(Place::Stored(appended))
    }

    /// The message that a claimed key names already. The answer of its repeat waits for the disk as its own does, or did.
    fn find_first(&self, claim: &Claim) -> Result<Option<Box<First>>, SendError> {
        let first = self.machines.keys.find(claim, &self.options.idempotency)?;
        self.shared.counters.repeated.add(first.is_some().into());
        Ok(first.cloned().map(Box::new))
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
