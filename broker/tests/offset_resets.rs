//! Groups that pop and are told to go on elsewhere.

mod common;

use common::*;
use env::sim::{self, World};
use types::admin::{AdminError, ResetError, ResetTo};
use types::broker::{LeaseError, LookupError, OffsetAt};
use types::{Admin, Broker, QueueId, QueueOffset};

#[test]
fn a_reset_counts_at_once_and_ends_the_leases() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        for body in ["0", "1", "2", "3"] {
            send(&broker, "t", body).await;
        }
        let popped = pop(&broker, pop_of("g", "t")).await;
        assert_eq!(bodies(&popped), ["0", "1", "2", "3"]);
        ack(&broker, "g", "t", &popped.messages[0]).await;
        let reset = async |to| broker.reset_offsets(&group("g"), &topic("t"), Some(QueueId(0)), to).await;
        assert_eq!(reset(ResetTo::Offset(QueueOffset(2))).await, Ok(vec![(QueueId(0), QueueOffset(2))]));
        let late = broker.ack(owner("g", "t"), vec![popped.messages[1].handle.clone()]).await;
        assert!(matches!(late[0], Err(LeaseError::Invalid { .. })), "{late:?}");
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["2", "3"]);
        assert_eq!(reset(ResetTo::At(OffsetAt::Beginning)).await, Ok(vec![(QueueId(0), QueueOffset(0))]));
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["0", "1", "2", "3"]);
        assert_eq!(reset(ResetTo::At(OffsetAt::End)).await, Ok(vec![(QueueId(0), QueueOffset(4))]));
        send(&broker, "t", "4").await;
        let broker = restart_killed(&world, broker).await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["4"]);
        broker.stop().await;
    });
}

#[test]
fn a_reset_that_is_refused_changes_nothing() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "0").await;
        assert_eq!(pop_bodies(&broker, "g", "t").await, ["0"]);
        let reset = async |group_name, topic_name, queue: u32, offset| {
            let (queue, to) = (Some(QueueId(queue)), ResetTo::Offset(QueueOffset(offset)));
            broker.reset_offsets(&group(group_name), &topic(topic_name), queue, to).await.expect_err("refused")
        };
        let (queue, offset, first, end) = (QueueId(0), QueueOffset(2), QueueOffset(0), QueueOffset(1));
        assert_eq!(reset("g", "t", 0, 2).await, ResetError::Outside { queue, offset, first, end });
        assert!(matches!(
            reset("g", "t", 1_000, 0).await,
            ResetError::Admin(AdminError::Lookup(LookupError::QueueNotFound { .. }))
        ));
        assert!(matches!(
            reset("none", "t", 0, 0).await,
            ResetError::Admin(AdminError::Lookup(LookupError::GroupNotFound { .. }))
        ));
        assert!(matches!(
            reset("g", "none", 0, 0).await,
            ResetError::Admin(AdminError::Lookup(LookupError::TopicNotFound { .. }))
        ));
        // Of all queues none is set when one cannot be.
        let all = broker.reset_offsets(&group("g"), &topic("t"), None, ResetTo::Offset(QueueOffset(1))).await;
        assert!(matches!(all, Err(ResetError::Outside { queue: QueueId(1), .. })), "{all:?}");
        let progress = broker.describe_group(&group("g")).await.expect("there").progress;
        assert_eq!((progress[0].committed, progress[0].in_flight), (QueueOffset(0), 1));
        broker.stop().await;
    });
}
