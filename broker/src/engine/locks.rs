//! Locks on queues, which 4.x consumers that consume in order hold. On one topic a group either holds locks or pops: a message that is
//! popped has left its order, and one that is read in order is popped by nobody.

use types::broker::LeaseOwner;
use types::{GroupName, QueueId, TopicName};

use super::Engine;
use super::answer::tell;
use crate::command::{LockCommand, Locked};

impl Engine {
    /// Locks what is free or the client's already, unless pops of the group have messages of the topic.
    pub(super) fn lock_queues(&mut self, command: LockCommand) {
        let LockCommand { group, queues, client, reply } = command;
        // Queues of a topic mostly stand together: it is looked at once.
        let mut looked: Option<(TopicName, bool)> = None;
        let lock = |(topic, queue): (TopicName, QueueId)| {
            if looked.as_ref().is_none_or(|(last, _)| *last != topic) {
                let owner = LeaseOwner { group: group.clone(), topic: topic.clone() };
                looked = Some((topic.clone(), self.machines.pop.has_leases(&owner)));
            }
            if looked.as_ref().is_some_and(|(_, has_leases)| *has_leases) {
                return Locked::Popped;
            }
            let is_taken = self.locks.lock((group.clone(), topic, queue), &client, self.now);
            if is_taken { Locked::Taken } else { Locked::Refused }
        };
        tell(reply, queues.into_iter().map(lock).collect());
    }

    pub(super) fn unlock_queues(&mut self, group: &GroupName, queues: Vec<(TopicName, QueueId)>, client: &str) {
        for (topic, queue) in queues {
            self.locks.unlock(&(group.clone(), topic, queue), client);
        }
    }
}
