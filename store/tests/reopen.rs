//! What a store holds after it was closed, killed, or lost derived files.

mod common;

use common::{Ledger, apply, check, dir, encoded, entries, message, names, open, options, read_file, send, write_file};
use env::Env;
use env::sim::{self, World};
use record::Encoded;
use store::{AppendError, Flush, Machine, Marks, OpenError, ReadError, RestoreError, Store};
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

/// Records over several queues and segments; some of a queue that only early segments have.
async fn fill(store: &mut Store, ledger: &mut Ledger, records: usize) {
    for n in 0..records {
        let queue = if n < 10 { 7 } else { (n % 3) as u32 };
        let body = vec![b'a' + (n % 26) as u8; n * 7 % 700];
        send(store, ledger, if n % 2 == 0 { "orders" } else { "bills" }, queue, &body).await;
    }
}

async fn reopened(env: &Env, before: &Ledger) -> Store {
    let (mut store, ledger) = open(env, Flush::Async);
    assert_eq!(ledger.lines, before.lines);
    check(&mut store, &ledger).await;
    store
}

#[test]
fn a_new_store_is_empty_and_takes_records() {
    sim::run(1, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        assert_eq!(store.queue_range("orders", QueueId(0)), None);
        assert_eq!(store.queues().count(), 0);
        let first = send(&mut store, &mut ledger, "orders", 0, b"a").await;
        let second = send(&mut store, &mut ledger, "orders", 0, b"b").await;
        assert_eq!((first.queue_offset, first.physical_offset()), (QueueOffset(0), PhysicalOffset(0)));
        assert_eq!((second.queue_offset, second.physical_offset()), (QueueOffset(1), first.end));
        check(&mut store, &ledger).await;
        store.close(&ledger).await.expect("closes");
    });
}

#[test]
fn closing_and_opening_keeps_everything_and_replays_nothing() {
    sim::run(2, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 200).await;
        check(&mut store, &ledger).await;
        store.close(&ledger).await.expect("closes");
        for _ in 0..3 {
            let (store, restored) = open(&world.env(), Flush::Async);
            assert_eq!((restored.applied, restored.lines.len()), (0, 200));
            store.close(&restored).await.expect("closes");
        }
        let mut store = reopened(&world.env(), &ledger).await;
        fill(&mut store, &mut ledger, 50).await;
        store.close(&ledger).await.expect("closes");
        reopened(&world.env(), &ledger).await.abandon().await;
    });
}

#[test]
fn the_last_checkpoint_waits_for_those_before_it() {
    sim::run(2, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        // More than may wait, and nobody gives way to the publisher.
        for _ in 0..5 {
            fill(&mut store, &mut ledger, 1).await;
            store.begin_checkpoint(&ledger);
        }
        store.close(&ledger).await.expect("closes");
        let (store, restored) = open(&world.env(), Flush::Async);
        assert_eq!((restored.applied, restored.lines.len()), (0, 5));
        store.abandon().await;
    });
}

#[test]
fn a_kill_keeps_what_was_written() {
    for flush in [Flush::Async, Flush::Sync] {
        sim::run(3, async |world: World| {
            let (mut store, mut ledger) = open(&world.env(), flush);
            fill(&mut store, &mut ledger, 100).await;
            world.kill().await;
            drop(store);
            reopened(&world.env(), &ledger).await.abandon().await;
        });
    }
}

#[test]
fn start_up_costs_the_tail() {
    sim::run(4, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Sync);
        fill(&mut store, &mut ledger, 150).await;
        assert!(store.is_checkpoint_due());
        store.begin_checkpoint(&ledger);
        assert!(!store.is_checkpoint_due());
        fill(&mut store, &mut ledger, 20).await;
        let end = store.write().expect("writes");
        store.marks().durable(end).await.expect("durable");
        // The checkpoint is published beside; closing waits for it, a kill here would not.
        while names(&world.env(), "checkpoints").is_empty() {
            world.env().clock.sleep(std::time::Duration::from_millis(1)).await;
        }
        store.write().expect("writes");
        check(&mut store, &ledger).await;
        world.kill().await;
        drop(store);
        let (store, restored) = open(&world.env(), Flush::Sync);
        assert_eq!((restored.applied, restored.lines.len()), (20, 170));
        store.abandon().await;
    });
}

/// Three closes make two kept generations; returns what the log holds.
async fn two_generations(world: &World) -> Ledger {
    let mut ledger = Ledger::default();
    for _ in 0..3 {
        let (mut store, _) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 40).await;
        store.close(&ledger).await.expect("closes");
    }
    assert_eq!(names(&world.env(), "checkpoints").len(), 2);
    ledger
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    sim::run(5, async |world: World| {
        let ledger = two_generations(&world).await;
        let newest = dir().join("checkpoints").join(&names(&world.env(), "checkpoints")[1]);
        world.disk().flip_bits(&newest, 1).expect("exists");
        let (mut store, restored) = open(&world.env(), Flush::Async);
        assert_eq!((restored.applied, restored.lines.len()), (40, 120));
        check(&mut store, &ledger).await;
        store.close(&restored).await.expect("closes");
        reopened(&world.env(), &ledger).await.abandon().await;
    });
}

#[test]
fn without_checkpoints_the_log_is_replayed() {
    sim::run(6, async |world: World| {
        let ledger = two_generations(&world).await;
        for name in names(&world.env(), "checkpoints") {
            world.env().disk.remove(&dir().join("checkpoints").join(name)).expect("removes");
        }
        let (mut store, restored) = open(&world.env(), Flush::Async);
        assert_eq!(restored.applied, 120);
        check(&mut store, &ledger).await;
        assert!(!names(&world.env(), "queueindex").is_empty(), "a long replay writes its index out");
        store.close(&restored).await.expect("closes");
        reopened(&world.env(), &ledger).await.abandon().await;
    });
}

#[test]
fn missing_and_damaged_index_runs_are_made_again() {
    sim::run(7, async |world: World| {
        let ledger = two_generations(&world).await;
        let runs = names(&world.env(), "queueindex");
        assert_eq!(runs.len(), 3);
        world.env().disk.remove(&dir().join("queueindex").join(&runs[0])).expect("removes");
        let path = dir().join("queueindex").join(&runs[1]);
        let mut bytes = read_file(&world.env(), &path);
        bytes[35] ^= 1; // in the directory
        write_file(&world.env(), &path, &bytes);
        let store = reopened(&world.env(), &ledger).await;
        store.close(&ledger).await.expect("closes");
        assert_eq!(names(&world.env(), "queueindex"), runs);
        reopened(&world.env(), &ledger).await.abandon().await;
    });
}

#[test]
fn a_damaged_index_chunk_is_made_again_when_it_is_read() {
    sim::run(8, async |world: World| {
        let ledger = two_generations(&world).await;
        let path = dir().join("queueindex").join(&names(&world.env(), "queueindex")[1]);
        let mut bytes = read_file(&world.env(), &path);
        *bytes.last_mut().expect("not empty") ^= 1;
        write_file(&world.env(), &path, &bytes);
        reopened(&world.env(), &ledger).await.abandon().await;
    });
}

#[test]
fn a_second_process_is_told_so() {
    sim::run(10, async |world: World| {
        let (store, _) = open(&world.env(), Flush::Async);
        let error = Store::open(&world.env(), &options(Flush::Async), &mut Ledger::default()).err();
        let text = error.map(|error| error.to_string());
        assert_eq!(text.as_deref(), Some("/data is in use by another process"));
        store.abandon().await;
        let (store, _) = open(&world.env(), Flush::Async);
        store.abandon().await;
    });
}

#[test]
fn a_newer_format_is_refused() {
    sim::run(11, async |world: World| {
        let (store, ledger) = open(&world.env(), Flush::Async);
        store.close(&ledger).await.expect("closes");
        write_file(&world.env(), &dir().join("format"), b"gantry-store 2\nsegment_bytes 4096\n");
        let error = Store::open(&world.env(), &options(Flush::Async), &mut Ledger::default()).err();
        assert!(matches!(error, Some(OpenError::NewerFormat { found: 2, known: 1, .. })), "{error:?}");
    });
}

/// A machine whose snapshots are of a newer version than it knows.
#[derive(Default)]
struct Older(Ledger);

impl Machine for Older {
    fn apply(&mut self, record: &record::Record<'_>) {
        self.0.apply(record);
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        self.0.snapshot(out);
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Err(RestoreError::Newer { found: 9, known: 8 })
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

#[test]
fn a_newer_snapshot_is_refused_and_stays() {
    sim::run(14, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        store.close(&ledger).await.expect("closes");
        let all = || ["commitlog", "checkpoints", "queueindex"].map(|name| names(&world.env(), name));
        let before = all();
        let error = Store::open(&world.env(), &options(Flush::Async), &mut Older::default()).err();
        let Some(OpenError::NewerState { path, error }) = error else { panic!("{error:?}") };
        assert_eq!(error, RestoreError::Newer { found: 9, known: 8 });
        assert_eq!(path.file_name().and_then(|name| name.to_str()), before[1].last().map(String::as_str));
        assert_eq!(all(), before);
        reopened(&world.env(), &ledger).await.abandon().await;
    });
}

#[test]
fn a_log_keeps_its_segment_length() {
    sim::run(12, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        store.close(&ledger).await.expect("closes");
        // Apache's directories have no format file.
        world.env().disk.remove(&dir().join("format")).expect("removes");
        let longer = store::Options { segment_bytes: 8192, ..options(Flush::Async) };
        let mut restored = Ledger::default();
        let mut store = Store::open(&world.env(), &longer, &mut restored).expect("opens");
        fill(&mut store, &mut restored, 60).await;
        check(&mut store, &restored).await;
        store.abandon().await;
    });
}

#[test]
fn records_of_one_call_are_placed_together_or_not_at_all() {
    sim::run(13, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        store.ready(8000).await;
        let batch = || together((0..8).map(|n| vec![n; 700]));
        let placed = store.append(batch(), Timestamp(5)).expect("appends");
        assert_eq!(
            (placed.queue_offset, placed.next(), placed.physical_offsets.len()),
            (QueueOffset(0), QueueOffset(8), 8)
        );
        apply(&store, &mut ledger, PhysicalOffset(0));
        let end = store.write().expect("writes");
        let refused = store.append(batch(), Timestamp(5)).expect_err("does not fit");
        assert!(matches!(refused, AppendError::TooLarge { .. } | AppendError::NotReady), "{refused}");
        let refused = store.append(encoded("orders", 0, &[0; 5000]), Timestamp(5)).expect_err("does not fit");
        assert!(matches!(refused, AppendError::TooLarge { .. }), "{refused}");
        assert_eq!(store.write().expect("writes"), end);
        check(&mut store, &ledger).await;
        store.abandon().await;
    });
}

#[test]
fn store_times_never_go_back() {
    sim::run(14, async |world: World| {
        let (mut store, ledger) = open(&world.env(), Flush::Async);
        let times =
            [50, 40, 60].map(|now| store.append(encoded("t", 0, b""), Timestamp(now)).expect("appends").stored_at);
        assert_eq!(times, [Timestamp(50), Timestamp(50), Timestamp(60)]);
        store.write().expect("writes");
        store.close(&ledger).await.expect("closes");
        let (mut store, _) = open(&world.env(), Flush::Async);
        let stored_at = store.append(encoded("t", 0, b""), Timestamp(1)).expect("appends").stored_at;
        assert_eq!(stored_at, Timestamp(60));
        store.abandon().await;
    });
}

#[test]
fn with_sync_flush_only_what_is_durable_is_handed_out() {
    sim::run(15, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Sync);
        let appended = send(&mut store, &mut ledger, "orders", 0, b"a").await;
        assert_eq!(entries(&mut store, "orders", 0, 0, 10), []);
        assert_eq!(store.marks().durable_to(), PhysicalOffset(0));
        store.marks().visible(appended.end).await.expect("durable");
        assert_eq!(entries(&mut store, "orders", 0, 0, 10).len(), 1);
        store.abandon().await;
    });
}

#[test]
fn with_async_flush_everything_is_durable_within_the_interval() {
    sim::run(16, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        let appended = send(&mut store, &mut ledger, "orders", 0, b"a").await;
        assert_eq!(entries(&mut store, "orders", 0, 0, 10).len(), 1);
        let before = world.clock().true_now();
        let marks: Marks = store.marks().clone();
        marks.durable(appended.end).await.expect("durable");
        assert!(world.clock().true_now().since(before).as_millis() < 600);
        store.abandon().await;
    });
}

#[test]
fn a_bad_place_among_those_read_at_once_is_the_only_error() {
    sim::run(18, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        let mut places: Vec<_> = ledger.lines.iter().map(|line| (line.physical_offset, line.record_bytes)).collect();
        places[1].1 += 1;
        places[3].0 = places[3].0.plus(1);
        places[5].1 -= 1;
        places.push((store.marks().appended_to(), 100));
        let read = store.reader().read_all(places.into_iter()).await;
        let bad: Vec<usize> = (0..read.len()).filter(|&index| read[index].is_err()).collect();
        assert_eq!(bad, [1, 3, 5, 60]);
        store.abandon().await;
    });
}

#[test]
fn reads_beside_the_log_are_errors() {
    sim::run(17, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        let reader = store.reader();
        let end = store.marks().appended_to();
        assert!(matches!(reader.read(end, 100).await, Err(ReadError::OutOfLog { .. })));
        assert!(matches!(reader.read(PhysicalOffset(1), 100).await, Err(ReadError::Damaged { .. })));
        assert!(matches!(reader.read(PhysicalOffset(0), 5000).await, Err(ReadError::Damaged { .. })));
        assert!(matches!(reader.find(PhysicalOffset(3)).await, Err(ReadError::Damaged { .. })));
        let first = &ledger.lines[0];
        assert_eq!(reader.hot(first.physical_offset), None);
        assert!(matches!(reader.read(PhysicalOffset(0), first.record_bytes + 1).await, Err(ReadError::Damaged { .. })));
        store.abandon().await;
        assert_eq!(reader.read(PhysicalOffset(0), first.record_bytes).await, Err(ReadError::Closed));
    });
}

/// Records of one queue that are appended together.
fn together(mut bodies: impl Iterator<Item = Vec<u8>>) -> Encoded {
    let first = bodies.next().expect("at least one");
    let mut records = encoded("together", 0, &first);
    bodies.for_each(|body| records.push(&message("together", &body)).expect("encodes"));
    records
}

/// They are one piece in memory, of which each record is found by its own place, also where a segment ends between them.
#[test]
fn records_made_together_are_applied_read_and_kept_one_by_one() {
    sim::run(19, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        for round in 0..12_u8 {
            store.ready(4096).await;
            let records = together((0..6).map(|n| vec![round; 20 + n * 20]));
            let placed = store.append(records, Timestamp(1)).expect("appends");
            for from in &placed.physical_offsets {
                let staged: Vec<_> = store.staged_from(*from).map(|r| r.header.physical_offset).collect();
                let later = placed.physical_offsets.iter().copied().filter(|offset| offset >= from);
                assert_eq!(staged, later.collect::<Vec<_>>());
            }
            apply(&store, &mut ledger, placed.physical_offset());
            store.write().expect("writes");
            let last = ledger.lines.last().expect("some");
            let hot = store.reader().hot(last.physical_offset).expect("new");
            assert_eq!((hot.len(), last.physical_offset), (last.record_bytes as usize, placed.physical_offsets[5]));
            assert_eq!(store.reader().hot(last.physical_offset.plus(1)), None);
        }
        assert!(store.marks().appended_to() > PhysicalOffset(8192), "it went over the end of a segment");
        check(&mut store, &ledger).await;
        store.close(&ledger).await.expect("closes");
        let (mut store, reopened) = open(&world.env(), Flush::Async);
        assert_eq!(reopened.lines, ledger.lines);
        check(&mut store, &ledger).await;
        store.abandon().await;
    });
}
