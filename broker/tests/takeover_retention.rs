//! What Apache left waiting, taken over, outlives the segments that its broker stored it in.

#![allow(clippy::disallowed_methods, reason = "unpacks archives, which lie on the real disk")]

#[path = "common/apache.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
mod apache;
mod common;

use std::path::Path;
use std::time::Duration;

use apache::*;
use broker::{LocalBroker, Options};
use common::*;
use env::sim::{self, World};
use types::Broker;
use types::broker::{EndTransaction, Resolution};

#[test]
fn what_apache_left_waiting_outlives_its_segments() {
    for (end, ended) in ENDED {
        sim::run(10, async |world: World| {
            lay_out(&world, end, ended);
            taken_over(&world).await.expect("taken over");
            let minutes = |count: u64| Duration::from_secs(60 * count);
            let options = Options { retention: retention(minutes(10)), ..options() };
            let broker = LocalBroker::start(world.env(), options.clone()).expect("starts");
            for _ in 0..2 {
                for _ in 0..16 {
                    send(&broker, "filler", &"x".repeat(10_000)).await;
                }
                world.env().clock.sleep(minutes(15)).await;
            }
            let first = world.disk().names(&Path::new(DIR).join("commitlog"))[0].parse::<u64>().expect("a position");
            assert!(first >= 196_608, "{end}: the log begins at {first}");
            world.kill().await;
            drop(broker);
            let broker = LocalBroker::start(world.env(), options).expect("starts");
            let mut checks = broker.transaction_checks();
            let check = checks.recv().await.expect("asked");
            let request = EndTransaction::new(topic("deals"), check.place, Resolution::Commit);
            assert_eq!(broker.end_transaction(request).await, Ok(()));
            world.env().clock.sleep(minutes(91)).await;
            assert_eq!((broker.status().timers_delivered, broker.status().committed), (5, 1), "{end}");
            broker.stop().await;
        });
    }
}
