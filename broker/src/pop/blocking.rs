//! Who holds back messages that come in order, for operators.

use types::broker::ClientId;
use types::{GroupName, QueueId, QueueOffset, Timestamp, TopicName};

use super::PopMachine;
use super::slot::Stage;

/// A delivered message that others wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// Its topic.
    pub topic: TopicName,
    /// Its queue.
    pub queue: QueueId,
    /// Its offset there.
    pub offset: QueueOffset,
    /// Deliveries so far.
    pub attempts: u32,
    /// Who has it; nobody when it waits for its next delivery, or to become a dead letter.
    pub holder: Option<ClientId>,
    /// Until when it is held or waits, if nothing happens before; `None` while its dead letter is stored.
    pub until: Option<Timestamp>,
    /// Messages that were looked at and wait behind it.
    pub waiting: usize,
}

impl PopMachine {
    /// The delivered heads of a group's lines, at most `max`, by topic, queue and offset. Looks at every line of the group.
    #[must_use]
    pub fn blocking(&self, group: &GroupName, max: usize) -> Vec<Blocking> {
        let slots = self.slots.of_group(group).into_iter().filter_map(|id| self.slots.get(id));
        let mut blocking: Vec<_> = slots
            .flat_map(|slot| slot.heads().map(move |(offset, waiting)| (slot, offset, waiting)))
            .filter_map(|(slot, offset, waiting)| {
                let entry = slot.entries.get(&offset)?;
                let (holder, until) = match entry.stage {
                    Stage::Leased(lease) => {
                        let lease = self.leases.get(lease);
                        let holder = lease.holder.as_ref().map(|holder| self.leases.client_name(holder).clone());
                        (holder, Some(lease.until()))
                    }
                    Stage::Exhausted => (None, None),
                    Stage::Ready | Stage::Blocked => return None,
                };
                let (topic, queue, attempts) = (slot.owner.topic.clone(), slot.queue, u32::from(entry.attempts));
                Some(Blocking { topic, queue, offset, attempts, holder, until, waiting })
            })
            .collect();
        blocking.sort_by(|a, b| (&a.topic, a.queue, a.offset).cmp(&(&b.topic, b.queue, b.offset)));
        blocking.truncate(max);
        blocking
    }
}
