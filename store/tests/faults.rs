//! A disk that is full or fails: an error to the caller, never a panic, never silence.

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Ledger, check, encoded, names, open, send};
use env::sim::{self, Operation, World};
use store::{AppendError, Flush, Store};
use types::{PhysicalOffset, Timestamp};

/// Sends until a record is refused.
async fn send_until_refused(store: &mut Store, ledger: &mut Ledger) -> AppendError {
    loop {
        let record = encoded("orders", 0, &[1; 500]);
        store.ready(record.total_bytes()).await;
        match store.append(record, Timestamp(1)) {
            Ok(appended) => common::apply(store, ledger, appended.physical_offset()),
            Err(refused) => return refused,
        }
        store.write().expect("writes");
    }
}

/// A store that refuses messages, because there is no room for another segment.
async fn on_a_full_disk(world: &World) -> (Store, Ledger) {
    let (mut store, mut ledger) = open(&world.env(), Flush::Async);
    store.ready(u64::MAX).await;
    world.disk().set_capacity(Some(world.disk().used_bytes()));
    let refused = send_until_refused(&mut store, &mut ledger).await;
    assert!(matches!(refused, AppendError::DiskFull { .. }), "{refused}");
    (store, ledger)
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    sim::run(1, async |world: World| {
        let (mut store, mut ledger) = on_a_full_disk(&world).await;
        assert!(ledger.lines.len() > 10, "both segments at hand are used");
        check(&mut store, &ledger).await;
        // Small records still fit in what is left of the segment.
        send(&mut store, &mut ledger, "orders", 0, b"small").await;

        world.disk().set_capacity(None);
        while let Err(refused) = store.append(encoded("orders", 0, &[1; 500]), Timestamp(1)) {
            assert!(matches!(refused, AppendError::DiskFull { .. } | AppendError::NotReady), "{refused}");
            world.env().clock.sleep(Duration::from_millis(100)).await;
        }
        let from = ledger.lines.last().map(|line| line.physical_offset).expect("not empty");
        common::apply(&store, &mut ledger, from.plus(1));
        store.write().expect("writes");
        check(&mut store, &ledger).await;
        store.close(&ledger).await.expect("closes");
        let (mut store, restored) = open(&world.env(), Flush::Async);
        assert_eq!(restored.lines, ledger.lines);
        check(&mut store, &restored).await;
        store.abandon().await;
    });
}

fn has_reserve(world: &World) -> bool {
    world.disk().names(&common::dir().join("commitlog")).iter().any(|name| name == "reserve")
}

/// The reserve is a segment's room that messages do not get.
#[test]
fn what_ends_messages_fits_on_a_full_disk() {
    sim::run(1, async |world: World| {
        let (mut store, mut ledger) = on_a_full_disk(&world).await;
        assert!(!has_reserve(&world) && !store.is_short(), "the reserve is the next segment, and not in use yet");
        let more = |store: &mut Store, ledger: &mut Ledger| {
            let appended = store.append_reserved(encoded("acks", 0, &[1; 500]), Timestamp(1)).expect("taken");
            common::apply(store, ledger, appended.physical_offset());
            store.write().expect("writes");
        };
        for _ in 0..5 {
            more(&mut store, &mut ledger);
            assert!(store.is_short());
            let refused = store.append(encoded("orders", 0, b"small"), Timestamp(1)).expect_err("refused");
            assert!(matches!(refused, AppendError::DiskFull { .. }), "{refused}");
        }
        // A start on the full disk finds it all.
        world.kill().await;
        drop(store);
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        check(&mut store, &ledger).await;
        world.disk().set_capacity(None);
        world.env().clock.sleep(Duration::from_secs(2)).await;
        assert!(has_reserve(&world));
        more(&mut store, &mut ledger);
        send(&mut store, &mut ledger, "orders", 0, b"small").await;
        check(&mut store, &ledger).await;
        store.close(&ledger).await.expect("closes");
    });
}

#[test]
fn a_failed_write_is_final() {
    sim::run(2, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        send(&mut store, &mut ledger, "orders", 0, b"kept").await;
        world.disk().fail(Operation::Write, 0, ErrorKind::Other);
        store.append(encoded("orders", 0, b"lost"), Timestamp(1)).expect("appends");
        let failed = store.write().expect_err("fails");
        assert!(failed.detail.starts_with("write of the log"), "{failed}");
        assert_eq!(store.write(), Err(failed.clone()));
        let refused = store.append(encoded("orders", 0, b"refused"), Timestamp(1)).expect_err("refused");
        assert_eq!(refused, AppendError::Failed(failed.clone()));
        assert_eq!(common::entries(&mut store, "orders", 0, 0, 10).len(), 1, "what is not written is not handed out");
        assert_eq!(store.close(&ledger).await, Err(failed));
        world.kill().await;
        let (mut store, restored) = open(&world.env(), Flush::Async);
        assert_eq!(restored.lines[0], ledger.lines[0]);
        check(&mut store, &restored).await;
        store.abandon().await;
    });
}

#[test]
fn a_failed_sync_is_final_and_wakes_who_waits() {
    for flush in [Flush::Sync, Flush::Async] {
        sim::run(3, async |world: World| {
            let (mut store, mut ledger) = open(&world.env(), flush);
            let kept = send(&mut store, &mut ledger, "orders", 0, b"kept").await;
            store.marks().durable(kept.end).await.expect("durable");
            world.disk().fail(Operation::Sync, 0, ErrorKind::Other);
            let lost = send(&mut store, &mut ledger, "orders", 0, b"lost").await;
            let failed = store.marks().durable(lost.end).await.expect_err("fails");
            assert!(failed.detail.starts_with("sync of the log"), "{failed}");
            assert_eq!(store.marks().durable_to(), kept.end);
            assert_eq!(store.write(), Err(failed.clone()));
            assert_eq!(store.close(&ledger).await, Err(failed));
            world.lose_power().await;
            let (mut store, restored) = open(&world.env(), flush);
            assert_eq!(restored.lines[0], ledger.lines[0]);
            check(&mut store, &restored).await;
            store.abandon().await;
        });
    }
}

#[test]
fn a_checkpoint_that_fails_costs_nothing() {
    sim::run(4, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Sync);
        for (nth, operation) in [(0, Operation::Rename), (1, Operation::Rename), (0, Operation::SyncDir)] {
            for _ in 0..20 {
                let appended = send(&mut store, &mut ledger, "orders", 0, &[1; 300]).await;
                store.marks().durable(appended.end).await.expect("durable");
            }
            store.ready(u64::MAX).await;
            world.disk().fail(operation, nth, ErrorKind::Other);
            store.begin_checkpoint(&ledger);
            world.env().clock.sleep(Duration::from_secs(1)).await;
            store.write().expect("writes");
            check(&mut store, &ledger).await;
        }
        store.close(&ledger).await.expect("closes");
        assert_eq!(names(&world.env(), "queueindex").len(), 3);
        let (mut store, restored) = open(&world.env(), Flush::Sync);
        assert_eq!((restored.lines.len(), restored.applied), (60, 0));
        check(&mut store, &restored).await;
        store.abandon().await;
    });
}

/// What was written of a checkpoint would take room on the disk that is full until the next start.
#[test]
fn a_checkpoint_that_fails_leaves_nothing_half_written() {
    sim::run(6, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        send(&mut store, &mut ledger, "orders", 0, &[1; 300]).await;
        store.ready(u64::MAX).await;
        let disk = world.disk();
        let fail: [&dyn Fn(); 5] = [
            &|| disk.set_capacity(Some(disk.used_bytes())),
            // Room for the index run, and not for all of the checkpoint.
            &|| disk.set_capacity(Some(disk.used_bytes() + 4_096)),
            &|| disk.fail(Operation::Write, 0, ErrorKind::Other),
            &|| disk.fail(Operation::Sync, 1, ErrorKind::Other),
            &|| disk.fail(Operation::Rename, 0, ErrorKind::Other),
        ];
        for (nth, fail) in fail.iter().enumerate() {
            fail();
            store.begin_checkpoint(&ledger);
            world.env().clock.sleep(Duration::from_secs(1)).await;
            disk.set_capacity(None);
            let left = ["checkpoints", "queueindex"].map(|folder| names(&world.env(), folder));
            let half_written = left.iter().flatten().filter(|name| name.ends_with(".tmp")).count();
            assert_eq!((half_written, left[0].len()), (0, 0), "failure {nth}: {left:?}");
        }
        store.begin_checkpoint(&ledger);
        world.env().clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(names(&world.env(), "checkpoints").len(), 1);
        store.abandon().await;
    });
}

#[test]
fn an_error_at_start_is_told_with_its_path() {
    sim::run(5, async |world: World| {
        let (store, ledger) = open(&world.env(), Flush::Async);
        store.close(&ledger).await.expect("closes");
        for (operation, nth) in [
            (Operation::Open, 3),
            (Operation::Read, 0),
            (Operation::Sync, 0),
            (Operation::Allocate, 1),
            (Operation::SyncDir, 0),
        ] {
            world.disk().fail(operation, nth, ErrorKind::Other);
            let error = Store::open(&world.env(), &common::options(Flush::Async), &mut Ledger::default()).err();
            let text = error.map(|error| error.to_string());
            assert!(text.as_deref().is_some_and(|text| text.contains("/data")), "{operation:?}: {text:?}");
        }
        let (store, _) = open(&world.env(), Flush::Async);
        store.abandon().await;
    });
}

/// Neither a kill nor, once the store was started again, a loss of power takes anything. Returns what that start found
/// and how much it made durable.
async fn kill_and_lose_power(world: &World, store: Store, ledger: &Ledger) -> (Ledger, PhysicalOffset) {
    world.kill().await;
    drop(store);
    let (store, found) = open(&world.env(), Flush::Sync);
    assert_eq!(found.lines, ledger.lines, "a kill takes nothing");
    let durable_to = store.marks().durable_to();
    world.lose_power().await;
    drop(store);
    let (store, found_later) = open(&world.env(), Flush::Sync);
    assert_eq!(found_later.lines, ledger.lines, "what was durable is there");
    store.abandon().await;
    (found, durable_to)
}

/// After a failed sync the system shows bytes that it takes for clean and that the disk never got.
#[test]
fn what_a_failed_sync_left_in_memory_is_written_anew_at_start() {
    for seed in 0..50 {
        sim::run(seed, async |world: World| {
            let (mut store, mut ledger) = open(&world.env(), Flush::Async);
            // Over a segment's end, so that more than the last one has to be written.
            for _ in 0..10 {
                send(&mut store, &mut ledger, "orders", 0, &[1; 500]).await;
            }
            world.disk().fail(Operation::Sync, 0, ErrorKind::Other);
            let end = store.marks().appended_to();
            store.marks().durable(end).await.expect_err("the sync fails");
            let (_, durable_to) = kill_and_lose_power(&world, store, &ledger).await;
            assert_eq!(durable_to, end);
        });
    }
}

/// The blank behind a checkpoint is all that a start replays of that segment.
#[test]
fn a_blank_right_behind_a_checkpoint_is_made_durable_at_start() {
    for seed in 0..50 {
        sim::run(seed, async |world: World| {
            let (mut store, mut ledger) = open(&world.env(), Flush::Async);
            send(&mut store, &mut ledger, "orders", 0, &[1; 2500]).await;
            store.begin_checkpoint(&ledger);
            let end = store.marks().appended_to();
            store.marks().durable(end).await.expect("durable");
            world.env().clock.sleep(Duration::from_millis(100)).await;
            send(&mut store, &mut ledger, "orders", 0, &[2; 2500]).await;
            let (found, _) = kill_and_lose_power(&world, store, &ledger).await;
            assert_eq!(found.applied, 1, "the checkpoint is used");
        });
    }
}
