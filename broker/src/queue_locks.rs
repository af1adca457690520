//! Which client of a group may consume a queue in order: 4.x consumers lock queues and lock them again every 20 s. A plain value.
//!
//! Source: Apache 5.5 `RebalanceLockManager`.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{GroupName, QueueId, Timestamp, TopicName};

use crate::resets::Queue;

/// How long a lock counts that is not renewed. Source: `REBALANCE_LOCK_MAX_LIVE_TIME`.
pub(crate) const LOCK_FOR: Duration = Duration::from_secs(60);
/// Most locks; about 200 bytes each.
const LOCKS_MAX: usize = 1_000_000;

/// The locks of all groups. They are not stored: after a restart clients lock anew.
#[derive(Debug, Default)]
pub(crate) struct QueueLocks {
    by_queue: BTreeMap<Queue, Lock>,
    /// When expired ones were last looked for.
    looked_at: Timestamp,
}

#[derive(Debug)]
struct Lock {
    client: String,
    renewed: Timestamp,
}

impl QueueLocks {
    /// Whether the client has the lock now: it is free, expired, or the client's already.
    pub(crate) fn lock(&mut self, queue: Queue, client: &str, now: Timestamp) -> bool {
        let has_room = self.by_queue.len() < LOCKS_MAX;
        match self.by_queue.get_mut(&queue) {
            Some(lock) if lock.client != client && now.since(lock.renewed) <= LOCK_FOR => false,
            Some(lock) => {
                *lock = Lock { client: client.to_owned(), renewed: now };
                true
            }
            None if has_room => {
                self.by_queue.insert(queue, Lock { client: client.to_owned(), renewed: now });
                true
            }
            None => false,
        }
    }

    /// Gives a lock back, if it is the client's.
    pub(crate) fn unlock(&mut self, queue: &Queue, client: &str) {
        if self.by_queue.get(queue).is_some_and(|lock| lock.client == client) {
            self.by_queue.remove(queue);
        }
    }

    /// Whether a client of the group has a queue of the topic now.
    pub(crate) fn has(&self, group: &GroupName, topic: &TopicName, now: Timestamp) -> bool {
        // Most of the time there is none, and nothing is copied then.
        let of = |queue| (group.clone(), topic.clone(), QueueId(queue));
        !self.by_queue.is_empty()
            && self.by_queue.range(of(0)..=of(u32::MAX)).any(|(_, lock)| now.since(lock.renewed) <= LOCK_FOR)
    }

    /// All that count now, with the clients that have them.
    pub(crate) fn held(&self, now: Timestamp) -> Vec<(Queue, String)> {
        let held = self.by_queue.iter().filter(|(_, lock)| now.since(lock.renewed) <= LOCK_FOR);
        held.map(|(queue, lock)| (queue.clone(), lock.client.clone())).collect()
    }

    /// Forgets expired locks, every now and then: it looks at all.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        if now.since(self.looked_at) < LOCK_FOR / 4 {
            return;
        }
        self.looked_at = now;
        self.by_queue.retain(|_, lock| now.since(lock.renewed) <= LOCK_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(number: u32) -> Queue {
        (GroupName::new("g").expect("valid"), TopicName::new("t").expect("valid"), QueueId(number))
    }

    #[test]
    fn a_queue_is_one_clients_until_it_gives_it_back_or_is_silent() {
        let mut locks = QueueLocks::default();
        let at = |ms| Timestamp(ms);
        assert!(locks.lock(queue(0), "a", at(0)) && locks.lock(queue(1), "b", at(0)));
        assert!(!locks.lock(queue(0), "b", at(59_000)));
        assert!(locks.lock(queue(0), "a", at(59_000)), "renewed");
        assert!(!locks.lock(queue(0), "b", at(100_000)));
        let has = |topic, now| locks.has(&queue(0).0, &TopicName::new(topic).expect("valid"), at(now));
        assert!(has("t", 119_000) && !has("t", 119_001) && !has("u", 100_000) && !has("s", 100_000));
        locks.unlock(&queue(0), "b");
        assert!(!locks.lock(queue(0), "b", at(100_000)), "not its own");
        locks.unlock(&queue(0), "a");
        assert!(locks.lock(queue(0), "b", at(100_000)));
        assert!(locks.lock(queue(1), "a", at(60_001)), "expired");
        locks.expire(at(160_001));
        assert_eq!(locks.by_queue.len(), 0);
    }
}
