//! Pulling, and the offsets that go with it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use broker::{Flush, LocalBroker, Options};
use common::*;
use env::sim::{self, World};
use types::broker::{LookupError, OffsetAt, Pull, PullError, Pulled};
use types::properties::names;
use types::{Broker, Filter, QueueId, QueueOffset};

fn pull_from(offset: u64) -> Pull {
    Pull {
        group: group("g"),
        topic: topic("t"),
        queue: QueueId(0),
        offset: QueueOffset(offset),
        messages_max: 2,
        filter: Arc::new(Filter::All),
        wait: Duration::ZERO,
    }
}

fn pulled_bodies(pulled: &Pulled) -> Vec<String> {
    let body = |record| String::from_utf8_lossy(record::decode(record).expect("a record").body).into_owned();
    pulled.records.iter().map(|record| body(record)).collect()
}

#[test]
fn a_queue_is_read_in_pieces_and_leased_to_nobody() {
    sim::run(1, async |world: World| {
        let broker = start(&world);
        for n in 0..3 {
            send(&broker, "t", &n.to_string()).await;
        }
        let first = broker.pull(pull_from(0)).await.expect("pulled");
        assert_eq!((pulled_bodies(&first), first.next_offset), (vec!["0".to_owned(), "1".to_owned()], QueueOffset(2)));
        assert_eq!((first.min_offset, first.max_offset), (QueueOffset(0), QueueOffset(3)));
        let last = broker.pull(pull_from(2)).await.expect("pulled");
        assert_eq!((pulled_bodies(&last), last.next_offset), (vec!["2".to_owned()], QueueOffset(3)));
        assert_eq!(pop_bodies(&broker, "g", "t").await.len(), 3);
        broker.stop().await;
    });
}

#[test]
fn a_pull_at_the_end_waits_and_one_beyond_it_is_refused() {
    sim::run(2, async |world: World| {
        let broker = start(&world);
        send(&broker, "t", "0").await;
        let beyond = broker.pull(pull_from(2)).await.map(drop);
        let (offset, min, max) = (QueueOffset(2), QueueOffset(0), QueueOffset(1));
        assert_eq!(beyond, Err(PullError::OffsetOutOfRange { offset, min, max }));
        let sending = async {
            world.env().clock.sleep(Duration::from_secs(3)).await;
            send(&broker, "t", "1").await;
        };
        let waiting = broker.pull(Pull { wait: Duration::from_secs(20), ..pull_from(1) });
        let (pulled, ()) = tokio::join!(waiting, sending);
        assert_eq!(pulled_bodies(&pulled.expect("pulled")), ["1"]);
        let nothing = broker.pull(Pull { wait: Duration::from_secs(20), ..pull_from(2) }).await.expect("pulled");
        assert_eq!((nothing.records.len(), nothing.next_offset), (0, QueueOffset(2)));
        broker.stop().await;
    });
}

/// Messages of one queue that come faster than the disk confirms them.
#[test]
fn a_pull_may_go_on_where_the_last_one_ended() {
    const MESSAGES: u64 = 60;
    const SENDERS: usize = 3;
    for seed in 0..20 {
        sim::run(seed, async |world: World| {
            let options = Options { flush: Flush::Sync, ..options() };
            let broker = LocalBroker::start(world.env(), options).expect("starts");
            let clock = world.env().clock;
            let send_some = async |first: u64| {
                for n in (first..MESSAGES).step_by(SENDERS) {
                    send(&broker, "t", &n.to_string()).await;
                    clock.sleep(MS * (1 + first as u32)).await;
                }
            };
            let sending = async { tokio::join!(send_some(0), send_some(1), send_some(2)) };
            let pulling = async {
                let mut offset = 0;
                while offset < MESSAGES {
                    offset = broker.pull(pull_from(offset)).await.expect("pulled").next_offset.0;
                    clock.sleep(MS).await;
                }
            };
            tokio::join!(sending, pulling);
            broker.stop().await;
        });
    }
}

#[test]
fn a_filtered_pull_goes_past_what_it_does_not_want() {
    sim::run(3, async |world: World| {
        let broker = start(&world);
        for tag in ["a", "a", "a", "b", "a"] {
            try_send(&broker, message("t", tag, &[(names::TAGS, tag)])).await.expect("stored");
        }
        let filter = Arc::new(Filter::tags(["b"]).expect("tags"));
        let pulled = broker.pull(Pull { filter, wait: Duration::from_secs(5), ..pull_from(0) }).await.expect("pulled");
        assert_eq!((pulled_bodies(&pulled), pulled.next_offset), (vec!["b".to_owned()], QueueOffset(4)));
        broker.stop().await;
    });
}

#[test]
fn offsets_are_found_by_time() {
    sim::run(4, async |world: World| {
        let broker = start(&world);
        let clock = world.env().clock;
        let mut times = Vec::new();
        for n in 0..10 {
            clock.sleep(Duration::from_secs(10)).await;
            times.push(clock.now());
            send(&broker, "t", &n.to_string()).await;
        }
        let at = async |at| broker.queue_offset(&topic("t"), QueueId(0), at).await;
        assert_eq!(at(OffsetAt::Beginning).await, Ok(QueueOffset(0)));
        assert_eq!(at(OffsetAt::End).await, Ok(QueueOffset(10)));
        for (n, time) in times.iter().enumerate() {
            assert_eq!(at(OffsetAt::Time(*time)).await, Ok(QueueOffset(n as u64)));
        }
        assert_eq!(at(OffsetAt::Time(clock.now().plus(MS))).await, Ok(QueueOffset(10)));
        let no_queue = broker.queue_offset(&topic("t"), QueueId(8), OffsetAt::End).await;
        assert_eq!(no_queue, Err(LookupError::QueueNotFound { topic: topic("t"), queue: QueueId(8), queues: 8 }));
        broker.stop().await;
    });
}

#[test]
fn committed_offsets_survive_a_kill() {
    sim::run(5, async |world: World| {
        let broker = start(&world);
        let committed = broker.committed_offset(&group("g"), &topic("t"), QueueId(1)).await;
        assert_eq!(committed, Ok(None));
        for offset in [7, 3] {
            broker.commit_offset(&group("g"), &topic("t"), QueueId(1), QueueOffset(offset)).await.expect("committed");
        }
        let broker = restart_killed(&world, broker).await;
        let committed = broker.committed_offset(&group("g"), &topic("t"), QueueId(1)).await;
        assert_eq!(committed, Ok(Some(QueueOffset(3))));
        broker.stop().await;
    });
}
