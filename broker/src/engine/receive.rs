//! Receivers: pops that are served at the end of a round, or wait for a message.

use types::broker::{LeaseOwner, PopError, Unavailable};
use types::{QueueId, ReceiptHandle};

use super::Engine;
use super::answer::tell;
use super::pull::nothing;
use super::queues::{Queues, range};
use crate::command::{PopCommand, PopReply};
use crate::options::{Role, WAITING_MAX};
use crate::pop::{Leased, PopEnd, PopQueues, PopRequest};

impl Engine {
    /// Takes a pop, to be served at the end of the round. A slave leases nothing.
    pub(super) fn take_pop(&mut self, pop: PopCommand) {
        match self.options.role {
            Role::Master if self.is_fenced() => pop.reply.end(Some(Unavailable::Fenced.into())),
            Role::Master => self.pops.push(pop),
            Role::Slave => pop.reply.end(Some(Unavailable::Slave.into())),
        }
    }

    /// Serves this round's pops and those that wait for something that has come.
    pub(super) fn serve_receivers(&mut self) {
        if let Some(why) = self.failure.clone() {
            for pop in std::mem::take(&mut self.pops) {
                pop.reply.end(Some(PopError::Unavailable(why.clone())));
            }
            return;
        }
        if self.is_fenced() {
            self.dismiss_waiting(Some(&Unavailable::Fenced.into()));
            // Nobody waits for what has come; left there it would have the engine look for them without a pause.
            return self.wake_waiting();
        }
        self.wake_waiting();
        for pop in std::mem::take(&mut self.pops) {
            if let Some(pop) = self.serve(pop) {
                self.let_wait(pop);
            }
        }
        let Self { waiting, store, machines, arrivals, .. } = self;
        waiting.expire(self.moment, |pull| nothing(range(store, &machines.catalog, arrivals, &pull.topic, pull.queue)));
    }

    /// Messages that may be handed out now, and entries that became free again.
    fn wake_waiting(&mut self) {
        let visible_to = self.store.marks().visible_to();
        while let Some((topic, queue)) = {
            let store = &self.store;
            self.arrivals.next(visible_to, |topic, queue| {
                store.queue_range(topic.as_str(), queue).map(|range| range.next).unwrap_or_default()
            })
        } {
            self.retries_arrived(&topic);
            if self.waiting.is_empty() {
                continue;
            }
            for line in self.waiting.lines(topic.as_str(), Some(queue), None) {
                self.serve_line(&line);
            }
            for pull in self.waiting.take_pulls(&topic, queue) {
                self.pull(pull);
            }
        }
        while let Some((owner, queue)) = self.machines.pop.poll_visible() {
            if self.waiting.is_empty() {
                continue;
            }
            let mut lines = self.waiting.lines(owner.topic.as_str(), Some(queue), Some(&owner.group));
            if let Some(topic) = owner.topic.retried(&owner.group) {
                lines.extend(self.waiting.lines(topic, None, Some(&owner.group)));
            }
            for line in lines {
                self.serve_line(&line);
            }
        }
    }

    /// Serves a line until its first gets nothing.
    fn serve_line(&mut self, line: &super::waiting::LineName) {
        while let Some((id, pop)) = self.waiting.first_of(line) {
            if let Some(pop) = self.serve(pop) {
                return self.waiting.put_pop(id, line.clone(), pop);
            }
        }
    }

    /// Leases messages to a pop, or tells that there are some; gives it back when there are none for it.
    fn serve(&mut self, pop: PopCommand) -> Option<PopCommand> {
        if pop.reply.is_closed() {
            return None;
        }
        if self.locks.has(&pop.owner.group, &pop.owner.topic, self.now) {
            let LeaseOwner { group, topic } = pop.owner;
            pop.reply.end(Some(PopError::QueuesLocked { group, topic }));
            return None;
        }
        if pop.auto_renew {
            self.clients.seen(&pop.client, self.now);
        }
        let request = PopRequest {
            owner: &pop.owner,
            queues: pop.queues,
            messages_max: pop.messages_max,
            invisible: pop.invisible,
            client: &pop.client,
            auto_renew: pop.auto_renew,
            filter: &pop.filter,
            attempt_id: pop.attempt_id.as_ref(),
            is_fifo: pop.is_fifo,
            begins_at_first: pop.begins_at_first,
        };
        let queues = Queues::new(&mut self.store, &self.machines.catalog, &self.arrivals, &self.machines.offsets);
        let PopReply::Leases(_) = pop.reply else {
            let is_there = self.machines.pop.has_message(&request, &queues, &mut self.events);
            self.commit_pop_events();
            return told_if(is_there, pop);
        };
        let mut leased = Vec::new();
        let end = self.machines.pop.pop(&request, &queues, self.now, &mut self.events, &mut leased);
        self.commit_pop_events();
        match (leased.is_empty(), end) {
            (true, PopEnd::Done) => return Some(pop),
            // The next round looks on from where this one stopped.
            (true, PopEnd::ScanLimit) if self.pops.len() < WAITING_MAX => self.pops.push(pop),
            (true, PopEnd::ScanLimit) => return Some(pop),
            (false, _) => self.hand_out(pop, leased),
        }
        None
    }

    /// Leases whose caller is gone are given back at once.
    fn hand_out(&mut self, pop: PopCommand, leased: Vec<Leased>) {
        self.shared.counters.messages_out.add(leased.len() as u64);
        self.shared.counters.bytes_out.add(leased.iter().map(|leased| u64::from(leased.entry.size)).sum());
        if let PopReply::Leases(reply) = pop.reply
            && let Err(Ok(leased)) = reply.send(Ok(leased))
        {
            self.give_back(&pop.owner, &leased);
        }
    }

    fn give_back(&mut self, owner: &LeaseOwner, leased: &[Leased]) {
        let handles: Vec<ReceiptHandle> = leased.iter().map(|leased| leased.handle(&self.shared.name)).collect();
        self.machines.pop.release(owner, &handles, &mut self.events);
        self.commit_pop_events();
    }

    fn let_wait(&mut self, pop: PopCommand) {
        if pop.until <= self.moment {
            pop.reply.end(None);
        } else if self.waiting.is_full() {
            self.shared.counters.busy.add(1);
            pop.reply.end(Some(PopError::TooManyWaiting { waiting_max: WAITING_MAX }));
        } else {
            let queue = wanted(pop.queues);
            self.waiting.push_pop(pop, queue);
        }
    }

    /// Answers all receivers that wait: with nothing, or with an error.
    pub(super) fn dismiss_waiting(&mut self, error: Option<&PopError>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.dismiss(error, |pull| nothing(self.range(&pull.topic, pull.queue)));
        for pop in std::mem::take(&mut self.pops) {
            pop.reply.end(error.cloned());
        }
    }
}

/// Tells who only looks; gives the pop back when nothing is there.
fn told_if(is_there: bool, pop: PopCommand) -> Option<PopCommand> {
    match pop.reply {
        PopReply::Look(reply) if is_there => {
            tell(reply, Ok(true));
            None
        }
        reply => Some(PopCommand { reply, ..pop }),
    }
}

fn wanted(queues: PopQueues) -> Option<QueueId> {
    match queues {
        PopQueues::One(queue) => Some(queue),
        PopQueues::Any(_) | PopQueues::Ranked(_) => None,
    }
}
