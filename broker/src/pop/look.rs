//! Whether there is something to pop, for who only wants to know. Source: Apache `NotificationProcessor`, which looks at offsets alone.

use types::QueueId;
use types::topic::QUEUES_MAX;

use super::event::PopEvent;
use super::{PopMachine, PopQueues, PopRequest, QueueView, RETRIES_MAX};

impl PopMachine {
    /// Whether a pop would get something now; nothing is leased. A group that never consumed from the topic begins, as it does with
    /// a pop. That all is skipped up to the bound of one look counts as something: only a pop gets past it.
    pub fn has_message(&mut self, request: &PopRequest<'_>, view: &impl QueueView, events: &mut Vec<PopEvent>) -> bool {
        let queues = match request.queues {
            PopQueues::One(queue) if queue.0 < QUEUES_MAX => queue.0..queue.0 + 1,
            PopQueues::One(_) => 0..0,
            PopQueues::Any(queues) | PopQueues::Ranked(queues) => 0..queues.min(QUEUES_MAX),
        };
        let retry = self.slots.retry(request.owner);
        let retries = retry.and_then(|id| self.slots.get(id)).map_or(0, |slot| slot.entries.len());
        let is_fresh_wanted = retries < RETRIES_MAX;
        // All begin, even when the first has something: what arrives from now on is for the group, wherever it pops first.
        let slots: Vec<_> =
            queues.map(|queue| self.begin(request, QueueId(queue), view, events)).chain(retry).collect();
        slots.into_iter().any(|id| {
            let finds = self.look_in(id, (request, view), (1, is_fresh_wanted), events);
            finds.is_some_and(|finds| finds.is_something())
        })
    }
}
