//! That a world is one: time, death and determinism.

use std::io::IoSlice;
use std::path::Path;

use super::*;
use crate::disk::OpenMode;
use crate::random::Random;

#[test]
fn time_jumps_to_the_next_timer() {
    let waited = run(0, |world| async move {
        let env = world.env();
        let before = env.clock.now();
        env.clock.sleep(Duration::from_secs(24 * 3600)).await;
        env.clock.now().since(before)
    });
    assert_eq!(waited, Duration::from_secs(24 * 3600));
}

#[test]
fn a_wrong_clock_does_not_change_how_long_a_sleep_is() {
    run(0, |world| async move {
        let env = world.env();
        let before = world.clock().true_now();
        world.clock().set_skew_ms(-3_600_000);
        assert_eq!(before.since(env.clock.now()), Duration::from_secs(3600));
        env.clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(world.clock().true_now().since(before), Duration::from_secs(1));
    });
}

#[test]
fn a_power_loss_stops_the_process() {
    run(0, |world| async move {
        let env = world.env();
        let held = Arc::new(());
        let (clock, alive) = (env.clock.clone(), held.clone());
        let ended = env.tasks.spawn_thread(
            "loop",
            Box::pin(async move {
                let _alive = alive;
                clock.sleep(RUN_TIME_MAX * 2).await;
            }),
        );
        env.clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&held), 2);
        world.lose_power().await;
        ended.await;
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(env.disk.open(Path::new("/f"), OpenMode::Create).is_err());
        assert!(world.env().disk.open(Path::new("/f"), OpenMode::Create).is_ok());
    });
}

#[test]
fn machines_share_the_time_alone() {
    run(0, |world| async move {
        let other = world.another();
        other.clock().set_skew_ms(-3_600_000);
        world.env().clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(world.clock().true_now(), other.clock().true_now());
        let (here, there) = (world.env().clock.now(), other.env().clock.now());
        assert_eq!(here.since(there), Duration::from_secs(3600));
        assert_ne!(world.env().random.next(), other.env().random.next());
        drop(world.env().disk.open(Path::new("/f"), OpenMode::Create).expect("created"));
        assert!(other.env().disk.open(Path::new("/f"), OpenMode::Read).is_err());
        let held = Arc::new(());
        let alive = held.clone();
        let work = async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        };
        drop(other.env().tasks.spawn_thread("loop", Box::pin(work)));
        world.kill().await;
        assert_eq!(Arc::strong_count(&held), 2);
        other.kill().await;
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn a_stalled_process_goes_on_where_it_was() {
    run(0, |world| async move {
        let (clock, ticks) = (world.env().clock, Arc::new(Mutex::new(0)));
        let ticking = (clock.clone(), ticks.clone());
        let work = async move {
            loop {
                ticking.0.sleep(Duration::from_millis(10)).await;
                *ticking.1.lock() += 1;
            }
        };
        drop(world.env().tasks.spawn_thread("loop", Box::pin(work)));
        clock.sleep(Duration::from_secs(1)).await;
        world.stall(Duration::from_secs(10));
        let before = *ticks.lock();
        assert!(before > 0);
        clock.sleep(Duration::from_secs(9)).await;
        assert_eq!(*ticks.lock(), before);
        clock.sleep(Duration::from_secs(2)).await;
        assert!(*ticks.lock() > before);
    });
}

#[test]
#[should_panic(expected = "the flusher failed")]
fn a_panic_of_a_task_ends_the_run() {
    run(0, |world| async move {
        world.env().tasks.spawn_thread("flusher", Box::pin(async { panic!("the flusher failed") })).await;
    });
}

#[test]
#[should_panic(expected = "the run hangs")]
fn a_run_that_waits_for_nothing_is_ended() {
    run(0, |_| std::future::pending::<()>());
}

/// Two tasks that write to one file and draw numbers, with deaths of both kinds.
fn eventful_life(seed: u64) -> u64 {
    run(seed, |world| async move {
        for _ in 0..3 {
            let env = world.env();
            let file = env.disk.open(Path::new("/f"), OpenMode::Create).expect("created");
            for _ in 0..2 {
                let (env, file) = (env.clone(), file.clone());
                let work = async move {
                    for _ in 0..50 {
                        let number = env.random.next();
                        file.write_all_at(&[IoSlice::new(&number.to_le_bytes())], number % 10_000).expect("written");
                        env.clock.sleep(Duration::from_millis(number % 10)).await;
                    }
                };
                drop(world.env().tasks.spawn_thread("writer", Box::pin(work)));
            }
            env.clock.sleep(Duration::from_millis(100)).await;
            if world.random().next().is_multiple_of(2) { world.kill().await } else { world.lose_power().await }
        }
        world.disk().fingerprint()
    })
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        assert_eq!(eventful_life(seed), eventful_life(seed), "seed {seed}");
        assert_ne!(eventful_life(seed), eventful_life(seed + 1), "seed {seed}");
    }
}
