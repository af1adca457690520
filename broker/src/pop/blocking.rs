//! Who holds back messages that come in order, for operators.

use types::GroupName;
use types::admin::Blocked;

use super::PopMachine;
use super::slot::Stage;

impl PopMachine {
    /// The delivered heads of a group's lines, at most `max`, by topic, queue and offset, without what their records say. Looks at every
    /// line of the group.
    #[must_use]
    pub fn blocking(&self, group: &GroupName, max: usize) -> Vec<Blocked> {
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
                let (message_id, message_group) = (None, None);
                Some(Blocked { topic, queue, offset, message_id, message_group, attempts, holder, until, waiting })
            })
            .collect();
        blocking.sort_by(|a, b| (&a.topic, a.queue, a.offset).cmp(&(&b.topic, b.queue, b.offset)));
        blocking.truncate(max);
        blocking
    }
}
