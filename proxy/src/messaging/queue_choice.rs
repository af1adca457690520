//! Which queue a message goes to.

use types::QueueId;
use types::message::java_hash;

/// The queue of a message group: the same for all messages of the group as long as the topic has as many queues, and
/// the same that Apache's proxy chooses. Source: Apache `SendMessageActivity`, facts/grpc.md §5.
pub(super) fn of_group(group: &str, queues: u32) -> QueueId {
    QueueId(consistent_hash(java_hash(group), queues))
}

/// The queue of a turn of the round robin.
pub(super) fn of_round(round: u32, queues: u32) -> QueueId {
    QueueId(round % queues.max(1))
}

/// The queue of a priority, on a topic that takes nothing but messages with one: later queues are read first.
pub(super) fn of_priority(priority: i64, queues: u32) -> QueueId {
    let last = queues.saturating_sub(1);
    QueueId(u32::try_from(priority.max(0)).unwrap_or(last).min(last))
}

/// Guava's `Hashing.consistentHash`: when a bucket is added, only the keys that move to it move.
fn consistent_hash(input: i32, buckets: u32) -> u32 {
    const MULTIPLIER: u64 = 2_862_933_555_777_941_757;
    let mut state = i64::from(input).cast_unsigned();
    let mut candidate = 0;
    loop {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(1);
        let draw = ((state >> 33) + 1) as f64 / f64::from(1u32 << 31);
        let next = f64::from(candidate + 1) / draw;
        if !(next >= 0.0 && next < f64::from(buckets)) {
            return candidate;
        }
        candidate = next as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_go_where_apaches_proxy_sends_them() {
        let queues = |group| of_group(group, 8).0;
        assert_eq!([queues("groupA"), queues("order-1"), queues("order-2")], [5, 3, 2]);
    }

    #[test]
    fn priorities_above_the_last_queue_share_it() {
        assert_eq!([-1, 0, 3, 8, i64::MAX].map(|priority| of_priority(priority, 4).0), [0, 0, 3, 3, 3]);
    }

    proptest! {
        #[test]
        fn a_queue_is_always_one_of_the_topics(group in ".{0,20}", queues in 1u32..=1024, round: u32) {
            prop_assert!(of_group(&group, queues).0 < queues);
            prop_assert!(of_round(round, queues).0 < queues);
        }

        #[test]
        fn a_further_queue_takes_groups_but_moves_none_between_others(group in ".{0,20}", queues in 1u32..1024) {
            let (before, after) = (of_group(&group, queues), of_group(&group, queues + 1));
            prop_assert!(after == before || after.0 == queues);
        }
    }
}
