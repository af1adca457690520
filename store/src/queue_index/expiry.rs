//! What expires of the index when the log's front goes.

use std::collections::BTreeMap;

use types::QueueOffset;

use super::{Miss, Part, QueueIndex, QueueNumber, SavedQueue};

/// Where queues begin once the log begins later: those with expired entries, by number.
pub(crate) type Begins = BTreeMap<QueueNumber, u64>;

impl QueueIndex {
    /// Where queues begin when the log begins at `before`. Costs a look at the directories of the parts before, and one
    /// read of the part that `before` lies in.
    pub(crate) fn begins(&self, before: u64) -> Result<Begins, Miss> {
        let mut begins = Begins::new();
        for part in self.parts.iter().take_while(|part| part.from() < before) {
            match part {
                Part::Run(run) => {
                    let damaged = |problem| Miss::Damaged { from: run.from, to: run.to, problem };
                    begins.extend(run.begins(before).map_err(damaged)?);
                }
                Part::Block(block) => begins.extend(block.stretches.iter().map(|stretch| {
                    let expired = stretch.entries.partition_point(|entry| entry.physical_offset < before);
                    (stretch.queue, stretch.first + expired as u64)
                })),
            }
        }
        for &number in self.active.iter().filter(|_| self.young_from < before) {
            let queue = &self.queues[number.index()];
            let expired = queue.young.partition_point(|entry| entry.physical_offset < before);
            begins.insert(number, queue.next - (queue.young.len() - expired) as u64);
        }
        begins.retain(|number, begin| *begin > self.queues[number.index()].min);
        Ok(begins)
    }

    /// Says where queues will begin, or with none that nothing expires.
    pub(crate) fn announce(&mut self, begins: &Begins) {
        self.queues.iter_mut().for_each(|queue| queue.stays_from = 0);
        for (number, begin) in begins {
            self.queues[number.index()].stays_from = *begin;
        }
    }

    /// Lets go of what lies before `before`; returns where the runs that are not needed any more begin.
    pub(crate) fn expire(&mut self, before: u64, begins: &Begins) -> Vec<u64> {
        for (number, begin) in begins {
            let queue = &mut self.queues[number.index()];
            queue.min = queue.min.max(*begin);
        }
        self.announce(&Begins::new());
        let runs: Vec<u64> = self.parts.extract_if(.., |part| part.to() <= before).map(|part| part.from()).collect();
        runs.iter().for_each(|run| self.recent.forget(*run));
        runs
    }

    /// Says that queues begin with what the parts have of them: for an index that has no younger entries and whose
    /// checkpoint also named runs that have expired since.
    pub(crate) fn begin_with_parts(&mut self) {
        let mut firsts = Begins::new();
        for part in self.parts.iter().rev() {
            match part {
                Part::Run(run) => firsts.extend(run.firsts()),
                Part::Block(block) => firsts.extend(block.stretches.iter().map(|s| (s.queue, s.first))),
            }
        }
        for (queue, number) in self.queues.iter_mut().zip(0..) {
            queue.min = queue.min.max(firsts.get(&QueueNumber(number)).copied().unwrap_or(queue.next));
        }
    }

    /// Takes over what a state in the log says of a queue: one of which the log has no record goes on where it says.
    pub(crate) fn adopt(&mut self, saved: SavedQueue<'_>) {
        if self.find(saved.topic, saved.queue).is_none() {
            let number = self.intern(saved.topic, saved.queue);
            self.begin_at(number, QueueOffset(saved.next));
        }
    }
}
