//! Directories that older builds of ours wrote go on where those left them: `recorded/snapshot-N.tar.gz`, a few kilobytes each, by
//! the last build whose snapshots had version N: commit 0624554 (2: all delayed messages in it), 2fc962e (3: without idempotency keys).
//!
//! Each was made by a simulated broker with segments of 16 KiB, stopped in an orderly way, whose first segment had expired, so that
//! a state in the log stands in for it. In each:
//!
//! | what | expected |
//! |---|---|
//! | `t`: 8 messages leased for an hour by `g`, 5 of them acked, 1 more | the other 3 come again, as retries, then the last |
//! | `late`: 6 messages due after an hour, the third recalled | 5 come |
//! | `deals`: 3 half messages, one committed, one rolled back | the third is asked for |
//! | `puller` committed offset 5 of `t`; `filler` | the offset stands |
//! | `ordered`: 3 messages of a message group that expired, 1 that did not | one comes |

#![allow(clippy::disallowed_methods, reason = "unpacks archives, which lie on the real disk")]

#[path = "common/apache.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
mod apache;
mod common;

use std::path::Path;
use std::time::Duration;

use apache::{DIR, HOUR, put, queue_bodies, unpacked};
use broker::{LocalBroker, Options};
use common::*;
use env::Disk;
use env::sim::{self, World};
use types::broker::{EndTransaction, Resolution};
use types::{Broker, QueueId, QueueOffset};

fn start(world: &World) -> LocalBroker {
    let options = Options { segment_bytes: 16 * 1024, ..options() };
    LocalBroker::start(world.env(), options).expect("starts")
}

/// Everything comes as the table says.
async fn check(world: &World, broker: &LocalBroker) {
    // Numbers are told by the rounds.
    world.env().clock.sleep(Duration::from_secs(2)).await;
    let status = broker.status();
    assert_eq!((status.timers_pending, status.halves_pending, status.in_flight), (5, 1, 3));
    assert_eq!((status.topics, status.groups, status.keys_known), (6, 2, 0));
    let committed = broker.committed_offset(&group("puller"), &topic("t"), QueueId(0)).await;
    assert_eq!(committed, Ok(Some(QueueOffset(5))));
    assert_eq!(pop_bodies(broker, "g", "t").await, ["last"]);
    assert_eq!(pop_bodies(broker, "g", "ordered").await, ["ordered-3"]);

    // New groups, which begin behind all that is there.
    for topic_name in ["deals", "late"] {
        assert!(pop_bodies(broker, "new", topic_name).await.is_empty());
    }
    let check = broker.transaction_checks().recv().await.expect("the third is asked for");
    assert_eq!(record::decode(&check.record).expect("a record").body, b"deal-2");
    let commit = EndTransaction::new(topic("deals"), check.place, Resolution::Commit);
    broker.end_transaction(commit).await.expect("committed");
    assert_eq!(pop_bodies(broker, "new", "deals").await, ["deal-2"]);

    world.env().clock.sleep(HOUR).await;
    let mut late = pop_bodies(broker, "new", "late").await;
    late.sort_unstable();
    assert_eq!(late, ["late-0", "late-1", "late-3", "late-4", "late-5"]);
    let mut again = pop_bodies(broker, "g", "t").await;
    again.sort_unstable();
    assert_eq!(again, ["last", "plain-5", "plain-6", "plain-7"]);
}

fn goes_on(version: u32, loses_derived_files: bool) {
    sim::run(version.into(), async |world: World| {
        put(&world, Path::new(DIR), &unpacked(&format!("tests/recorded/snapshot-{version}.tar.gz"), "gantry"));
        world.env().clock.sleep(Duration::from_secs(60)).await;
        if loses_derived_files {
            let disk = world.disk();
            for dir in ["checkpoints", "queueindex", store::TIMERS_NAME].map(|name| Path::new(DIR).join(name)) {
                disk.names(&dir).iter().for_each(|name| disk.remove(&dir.join(name)).expect("removed"));
            }
        }
        let broker = start(&world);
        check(&world, &broker).await;
        broker.stop().await;
        // What this build has written of it is read again.
        let broker = start(&world);
        assert_eq!(queue_bodies(&broker, "late", 0).await.len(), 5);
        broker.stop().await;
    });
}

#[test]
fn a_directory_with_snapshots_of_version_2_goes_on() {
    goes_on(2, false);
}

#[test]
fn a_directory_with_snapshots_of_version_3_goes_on() {
    goes_on(3, false);
}

#[test]
fn the_log_of_older_builds_alone_tells_their_state() {
    goes_on(2, true);
    goes_on(3, true);
}
