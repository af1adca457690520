//! A wall clock that jumps: waits last as long as they were to last.

mod common;

use std::time::Duration;

use common::*;
use env::sim::{self, World};
use types::broker::{Pop, Pull};
use types::{Broker, Filter, QueueId, QueueOffset};

const HOUR_MS: i64 = 3_600_000;
const WAIT: Duration = Duration::from_secs(20);
/// A wait is looked at once a round.
const ROUND: Duration = Duration::from_secs(1);

/// How long a pop and a pull that find nothing wait when the clock jumps by so much in the middle.
async fn waits(world: &World, skew_ms: i64) -> [Duration; 2] {
    let broker = start(world);
    send(&broker, "t", "0").await;
    assert_eq!(pop_bodies(&broker, "g", "t").await, ["0"]);
    let clock = world.env().clock;
    let begin = clock.moment();
    let jump = async {
        clock.sleep(WAIT / 4).await;
        world.clock().set_skew_ms(skew_ms);
    };
    let pop = async {
        let popped = pop(&broker, Pop { wait: WAIT, ..pop_of("other", "u") }).await;
        assert_eq!(bodies(&popped), [""; 0]);
        clock.moment().since(begin)
    };
    let pull = async {
        let pull = Pull {
            group: group("g"),
            topic: topic("t"),
            queue: QueueId(0),
            offset: QueueOffset(1),
            messages_max: 1,
            filter: std::sync::Arc::new(Filter::All),
            wait: WAIT,
        };
        assert_eq!(broker.pull(pull).await.expect("pulled").records.len(), 0);
        clock.moment().since(begin)
    };
    let (popped, pulled, ()) = tokio::join!(pop, pull, jump);
    broker.stop().await;
    [popped, pulled]
}

#[test]
fn a_wait_lasts_as_long_as_it_says_whatever_the_clock_shows() {
    for skew_ms in [HOUR_MS, -HOUR_MS] {
        for waited in sim::run(1, async |world: World| waits(&world, skew_ms).await) {
            assert!((WAIT..WAIT + ROUND).contains(&waited), "{waited:?} with a clock {skew_ms} ms ahead");
        }
    }
}
