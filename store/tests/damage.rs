//! Damage of what was durable: a start refuses to cut it off, unless it is told to.

mod common;

use std::path::{Path, PathBuf};

use common::{Ledger, check, dir, names, open, options, read_file, send, write_file};
use env::Env;
use env::sim::{self, World};
use store::inspect::{CopyError, Directory, Finding, Meaning};
use store::{Flush, OpenError, Options, ReadError, Store};
use types::PhysicalOffset;

/// A closed store with two checkpoints and two index runs, 60 records each; and what it holds.
async fn two_generations(world: &World) -> Ledger {
    let mut ledger = Ledger::default();
    for _ in 0..2 {
        let (mut store, _) = open(&world.env(), Flush::Async);
        for n in 0..60u32 {
            send(&mut store, &mut ledger, "orders", n % 3, &vec![7; 200 + n as usize]).await;
        }
        store.close(&ledger).await.expect("closes");
    }
    assert_eq!((names(&world.env(), "checkpoints").len(), names(&world.env(), "queueindex").len()), (2, 2));
    ledger
}

fn segment(position: u64) -> PathBuf {
    dir().join("commitlog").join(format!("{:020}", position - position % 4096))
}

fn edit(env: &Env, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = read_file(env, path);
    change(&mut bytes);
    write_file(env, path, &bytes);
}

/// Flips a bit in the body of a record.
fn damage(env: &Env, at: PhysicalOffset) {
    edit(env, &segment(at.0), |bytes| bytes[(at.0 % 4096) as usize + 90] ^= 1);
}

fn newest(env: &Env, folder: &str) -> PathBuf {
    dir().join(folder).join(names(env, folder).into_iter().max().expect("not empty"))
}

fn all_names(env: &Env) -> Vec<String> {
    ["commitlog", "queueindex", "checkpoints"].into_iter().flat_map(|folder| names(env, folder)).collect()
}

fn start(env: &Env, accept_loss_at: Option<u64>) -> Result<(Store, Ledger), OpenError> {
    let options = Options { accept_loss_at: accept_loss_at.map(PhysicalOffset), ..options(Flush::Async) };
    let mut ledger = Ledger::default();
    Store::open(env, &options, &mut ledger).map(|store| (store, ledger))
}

/// A start refuses, twice, and leaves every file; returns the place that it names.
#[track_caller]
fn refused(env: &Env) -> (u64, String) {
    let before = all_names(env);
    let mut places = [0, 1].map(|_| match start(env, None) {
        Err(OpenError::Damaged { path, at, problem, durable_to, proof }) => {
            assert!(path == segment(at.0) && at < durable_to && proof.starts_with(dir()), "{path:?} {at} {proof:?}");
            (at.0, problem)
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it starts"),
    });
    places.sort();
    assert_eq!(places[0], places[1]);
    let after = all_names(env);
    assert!(before.iter().all(|name| after.contains(name)), "{before:?} {after:?}");
    let report = Directory::verify(&env.disk, &dir(), |_| Ok(Vec::new()), &mut |_| ()).expect("looks");
    let told = report.findings.iter().find(|finding| finding.meaning == Meaning::Refused);
    assert_eq!(told.and_then(|finding| finding.position), Some(places[0].0), "{:?}", report.findings);
    places[0].clone()
}

/// A copy would end before what was durable, and a start on it would not know.
#[track_caller]
fn not_copied(env: &Env) {
    let copied =
        Directory::open(&env.disk, &dir(), |_| Ok(Vec::new())).expect("looks").copy(Path::new("/copy"), &mut |_| ());
    assert!(matches!(copied, Err(CopyError::Damaged { .. })), "{copied:?}");
}

/// What is left when the loss at a place is accepted; and later starts need no more words.
async fn accepted(env: &Env, at: u64, before: &Ledger) -> usize {
    assert!(matches!(start(env, Some(at + 1)), Err(OpenError::Damaged { .. })), "another place was accepted");
    let (store, ledger) = start(env, Some(at)).expect("opens");
    let left = ledger.lines.len();
    assert_eq!(ledger.lines, before.lines[..left]);
    store.abandon().await;
    let (mut store, mut ledger) = start(env, None).expect("opens");
    assert_eq!(ledger.lines.len(), left);
    send(&mut store, &mut ledger, "orders", 0, b"new").await;
    store.close(&ledger).await.expect("closes");
    let (mut store, ledger) = start(env, None).expect("opens");
    check(&mut store, &ledger).await;
    store.abandon().await;
    left
}

#[test]
fn damage_before_a_damaged_checkpoint_is_refused() {
    sim::run(1, async |world: World| {
        let (env, ledger) = (world.env(), two_generations(&world).await);
        damage(&env, ledger.lines[80].physical_offset);
        edit(&env, &newest(&env, "checkpoints"), |bytes| bytes[30] ^= 1);
        let (at, problem) = refused(&env);
        not_copied(&env);
        assert_eq!(at, ledger.lines[80].physical_offset.0);
        assert!(problem.contains("crc"), "{problem}");
        assert_eq!(accepted(&env, at, &ledger).await, 80);
    });
}

#[test]
fn damage_before_an_index_run_is_refused_without_any_checkpoint() {
    for damaged in [20, 80] {
        sim::run(2, async |world: World| {
            let (env, ledger) = (world.env(), two_generations(&world).await);
            damage(&env, ledger.lines[damaged].physical_offset);
            for name in names(&env, "checkpoints") {
                env.disk.remove(&dir().join("checkpoints").join(name)).expect("removes");
            }
            let (at, _) = refused(&env);
            assert_eq!(at, ledger.lines[damaged].physical_offset.0);
            assert_eq!(accepted(&env, at, &ledger).await, damaged);
        });
    }
}

/// Every message is there but these, in whose places it is told that they are damaged.
async fn check_all_but(store: &mut Store, ledger: &Ledger, damaged: &[usize]) {
    for queue in 0..3 {
        let lines: Vec<_> = ledger.lines.iter().filter(|line| line.queue.0 == queue).collect();
        let entries = common::entries(store, "orders", queue, 0, usize::MAX);
        assert_eq!(entries.len(), lines.len());
        for (line, entry) in lines.into_iter().zip(entries) {
            assert_eq!(entry.queue_offset, line.queue_offset);
            let read = store.reader().read(entry.physical_offset, entry.record_bytes).await;
            if damaged.iter().any(|number| *line == ledger.lines[*number]) {
                assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
            } else {
                assert_eq!(entry.physical_offset, line.physical_offset);
                assert_eq!(record::decode(&read.expect("whole")).expect("decodes").body, line.body);
            }
        }
    }
}

/// The header of a record says its queue, which nothing else does once the index run over it is gone.
#[test]
fn a_damaged_header_under_a_damaged_index_run_costs_that_record_alone() {
    let all: [&[usize]; 6] = [&[20], &[0], &[58], &[60, 63], &[118], &[58, 59, 60, 80]];
    for (damaged, keeps_file) in all.into_iter().zip([true, false].into_iter().cycle()) {
        sim::run(4, async |world: World| {
            let (env, before) = (world.env(), two_generations(&world).await);
            let runs = names(&env, "queueindex").into_iter().map(|name| dir().join("queueindex").join(name));
            let runs: Vec<PathBuf> = runs.collect();
            for number in damaged {
                // The length that the record says it has.
                let at = before.lines[*number].physical_offset.0;
                edit(&env, &segment(at), |bytes| bytes[(at % 4096) as usize + 2] ^= 1);
                match keeps_file {
                    true => edit(&env, &runs[number / 60], |bytes| bytes[40] = 0xff),
                    false => drop(env.disk.remove(&runs[number / 60])),
                }
            }
            let (run, at) = (&runs[damaged[0] / 60], before.lines[damaged[0]].physical_offset);
            for accepted in [None, Some(at.0 + 1)] {
                let Err(OpenError::Damaged { at: named, path, .. }) = start(&env, accepted) else {
                    panic!("{accepted:?}")
                };
                assert_eq!((named, path), (at, segment(at.0)));
            }
            let report = Directory::verify(&env.disk, &dir(), |_| Ok(Vec::new()), &mut |_| ()).expect("looks");
            let told = |finding: &Finding| finding.meaning == Meaning::Refused && finding.file == *run;
            assert!(report.findings.iter().any(told), "{:?}", report.findings);

            let (mut store, ledger) = start(&env, Some(at.0)).expect("opens");
            assert_eq!(ledger.lines, before.lines);
            check_all_but(&mut store, &ledger, damaged).await;
            store.close(&ledger).await.expect("closes");
            // The checkpoint has a new run.
            let (mut store, ledger) = start(&env, None).expect("opens");
            check_all_but(&mut store, &ledger, damaged).await;
            store.abandon().await;
        });
    }
}

#[test]
fn a_replay_does_not_wear_out_its_proof() {
    sim::run(3, async |world: World| {
        // One long run; a replay would write shorter ones.
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        for n in 0..250u32 {
            send(&mut store, &mut ledger, "orders", n % 3, &[7; 200]).await;
        }
        store.close(&ledger).await.expect("closes");
        let env = world.env();
        env.disk.remove(&newest(&env, "checkpoints")).expect("removes");
        damage(&env, ledger.lines[200].physical_offset);
        let (at, _) = refused(&env);
        assert_eq!(accepted(&env, at, &ledger).await, 200);
    });
}

#[test]
fn a_log_that_ends_before_its_checkpoint_is_refused() {
    for (way, text) in [("remove", "missing"), ("cut", "50 are there"), ("blank", "nothing")] {
        sim::run(4, async |world: World| {
            let (env, ledger) = (world.env(), two_generations(&world).await);
            let last = ledger.lines.last().expect("not empty").physical_offset.0;
            let within = (last % 4096) as usize;
            match way {
                "remove" => env.disk.remove(&segment(last)).expect("removes"),
                "cut" => edit(&env, &segment(last), |bytes| bytes.truncate(within + 50)),
                _ => edit(&env, &segment(last), |bytes| bytes[within..].fill(0)),
            }
            let (at, problem) = refused(&env);
            not_copied(&env);
            assert!(problem.contains(text), "{problem}");
            let whole = ledger.lines.iter().filter(|line| line.physical_offset.0 < at).count();
            assert_eq!(accepted(&env, at, &ledger).await, whole);
        });
    }
}

#[test]
fn a_missing_segment_in_what_is_replayed_is_refused_by_name() {
    sim::run(5, async |world: World| {
        let (env, ledger) = (world.env(), two_generations(&world).await);
        edit(&env, &newest(&env, "checkpoints"), |bytes| bytes.truncate(10));
        let missing = segment(ledger.lines[90].physical_offset.0);
        env.disk.remove(&missing).expect("removes");
        let (at, problem) = refused(&env);
        assert_eq!((segment(at), problem.as_str()), (missing, "the file is missing"));
    });
}

#[test]
fn a_damaged_body_right_before_the_checkpoint_costs_that_message_alone() {
    sim::run(6, async |world: World| {
        let (env, ledger) = (world.env(), two_generations(&world).await);
        let last = ledger.lines.last().expect("not empty");
        damage(&env, last.physical_offset);
        let (store, found) = start(&env, None).expect("opens");
        assert_eq!((found.applied, &found.lines), (0, &ledger.lines));
        assert!(store.reader().read(last.physical_offset, last.record_bytes).await.is_err());
        store.close(&found).await.expect("closes");
    });
}

#[test]
fn an_index_run_is_made_again_over_a_damaged_body() {
    sim::run(7, async |world: World| {
        let (env, ledger) = (world.env(), two_generations(&world).await);
        let damaged = &ledger.lines[20];
        damage(&env, damaged.physical_offset);
        env.disk.remove(&dir().join("queueindex").join(&names(&env, "queueindex")[0])).expect("removes");
        let (mut store, found) = start(&env, None).expect("opens");
        assert_eq!(found.lines, ledger.lines);
        let entries = common::entries(&mut store, &damaged.topic, damaged.queue.0, damaged.queue_offset.0, 1);
        assert_eq!(entries[0].physical_offset, damaged.physical_offset);
        assert!(store.reader().read(damaged.physical_offset, damaged.record_bytes).await.is_err());
        store.abandon().await;
    });
}

#[test]
fn a_missing_segment_before_the_checkpoint_is_refused_by_name() {
    sim::run(8, async |world: World| {
        let (env, ledger) = (world.env(), two_generations(&world).await);
        let gone = [segment(4096), segment(3 * 4096)];
        gone.iter().for_each(|path| env.disk.remove(path).expect("removes"));
        let (at, problem) = refused(&env);
        assert_eq!((at, problem.as_str()), (4096, "the file is missing"));
        // Accepted, all that is there is served.
        let (store, found) = start(&env, Some(at)).expect("opens");
        assert_eq!(found.lines, ledger.lines);
        for line in &ledger.lines {
            let read = store.reader().read(line.physical_offset, line.record_bytes).await;
            let is_gone = gone.contains(&segment(line.physical_offset.0));
            assert_eq!(matches!(read, Err(ReadError::Damaged { .. })), is_gone, "{read:?}");
            assert_eq!(read.is_ok(), !is_gone);
        }
        store.abandon().await;
    });
}

#[test]
fn a_power_loss_in_a_long_replay_is_no_damage() {
    for change in 0..120 {
        sim::run(9, async |world: World| {
            // Killed before any segment but the first has a durable name.
            let (mut store, mut ledger) = open(&world.env(), Flush::Async);
            for n in 0..150u32 {
                send(&mut store, &mut ledger, "orders", n % 3, &[7; 200]).await;
            }
            world.kill().await;
            drop(store);
            world.disk().die_at(change);
            drop(start(&world.env(), None));
            world.lose_power().await;
            let (store, found) = start(&world.env(), None).unwrap_or_else(|error| panic!("{change}: {error}"));
            assert_eq!(found.lines, ledger.lines[..found.lines.len()]);
            store.abandon().await;
        });
    }
}

#[test]
fn a_file_that_is_brought_back_ends_the_refusal() {
    for at in [20, 90, 119] {
        for is_checkpoint_damaged in [false, true] {
            sim::run(10, async |world: World| {
                let (env, ledger) = (world.env(), two_generations(&world).await);
                let path = segment(ledger.lines[at].physical_offset.0);
                let whole = read_file(&env, &path);
                env.disk.remove(&path).expect("removes");
                if is_checkpoint_damaged {
                    edit(&env, &newest(&env, "checkpoints"), |bytes| bytes[40] ^= 1);
                }
                refused(&env);
                write_file(&env, &path, &whole);
                let (mut store, found) = start(&env, None).expect("opens");
                assert_eq!(found.lines, ledger.lines);
                check(&mut store, &found).await;
                store.abandon().await;
            });
        }
    }
}

#[test]
fn a_checkpoint_under_another_name_is_not_used() {
    sim::run(11, async |world: World| {
        let (env, ledger) = (world.env(), two_generations(&world).await);
        let newest = newest(&env, "checkpoints");
        env.disk.rename(&newest, &dir().join("checkpoints").join(format!("{:020}", 30_000))).expect("renames");
        let (store, found) = start(&env, None).expect("opens");
        assert_eq!((found.lines == ledger.lines, found.applied), (true, 60), "from the checkpoint before");
        store.abandon().await;
    });
}
