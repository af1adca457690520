//! The state is a function of the log: replaying all of it gives, byte for byte, the checkpoint that the living broker wrote.

mod common;

use std::path::Path;

use common::live::{live, newest_checkpoint};
use common::*;
use env::sim::{self, World};

#[test]
fn replaying_the_log_gives_the_state_of_the_living() {
    let compare = |seed| {
        sim::run(seed, async |world: World| {
            let broker = start(&world);
            live(&world, &broker).await;
            broker.stop().await;
            let (path, living) = newest_checkpoint(&world, "/data");
            for name in world.env().disk.list(Path::new("/data/checkpoints")).expect("listed") {
                world.env().disk.remove(&Path::new("/data/checkpoints").join(name)).expect("removed");
            }
            start(&world).stop().await;
            let (replayed_path, replayed) = newest_checkpoint(&world, "/data");
            // What ran out between the two lives adds records of its own: those seeds say nothing.
            let is_same_log = replayed_path == path;
            assert!(!is_same_log || living == replayed, "seed {seed}: the states differ");
            is_same_log
        })
    };
    let compared = (0..40).filter(|seed| compare(*seed)).count();
    assert!(compared >= 10, "only {compared} of 40 seeds say something");
}
