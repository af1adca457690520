//! Cuts, flipped bits, stale bytes, power loss: every record before the damage is kept, and nothing comes back.

mod common;

use common::{Ledger, Line, check, dir, open, read_file, send, write_file};
use env::Env;
use env::sim::{self, World};
use proptest::prelude::*;
use store::Flush;

const SEGMENT_BYTES: usize = 4096;

/// A log of one and a half segments without a checkpoint, and what it holds.
async fn killed_log(world: &World) -> (Ledger, Vec<u8>, Vec<u8>) {
    let (mut store, mut ledger) = open(&world.env(), Flush::Async);
    for n in 0..14u8 {
        send(&mut store, &mut ledger, "orders", u32::from(n % 2), &vec![n; 300 + usize::from(n)]).await;
    }
    for n in 0..3u8 {
        send(&mut store, &mut ledger, "orders", 0, &[n; 20]).await;
    }
    let end = store.write().expect("writes").0 as usize;
    assert!((SEGMENT_BYTES + 1000..SEGMENT_BYTES + 3000).contains(&end), "{end}");
    world.kill().await;
    drop(store);
    let first = read_file(&world.env(), &segment(0));
    let second = read_file(&world.env(), &segment(1));
    (ledger, first, second)
}

fn segment(index: usize) -> std::path::PathBuf {
    dir().join("commitlog").join(format!("{:020}", index * SEGMENT_BYTES))
}

/// A machine whose disk holds just this log.
fn lay_out(env: &Env, segments: &[&[u8]]) {
    write_file(env, &dir().join("format"), b"gantry-store 1\nsegment_bytes 4096\n");
    for (index, bytes) in segments.iter().enumerate() {
        write_file(env, &segment(index), bytes);
    }
}

fn end_of(line: &Line) -> usize {
    line.physical_offset.0 as usize + line.record_bytes as usize
}

/// Opens what is left of a log and returns how many of the records it had before are still there, having checked that
/// they are the first ones and that the store works.
async fn kept(env: &Env, before: &Ledger, flush: Flush) -> usize {
    let (mut store, mut ledger) = open(env, flush);
    let kept = ledger.lines.len();
    let common = ledger.lines.iter().zip(&before.lines).take_while(|(now, then)| now == then).count();
    assert!(kept <= common + 1, "{kept} records were found, {common} of them as they were");
    send(&mut store, &mut ledger, "orders", 0, b"new").await;
    check_after_close(env, store, ledger).await;
    common
}

async fn check_after_close(env: &Env, store: store::Store, ledger: Ledger) {
    store.close(&ledger).await.expect("closes");
    let (mut store, restored) = open(env, Flush::Async);
    assert_eq!(restored.lines, ledger.lines);
    check(&mut store, &restored).await;
    store.abandon().await;
}

#[test]
fn a_log_cut_at_any_byte_keeps_the_records_before() {
    let (ledger, first, second) = sim::run(1, async |world: World| killed_log(&world).await);
    let end = end_of(ledger.lines.last().expect("not empty"));
    let from = end_of(&ledger.lines[ledger.lines.len() - 5]);
    for cut in from..=end {
        for is_short in [false, true] {
            sim::run(cut as u64, async |world: World| {
                let mut torn = second.clone();
                torn[cut - SEGMENT_BYTES..].fill(0);
                if is_short {
                    torn.truncate(cut - SEGMENT_BYTES);
                }
                lay_out(&world.env(), &[&first, &torn]);
                let whole = ledger.lines.iter().filter(|line| end_of(line) <= cut).count();
                assert_eq!(kept(&world.env(), &ledger, Flush::Async).await, whole, "cut at {cut}");
            });
        }
    }
}

#[test]
fn a_log_cut_around_a_segments_end_keeps_the_records_before() {
    let (ledger, first, second) = sim::run(1, async |world: World| killed_log(&world).await);
    let blank = ledger.lines.iter().map(end_of).filter(|end| *end <= SEGMENT_BYTES).max().expect("a record");
    for cut in blank - 20..blank + 8 {
        sim::run(cut as u64, async |world: World| {
            let mut torn = first.clone();
            torn[cut..].fill(0);
            lay_out(&world.env(), &[&torn, &second]);
            let whole = ledger.lines.iter().filter(|line| end_of(line) <= cut).count();
            assert_eq!(kept(&world.env(), &ledger, Flush::Async).await, whole, "cut at {cut}");
        });
    }
}

#[test]
fn a_flipped_bit_costs_no_record_before_it() {
    let (ledger, first, second) = sim::run(1, async |world: World| killed_log(&world).await);
    let start = ledger.lines[ledger.lines.len() - 2].physical_offset.0 as usize;
    let end = end_of(ledger.lines.last().expect("not empty"));
    for at in start..end {
        for bit in 0..8 {
            sim::run(at as u64, async |world: World| {
                let mut damaged = second.clone();
                damaged[at - SEGMENT_BYTES] ^= 1 << bit;
                lay_out(&world.env(), &[&first, &damaged]);
                let before = ledger.lines.iter().filter(|line| end_of(line) <= at).count();
                let (store, found) = open(&world.env(), Flush::Async);
                assert_eq!(found.lines[..before], ledger.lines[..before], "bit {bit} of {at}");
                store.abandon().await;
            });
        }
    }
}

#[test]
fn stale_records_do_not_come_back() {
    let (ledger, first, second) = sim::run(1, async |world: World| killed_log(&world).await);
    sim::run(2, async |world: World| {
        // The third-last record is torn; two whole ones and a whole segment follow it.
        let lines = &ledger.lines[..ledger.lines.len() - 3];
        let torn = &ledger.lines[ledger.lines.len() - 3];
        let mut damaged = second.clone();
        damaged[torn.physical_offset.0 as usize - SEGMENT_BYTES + 90] ^= 1;
        lay_out(&world.env(), &[&first, &damaged, &first]);
        let (mut store, mut found) = open(&world.env(), Flush::Async);
        assert_eq!(found.lines, lines);
        // A new record of the same length ends where the first stale one begins.
        let appended = send(&mut store, &mut found, "orders", 0, &[9; 20]).await;
        assert_eq!(appended.end.0 as usize, end_of(torn));
        world.kill().await;
        drop(store);
        let (mut store, restored) = open(&world.env(), Flush::Async);
        assert_eq!(restored.lines, found.lines);
        check(&mut store, &restored).await;
        store.abandon().await;
    });
}

/// Sends until the process dies at a random change of the disk, then looks at what is left; several lives. Returns
/// the disk's fingerprint.
fn live_and_die(seed: u64, flush: Flush, is_power_loss: bool) -> u64 {
    sim::run(seed, async |world: World| {
        let mut expected = Ledger::default();
        for _ in 0..4 {
            let mut draw = world.random().fork();
            let mut ledger = Ledger::default();
            world.disk().die_at(draw.u32(30..120));
            let mut durable = expected.lines.len();
            if let Ok(mut store) = store::Store::open(&world.env(), &common::options(flush), &mut ledger) {
                assert!(ledger.lines.len() >= durable && ledger.lines.starts_with(&expected.lines[..durable]));
                for _ in 0..draw.usize(1..80) {
                    let body = vec![draw.u8(..); draw.usize(0..900)];
                    let record = common::encoded("orders", draw.u32(0..3), &body);
                    store.ready(record.total_bytes()).await;
                    let Ok(appended) = store.append(record, types::Timestamp(1)) else { break };
                    common::apply(&store, &mut ledger, appended.physical_offset());
                    if store.write().is_err() {
                        ledger.lines.pop();
                        break;
                    }
                    if draw.u32(0..20) == 0 {
                        store.begin_checkpoint(&ledger);
                    }
                    if draw.u32(0..4) == 0 && store.marks().durable(appended.end).await.is_err() {
                        break;
                    }
                }
                let durable_to = store.marks().durable_to();
                let is_durable = |line: &&Line| line.physical_offset.plus(u64::from(line.record_bytes)) <= durable_to;
                durable =
                    if is_power_loss { ledger.lines.iter().filter(is_durable).count() } else { ledger.lines.len() };
                expected = ledger;
            }
            if is_power_loss {
                world.lose_power().await;
            } else {
                world.kill().await;
            }
            let (mut store, found) = open(&world.env(), flush);
            assert!(found.lines.len() >= durable, "{} records are left of {durable}", found.lines.len());
            let common = found.lines.iter().zip(&expected.lines).take_while(|(now, then)| now == then).count();
            assert!(common >= durable && found.lines.len() <= common.max(durable) + 1, "seed {seed}");
            check(&mut store, &found).await;
            store.close(&found).await.expect("closes");
            expected = found;
        }
        world.disk().fingerprint()
    })
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| live_and_die(seed, Flush::Async, true);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn power_loss_takes_nothing_durable(seed: u64, is_sync: bool) {
        live_and_die(seed, if is_sync { Flush::Sync } else { Flush::Async }, true);
    }

    #[test]
    fn a_kill_takes_nothing_written(seed: u64, is_sync: bool) {
        live_and_die(seed, if is_sync { Flush::Sync } else { Flush::Async }, false);
    }
}
