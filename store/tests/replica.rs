//! A log that is made of another one's records: the same bytes at the same positions, through power losses too.

mod common;

use std::path::PathBuf;

use bytes::Bytes;
use common::{Ledger, apply, check, encoded, open, options, send};
use env::Env;
use env::sim::{self, World};
use proptest::prelude::*;
use record::Peek;
use store::{AppendError, Flush, OpenError, Options, Store, StoredError};
use types::{PhysicalOffset, QueueId, QueueOffset, Timestamp};

fn open_replica(env: &Env) -> (Store, Ledger) {
    let mut ledger = Ledger::default();
    let options = Options { dir: PathBuf::from("/replica"), ..options(Flush::Sync) };
    let store = Store::open(env, &options, &mut ledger).expect("opens");
    (store, ledger)
}

/// Whole records of a log from a position on, in stretches without blanks.
async fn stretches(store: &Store, from: PhysicalOffset) -> Vec<Bytes> {
    let (reader, end) = (store.reader(), store.marks().appended_to());
    let (mut at, mut stretches) = (from, Vec::new());
    while at < end {
        let bytes = reader.raw(at, end).await.expect("read");
        let mut whole = 0;
        let mut blank = 0;
        while whole < bytes.len() {
            match record::peek(&bytes[whole..]).expect("a log") {
                Peek::Record { bytes } => whole += bytes as usize,
                Peek::Blank { bytes } => {
                    blank = u64::from(bytes);
                    break;
                }
                Peek::Nothing => panic!("nothing is written at {at} + {whole}"),
            }
        }
        at = at.plus(whole as u64 + blank);
        stretches.push(bytes.slice(..whole));
    }
    stretches
}

/// One round of a replica's engine for each try.
async fn follow(store: &mut Store, ledger: &mut Ledger, mut records: &[u8]) {
    while !records.is_empty() {
        let (from, first) = (store.end(), record::header(records).expect("a record").physical_offset);
        // Where the other log went on in its next segment.
        store.ready(if first == from { records.len() as u64 } else { store.segment_bytes() }).await;
        let appended = store.append_stored(records);
        assert!(matches!(appended, Ok(()) | Err(StoredError::Append(AppendError::NotReady))), "{appended:?}");
        apply(store, ledger, from);
        records = &records[store.end().0.saturating_sub(first.0) as usize..];
        store.write().expect("writes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_is_the_same_whenever_its_machine_loses_power(
        bodies in prop::collection::vec((0..3_u32, 0..900_usize), 1..40),
        losses in prop::collection::vec(0..6_usize, 0..4),
        seed: u64,
    ) {
        sim::run(seed, async |world: World| {
            // Another machine's: only its log counts, so it may be on the same disk and die too.
            let (mut store, mut ledger) = open(&world.env(), Flush::Sync);
            for (queue, length) in &bodies {
                send(&mut store, &mut ledger, "orders", *queue, &vec![7; *length]).await;
            }
            let log = stretches(&store, PhysicalOffset(0)).await;
            let lines = ledger.lines.clone();
            store.close(&ledger).await.expect("closes");
            for left in losses.into_iter().map(Some).chain([None]) {
                let (mut store, mut ledger) = open_replica(&world.env());
                let end = store.end();
                for stretch in log.iter().take(left.unwrap_or(log.len())) {
                    let first = record::header(stretch).expect("a record").physical_offset.0;
                    let known = end.0.saturating_sub(first).min(stretch.len() as u64) as usize;
                    follow(&mut store, &mut ledger, &stretch[known..]).await;
                }
                if left.is_some() {
                    world.lose_power().await;
                    continue;
                }
                prop_assert_eq!(&ledger.lines, &lines);
                check(&mut store, &ledger).await;
                let copied = stretches(&store, PhysicalOffset(0)).await;
                prop_assert_eq!(&copied, &log);
                store.close(&ledger).await.expect("closes");
            }
            Ok(())
        })?;
    }
}

fn open_cut(env: &Env, end_at: Option<PhysicalOffset>) -> Result<(Store, Ledger), OpenError> {
    let mut ledger = Ledger::default();
    let options = Options { checkpoint_bytes: 4096, end_at, ..options(Flush::Sync) };
    Store::open(env, &options, &mut ledger).map(|store| (store, ledger))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_log_that_was_cut_is_one_that_ended_there(
        bodies in prop::collection::vec((0..3_u32, 0..900_usize), 1..40),
        cut: prop::sample::Index,
        again: bool,
        closes: bool,
        seed: u64,
    ) {
        sim::run(seed, async |world: World| {
            let (mut store, mut ledger) = open_cut(&world.env(), None).expect("opens");
            for (queue, length) in &bodies {
                send(&mut store, &mut ledger, "orders", *queue, &vec![7; *length]).await;
                if store.is_checkpoint_due() {
                    store.begin_checkpoint(&ledger);
                }
            }
            let lines = ledger.lines.clone();
            if closes {
                // A checkpoint of all of it.
                store.close(&ledger).await.expect("closes");
            } else {
                store.marks().durable(store.end()).await.expect("durable");
                store.abandon().await;
            }
            let kept = cut.index(lines.len() + 1);
            let end = |line: &common::Line| line.physical_offset.plus(line.record_bytes.into());
            let at = kept.checked_sub(1).map_or(PhysicalOffset(0), |last| end(&lines[last]));
            let (store, ledger) = open_cut(&world.env(), Some(at)).expect("opens");
            prop_assert_eq!((&ledger.lines[..], store.end()), (&lines[..kept], at));
            store.abandon().await;
            world.lose_power().await;
            // What was behind is neither missed nor found again, whatever it is cut by.
            let (mut store, mut ledger) = open_cut(&world.env(), again.then_some(at)).expect("opens");
            prop_assert_eq!((&ledger.lines[..], store.end()), (&lines[..kept], at));
            for (queue, length) in &bodies {
                send(&mut store, &mut ledger, "others", *queue, &vec![8; *length]).await;
            }
            check(&mut store, &ledger).await;
            let lines = ledger.lines.clone();
            store.close(&ledger).await.expect("closes");
            let (store, ledger) = open_cut(&world.env(), None).expect("opens");
            prop_assert_eq!(&ledger.lines, &lines);
            store.abandon().await;
            Ok(())
        })?;
    }
}

#[test]
fn a_log_is_cut_only_where_a_record_ends() {
    sim::run(1, async |world: World| {
        let (mut store, mut ledger) = open_cut(&world.env(), None).expect("opens");
        for body in [b"one", b"two"] {
            send(&mut store, &mut ledger, "orders", 0, body).await;
        }
        let end = store.end();
        store.close(&ledger).await.expect("closes");
        for at in [PhysicalOffset(1), PhysicalOffset(end.0 - 1), end.plus(1)] {
            let refused = open_cut(&world.env(), Some(at)).map(|_| ());
            assert!(matches!(refused, Err(OpenError::Unusable { .. })), "{at}: {refused:?}");
        }
        let (store, found) = open_cut(&world.env(), None).expect("opens");
        assert_eq!((found.lines, store.end()), (ledger.lines, end));
        store.abandon().await;
    });
}

#[test]
fn what_does_not_continue_the_log_is_refused_and_changes_nothing() {
    sim::run(1, async |world: World| {
        let (mut store, mut ledger) = open_replica(&world.env());
        let record = |queue_offset, at| {
            encoded("orders", 0, b"body").place(QueueOffset(queue_offset), PhysicalOffset(at), Timestamp(1_000))
        };
        let first = record(0, 0);
        follow(&mut store, &mut ledger, &first).await;
        let end = first.len() as u64;
        let damaged = {
            let mut bytes = record(1, end).to_vec();
            let body = bytes.windows(4).position(|window| window == b"body").expect("it is there");
            bytes[body] ^= 1;
            bytes
        };
        let cut = record(1, end).slice(..first.len() - 1);
        for (bytes, problem) in [
            (record(1, end + 1).to_vec(), "it says that it is at"),
            (record(1, 8192).to_vec(), "it says that it is at"),
            (first.to_vec(), "it says that it is at 0"),
            (record(2, end).to_vec(), "its queue goes on at 1 and not 2"),
            (damaged, "crc of the body"),
            (cut.to_vec(), "are there"),
            (b"no record".to_vec(), "no record begins there"),
        ] {
            let refused = store.append_stored(&bytes);
            let Err(StoredError::Unfit { problem: why, .. }) = refused else { panic!("{problem}: {refused:?}") };
            assert!(why.contains(problem), "{why}");
            assert_eq!(store.end(), PhysicalOffset(end));
            assert_eq!(store.queue_range("orders", QueueId(0)).map(|range| range.next), Some(QueueOffset(1)));
        }
        // Where the next segment begins is as good as the log's end.
        follow(&mut store, &mut ledger, &record(1, 4096)).await;
        assert_eq!(store.end(), PhysicalOffset(4096 + end));
        store.abandon().await;
    });
}

/// A state's only record, as `log_state.rs` has it.
fn state(version: u32, begins: u64) -> Vec<u8> {
    let mut body = b"GSTA".to_vec();
    body.extend(version.to_be_bytes());
    body.extend(0_u64.to_be_bytes());
    body.extend(0_u32.to_be_bytes());
    body.extend(1_u32.to_be_bytes());
    if version > 1 {
        body.extend(begins.to_be_bytes());
    }
    body
}

#[test]
fn a_front_may_go_where_the_newest_state_says_so_that_can() {
    sim::run(1, async |world: World| {
        let (mut store, mut ledger) = open_replica(&world.env());
        for (offset, at) in [(0, 0), (1, 4096), (2, 8192)] {
            let record = encoded("orders", 0, b"body").place(QueueOffset(offset), PhysicalOffset(at), Timestamp(1_000));
            follow(&mut store, &mut ledger, &record).await;
        }
        let front = Some(PhysicalOffset(4096));
        // The last two do not say it, or more than there was.
        for (offset, body) in [(0, state(2, 4096)), (1, state(1, 0)), (2, state(2, 12_288))] {
            let record =
                encoded(store::STATE_TOPIC, 0, &body).place(QueueOffset(offset), store.end(), Timestamp(1_000));
            follow(&mut store, &mut ledger, &record).await;
            store.marks().durable(store.end()).await.expect("durable");
            assert_eq!(store.front_to_go(), front, "{offset}");
        }
        store.abandon().await;
        let (store, _) = open_replica(&world.env());
        assert_eq!(store.front_to_go(), front, "after a start");
        store.abandon().await;
    });
}
