//! The log's front goes: what is gone, what goes on, and what a crash in between leaves.

mod common;

use std::io::IoSlice;
use std::path::PathBuf;

use common::{Ledger, dir, encoded, entries, names, options, send};
use env::Env;
use env::disk::OpenMode;
use env::sim::{self, World};
use proptest::prelude::*;
use record::Record;
use store::inspect::{Directory, Meaning};
use store::{Flush, Machine, OpenError, QueueRange, ReadError, RestoreError, STATE_TOPIC, Store};
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

/// The ledger, which keeps what has expired too and does not mind the states in the log.
#[derive(Default)]
struct Book(Ledger);

impl Machine for Book {
    fn apply(&mut self, record: &Record<'_>) {
        if record.topic != STATE_TOPIC {
            self.0.apply(record);
        }
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        self.0.snapshot(out);
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        self.0.restore(snapshot)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

fn reopen(env: &Env) -> (Store, Book) {
    let mut book = Book::default();
    let store = Store::open(env, &options(Flush::Async), &mut book).expect("opens");
    (store, book)
}

/// Three records of a queue that gets no others, then records of two queues over several segments.
async fn fill(store: &mut Store, book: &mut Book, records: usize) {
    for n in 0..3u8 {
        send(store, &mut book.0, "old", 0, &[n]).await;
    }
    for n in 0..records {
        send(store, &mut book.0, "orders", (n % 2) as u32, &vec![n as u8; 100 + n * 37 % 500]).await;
    }
    let end = store.write().expect("written");
    store.marks().durable(end).await.expect("durable");
}

/// A new store that is filled.
async fn filled(env: &Env, records: usize) -> (Store, Book) {
    let (mut store, mut book) = reopen(env);
    fill(&mut store, &mut book, records).await;
    (store, book)
}

/// What retention does: the log begins at `before` afterwards. `None` when the disk died.
async fn expire(store: &mut Store, book: &Book, before: u64) -> Option<bool> {
    store.begin_expiry(PhysicalOffset(before)).ok()?;
    for body in store.state(book) {
        let record = encoded(STATE_TOPIC, 0, &body);
        store.ready(record.total_bytes()).await;
        store.append(record, Timestamp(1_000)).ok()?;
        store.write().ok()?;
    }
    let end = store.write().ok()?;
    store.marks().durable(end).await.ok()?;
    let removed = store.expire().expect("one has begun");
    removed.await.ok()
}

/// Where each queue begins and ends, by the lines that the log still has.
fn check_ranges(store: &Store, book: &Book, first: u64) {
    for (topic, queue, range) in store.queues().filter(|(topic, ..)| *topic != STATE_TOPIC) {
        let of_queue = || book.0.lines.iter().filter(|line| line.topic == topic && line.queue == queue);
        let next = QueueOffset(of_queue().count() as u64);
        let kept = of_queue().find(|line| line.physical_offset.0 >= first);
        let min = kept.map_or(next, |line| line.queue_offset);
        assert_eq!(range, QueueRange { min, stays_from: min, next }, "{topic} {queue}");
    }
}

async fn check(store: &mut Store, book: &Book, first: u64) {
    check_ranges(store, book, first);
    for queue in 0..2 {
        let min = store.queue_range("orders", QueueId(queue)).expect("it has records").min;
        let found = entries(store, "orders", queue, min.0, usize::MAX);
        let kept =
            |line: &&common::Line| line.topic == "orders" && line.queue.0 == queue && line.physical_offset.0 >= first;
        let expected: Vec<_> = book.0.lines.iter().filter(kept).map(|line| line.physical_offset).collect();
        assert_eq!(found.iter().map(|entry| entry.physical_offset).collect::<Vec<_>>(), expected);
        for entry in found {
            store.reader().read(entry.physical_offset, entry.record_bytes).await.expect("it is there");
        }
    }
    let keys = store.search_keys(record::key_hash("orders", "another"));
    let found = store.reader().find_keys(keys, PhysicalOffset(u64::MAX), usize::MAX).await.expect("searched");
    let is_kept = |line: &&common::Line| line.topic == "orders" && line.physical_offset.0 >= first;
    assert_eq!(found.len(), book.0.lines.iter().filter(is_kept).count());
}

fn segments(env: &Env) -> Vec<u64> {
    names(env, "commitlog").iter().map(|name| name.parse().expect("a position")).collect()
}

#[test]
fn what_has_expired_is_gone_and_the_rest_goes_on() {
    for has_checkpoint in [false, true] {
        sim::run(1, async |world: World| {
            let (mut store, mut book) = filled(&world.env(), 60).await;
            if has_checkpoint {
                store.close(&book).await.expect("closes");
                (store, book) = reopen(&world.env());
                fill(&mut store, &mut book, 3).await;
            }
            let survey = store.survey().expect("nothing else is asked").await.expect("looked at");
            let ends: Vec<u64> = survey.segments.iter().map(|segment| segment.end.0).collect();
            assert_eq!(ends, (1..=ends.len() as u64).map(|n| n * 4096).collect::<Vec<_>>());
            assert!(ends.len() >= 5 && survey.space.is_some() && survey.log_bytes >= 4096 * ends.len() as u64);
            assert!(survey.segments.iter().all(|segment| segment.newest_at == Timestamp(1_000)));

            let first = book.0.lines[0].clone();
            assert_eq!(expire(&mut store, &book, 3 * 4096).await, Some(true));
            assert_eq!(segments(&world.env())[0], 3 * 4096);
            let expired = store.reader().read(first.physical_offset, first.record_bytes).await;
            let expected = ReadError::Expired { offset: first.physical_offset, first: PhysicalOffset(3 * 4096) };
            // The hot tail, which is in memory, does not reach so far back.
            assert_eq!(expired, Err(expected));
            check(&mut store, &book, 3 * 4096).await;
            let old = send(&mut store, &mut book.0, "old", 0, b"new").await;
            assert_eq!(old.queue_offset, QueueOffset(if has_checkpoint { 6 } else { 3 }));
            check(&mut store, &book, 3 * 4096).await;
            store.close(&book).await.expect("closes");
            let (mut store, found) = reopen(&world.env());
            assert_eq!(found.0.lines, book.0.lines);
            check(&mut store, &found, 3 * 4096).await;
            store.abandon().await;
        });
    }
}

#[test]
fn an_announced_expiry_changes_nothing_until_it_is_done() {
    sim::run(1, async |world: World| {
        let (mut store, book) = filled(&world.env(), 40).await;
        store.begin_expiry(PhysicalOffset(2 * 4096)).expect("readable");
        let range = store.queue_range("old", QueueId(0)).expect("it has records");
        assert_eq!(range, QueueRange { min: QueueOffset(0), stays_from: QueueOffset(3), next: QueueOffset(3) });
        assert_eq!(entries(&mut store, "old", 0, 0, 10).len(), 3);
        store.cancel_expiry();
        check(&mut store, &book, 0).await;
        assert!(store.expire().is_none());
        store.abandon().await;
    });
}

fn remove_all(env: &Env, sub: &str) {
    for name in names(env, sub) {
        env.disk.remove(&dir().join(sub).join(name)).expect("removed");
    }
}

#[test]
fn the_log_alone_tells_the_state_when_all_derived_files_are_gone() {
    for dirs in [&["checkpoints"][..], &["queueindex"], &["checkpoints", "queueindex"]] {
        sim::run(1, async |world: World| {
            let (mut store, mut book) = filled(&world.env(), 60).await;
            store.begin_checkpoint(&book);
            assert_eq!(expire(&mut store, &book, 2 * 4096).await, Some(true));
            for n in 0..20u8 {
                send(&mut store, &mut book.0, "orders", u32::from(n % 2), &[n; 200]).await;
            }
            assert_eq!(expire(&mut store, &book, 4 * 4096).await, Some(true));
            send(&mut store, &mut book.0, "orders", 2, b"the first of its queue").await;
            store.close(&book).await.expect("closes");
            dirs.iter().for_each(|dir| remove_all(&world.env(), dir));
            let (mut store, found) = reopen(&world.env());
            assert_eq!(found.0.lines, book.0.lines, "without {dirs:?}");
            check(&mut store, &found, 4 * 4096).await;
            let old = send(&mut store, &mut book.0, "old", 0, b"new").await;
            assert_eq!(old.queue_offset, QueueOffset(3));
            store.abandon().await;
        });
    }
}

#[test]
fn inspection_is_right_for_a_log_that_begins_late() {
    sim::run(1, async |world: World| {
        let (mut store, mut book) = filled(&world.env(), 60).await;
        store.begin_checkpoint(&book);
        assert_eq!(expire(&mut store, &book, 3 * 4096).await, Some(true));
        send(&mut store, &mut book.0, "orders", 0, b"later").await;
        let env = world.env();
        let sound = |env: &Env| {
            let report = Directory::verify(&env.disk, &dir(), |_| Ok(Vec::new()), &mut |_| ()).expect("looked at");
            let problems: Vec<_> = report.findings.iter().filter(|f| f.meaning != Meaning::Unused).collect();
            assert!(problems.is_empty(), "{problems:?}");
        };
        // Also as long as no checkpoint knows of the expiry.
        let counted = |env: &Env, store: &Store| {
            let directory = Directory::open(&env.disk, &dir(), |_| Ok(Vec::new())).expect("opens");
            let stat = directory.stat(true, &mut |_| ()).expect("counted");
            assert_eq!(stat.log_first, PhysicalOffset(3 * 4096));
            for (topic, queue, range) in store.queues() {
                let found = stat.queues.iter().find(|found| found.topic == topic && found.queue == queue);
                let found = found.expect("known");
                assert_eq!((found.min, found.next), (range.min, range.next), "{topic} {queue}");
            }
            directory
        };
        sound(&env);
        counted(&env, &store);
        store.close(&book).await.expect("closes");
        sound(&env);
        (store, book) = reopen(&env);
        let directory = counted(&env, &store);
        directory.copy(std::path::Path::new("/copy"), &mut |_| ()).expect("copied");
        let mut found = Book::default();
        let options = store::Options { dir: "/copy".into(), ..options(Flush::Async) };
        let mut store = Store::open(&env, &options, &mut found).expect("opens");
        assert_eq!(found.0.lines, book.0.lines);
        check(&mut store, &found, 3 * 4096).await;
        store.abandon().await;
    });
}

#[test]
fn a_damaged_run_that_lies_across_the_edge_is_made_again_without_what_has_expired() {
    sim::run(1, async |world: World| {
        let (mut store, mut book) = filled(&world.env(), 60).await;
        store.close(&book).await.expect("closes");
        // As if somebody else had removed it: then the checkpoint does not know of an expiry.
        let env = world.env();
        for base in [0, 4096, 2 * 4096] {
            env.disk.remove(&dir().join("commitlog").join(format!("{base:020}"))).expect("removed");
        }
        let run = dir().join("queueindex").join(&names(&env, "queueindex")[0]);
        let mut bytes = common::read_file(&env, &run);
        // In the first queue's entries: behind the header, and a directory of three queues and one chunk of keys.
        bytes[36 + 3 * 24 + 8] ^= 1;
        common::write_file(&env, &run, &bytes);
        let options = store::Options { accept_loss_at: Some(PhysicalOffset(0)), ..options(Flush::Async) };
        book = Book::default();
        store = Store::open(&env, &options, &mut book).expect("opens");
        check(&mut store, &book, 3 * 4096).await;
        assert_eq!(store.queue_range("old", QueueId(0)).map(|range| range.min), Some(QueueOffset(3)));
        store.abandon().await;
    });
}

/// Refuses twice to start, says where, verifies so, and starts when that is accepted.
#[track_caller]
fn refused_front(env: &Env, at: u64, words: &str) {
    for _ in 0..2 {
        let refused = Store::open(env, &options(Flush::Async), &mut Book::default()).map(drop).expect_err("refused");
        let store::OpenError::Damaged { at: named, problem, .. } = refused else { panic!("{refused}") };
        assert_eq!(named, PhysicalOffset(at));
        assert!(problem.starts_with("the file is missing"), "{problem}");
    }
    let report = Directory::verify(&env.disk, &dir(), |_| Ok(Vec::new()), &mut |_| ()).expect("looked at");
    let is_told = |finding: &store::inspect::Finding| {
        finding.meaning == Meaning::Refused && finding.position == Some(at) && finding.problem.contains(words)
    };
    assert!(report.findings.iter().any(is_told), "{:?}", report.findings);
}

#[test]
fn a_removed_oldest_segment_is_no_expiry() {
    for keeps_checkpoints in [true, false] {
        sim::run(1, async |world: World| {
            let env = world.env();
            let (mut store, mut book) = filled(&env, 60).await;
            assert_eq!(expire(&mut store, &book, 2 * 4096).await, Some(true));
            fill(&mut store, &mut book, 10).await;
            store.close(&book).await.expect("closes");
            if !keeps_checkpoints {
                remove_all(&env, "checkpoints");
                remove_all(&env, "queueindex");
            }
            let (store, found) = reopen(&env);
            assert_eq!(found.0.lines, book.0.lines);
            store.abandon().await;
            if !keeps_checkpoints {
                remove_all(&env, "checkpoints");
                remove_all(&env, "queueindex");
            }
            env.disk.remove(&dir().join("commitlog").join(format!("{:020}", 2 * 4096))).expect("removed");
            refused_front(&env, 2 * 4096, "the log begins at 12288");
            let accepted = store::Options { accept_loss_at: Some(PhysicalOffset(2 * 4096)), ..options(Flush::Async) };
            let mut book = Book::default();
            let mut store = Store::open(&env, &accepted, &mut book).expect("opens");
            check(&mut store, &book, 3 * 4096).await;
            store.close(&book).await.expect("closes");
            // From now on it is known.
            reopen(&env).0.abandon().await;
        });
    }
}

/// The state that told of the expiry lies behind the damage, and only one place can be accepted.
#[test]
fn a_loss_is_accepted_once_where_it_takes_the_word_of_an_expiry_with_it() {
    sim::run(9, async |world: World| {
        let env = world.env();
        let (store, book) = filled(&env, 60).await;
        store.close(&book).await.expect("closes");
        let (mut store, mut book) = reopen(&env);
        fill(&mut store, &mut book, 6).await;
        let damaged = book.0.lines.last().expect("not empty").physical_offset;
        assert_eq!(expire(&mut store, &book, 8192).await, Some(true));
        store.close(&book).await.expect("closes");
        let flip = |path: PathBuf, at: u64| {
            let file = env.disk.open(&path, OpenMode::ReadWrite).expect("opens");
            let mut byte = [0];
            file.read_at(&mut byte, at).expect("reads");
            file.write_all_at(&[IoSlice::new(&[byte[0] ^ 1])], at).expect("writes");
        };
        let base = damaged.0 / 4096 * 4096;
        flip(dir().join("commitlog").join(format!("{base:020}")), damaged.0 - base + 90);
        let newest = names(&env, "checkpoints").into_iter().max().expect("some");
        flip(dir().join("checkpoints").join(newest), 30);

        let start = |accept_loss_at| {
            let mut book = Book::default();
            let options = store::Options { accept_loss_at, ..options(Flush::Async) };
            Store::open(&env, &options, &mut book).map(|store| (store, book))
        };
        let Err(OpenError::Damaged { at, .. }) = start(None) else { panic!("it starts") };
        assert_eq!(at, damaged);
        let (store, book) = start(Some(at)).expect("opens");
        store.close(&book).await.expect("closes");
        let (mut store, book) = start(None).expect("opens");
        check(&mut store, &book, 8192).await;
        store.abandon().await;
    });
}

#[test]
fn a_log_that_begins_late_without_checkpoint_and_state_is_refused() {
    sim::run(1, async |world: World| {
        let env = world.env();
        let (store, book) = filled(&env, 60).await;
        store.close(&book).await.expect("closes");
        remove_all(&env, "checkpoints");
        remove_all(&env, "queueindex");
        env.disk.remove(&dir().join("commitlog").join(format!("{:020}", 0))).expect("removed");
        refused_front(&env, 0, "without a checkpoint and without a whole state");
    });
}

/// Dies at the `nth` change of the disk of an expiry.
fn die_while_expiring(seed: u64, nth: u32, is_power_loss: bool, keeps_derived: bool) {
    sim::run(seed, async |world: World| {
        // Two runs, of which the first expires as a whole, with all that the index has of one queue.
        let (mut store, mut book) = filled(&world.env(), 20).await;
        store.close(&book).await.expect("closes");
        (store, book) = reopen(&world.env());
        for n in 0..40u8 {
            send(&mut store, &mut book.0, "orders", u32::from(n % 2), &[n; 300]).await;
        }
        store.close(&book).await.expect("closes");
        (store, book) = reopen(&world.env());
        world.disk().die_at(nth);
        let done = expire(&mut store, &book, 3 * 4096).await;
        store.begin_checkpoint(&book);
        env::Clock::sleep(world.clock(), std::time::Duration::from_secs(2)).await;
        if is_power_loss {
            world.lose_power().await
        } else {
            world.kill().await
        }
        drop(store);
        let env = world.env();
        if !keeps_derived {
            remove_all(&env, "checkpoints");
            remove_all(&env, "queueindex");
        }
        let first = segments(&env)[0];
        assert!([0, 4096, 2 * 4096, 3 * 4096].contains(&first));
        assert!(done != Some(true) || first == 3 * 4096);
        let (mut store, found) = reopen(&env);
        assert_eq!(found.0.lines, book.0.lines, "died at change {nth}");
        let queues: Vec<_> = store.queues().map(|(topic, queue, range)| (topic.to_owned(), queue, range)).collect();
        for (topic, queue, range) in queues {
            let entries = entries(&mut store, &topic, queue.0, range.min.0, usize::MAX);
            assert_eq!(entries.len() as u64, range.next.0 - range.min.0, "{topic} {queue}");
            assert!(entries.iter().all(|entry| entry.physical_offset.0 >= first));
        }
        assert_eq!(store.queue_range("old", QueueId(0)).map(|range| range.next), Some(QueueOffset(3)));
        // Once more, and to the end.
        assert_eq!(expire(&mut store, &found, 4 * 4096).await, Some(true));
        check(&mut store, &found, 4 * 4096).await;
        store.abandon().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_death_at_any_change_leaves_a_log_that_opens(
        seed: u64, nth in 0u32..60, is_power_loss: bool, keeps_derived: bool
    ) {
        die_while_expiring(seed, nth, is_power_loss, keeps_derived);
    }
}
