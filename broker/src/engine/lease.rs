//! What becomes of leases: reports, acks, changes, time.

use types::broker::{ClientId, DeliveryReport, LeaseError, LeaseOwner};
use types::{QueueId, QueueOffset, ReceiptHandle};

use super::Engine;
use super::answer::{Answer, tell};
use super::queues::Around;
use crate::command::{ChangeCommand, Reply};

impl Engine {
    /// What the caller says of a pop's messages. Nobody waits for it.
    pub(super) fn report(&mut self, report: &DeliveryReport) {
        if self.refusal().is_some() {
            return;
        }
        self.clients.seen(&report.client, self.now);
        self.machines.pop.hold(&report.lease, &report.written);
        self.machines.pop.release(&report.lease, &report.lost, &mut self.events);
        self.machines.pop.skip(&report.lease, &report.unwanted, &mut self.events);
        self.commit_pop_events();
    }

    pub(super) fn ack(
        &mut self,
        lease: &LeaseOwner,
        handles: &[ReceiptHandle],
        reply: Reply<Vec<Result<(), LeaseError>>>,
    ) {
        if let Some(why) = self.refusal() {
            return tell(reply, handles.iter().map(|_| Err(why.clone().into())).collect());
        }
        let results = self.machines.pop.ack(lease, handles, &mut self.events);
        self.commit_pop_events();
        self.shared.counters.acked.add(results.iter().flatten().count() as u64);
        self.answers.push(Answer::Acked { reply, results });
    }

    pub(super) fn change(&mut self, command: ChangeCommand) {
        let ChangeCommand { lease, handle, change, reply } = command;
        if let Some(why) = self.refusal() {
            return tell(reply, Err(why.into()));
        }
        let changed = self.machines.pop.change_invisible(&lease, &handle, change, self.now, &mut self.events);
        self.commit_pop_events();
        match changed {
            Ok(handle) => self.answers.push(Answer::Changed { reply, handle }),
            Err(error) => tell(reply, Err(error)),
        }
    }

    /// Ends the leases whose time is over. What is left when the bound of one call is reached is due at once again.
    pub(super) fn expire_leases(&mut self) {
        if self.machines.pop.next_deadline().is_none_or(|deadline| deadline > self.now) || self.journal.is_full() {
            return;
        }
        let around = Around { clients: &self.clients, catalog: &self.machines.catalog, now: self.now };
        self.machines.pop.expire(self.now, &around, &mut self.events);
        self.commit_pop_events();
    }

    pub(super) fn client_gone(&mut self, client: &ClientId) {
        self.clients.gone(client);
        if self.refusal().is_some() {
            return;
        }
        let around = Around { clients: &self.clients, catalog: &self.machines.catalog, now: self.now };
        self.machines.pop.client_gone(client, &around, &mut self.events);
        self.commit_pop_events();
    }

    /// What the group committed by pull, else how far its pops are.
    pub(super) fn committed(&self, lease: &LeaseOwner, queue: QueueId) -> Option<QueueOffset> {
        let pulled = self.machines.offsets.get(&lease.group, &lease.topic, queue);
        pulled.or_else(|| self.machines.pop.committed(lease, queue))
    }
}
