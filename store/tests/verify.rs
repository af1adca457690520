//! What a verification finds, and what it must not find.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Ledger, dir, encoded, names, open, options, read_file, send, write_file};
use env::sim::{self, World};
use env::{Disk, Env};
use proptest::prelude::*;
use store::inspect::{Directory, Error, Finding, Meaning, Report};
use store::{Flush, OpenError, Store};
use types::{PhysicalOffset, Timestamp};

fn verify(env: &Env) -> Report {
    Directory::verify(&env.disk, &dir(), |_| Ok(Vec::new()), &mut |_| ()).expect("a directory that can be looked at")
}

fn meanings(report: &Report) -> Vec<Meaning> {
    let mut meanings: Vec<Meaning> = report.findings.iter().map(|finding| finding.meaning).collect();
    meanings.sort_unstable();
    meanings.dedup();
    meanings
}

/// Records over two queues and several segments.
async fn fill(store: &mut Store, ledger: &mut Ledger, records: usize) {
    for n in 0..records {
        let topic = if n % 2 == 0 { "orders" } else { "bills" };
        send(store, ledger, topic, (n % 3) as u32, &vec![b'a' + (n % 26) as u8; n * 37 % 600]).await;
    }
}

/// A store that was closed, with all its records in the index.
async fn closed(world: &World, records: usize) -> Ledger {
    let (mut store, mut ledger) = open(&world.env(), Flush::Async);
    fill(&mut store, &mut ledger, records).await;
    store.close(&ledger).await.expect("closes");
    ledger
}

/// A store that was killed, with no checkpoint.
async fn killed(world: &World, records: usize) -> Ledger {
    let (mut store, mut ledger) = open(&world.env(), Flush::Async);
    fill(&mut store, &mut ledger, records).await;
    world.kill().await;
    ledger
}

fn segment(base: u64) -> PathBuf {
    dir().join("commitlog").join(format!("{base:020}"))
}

/// Changes bytes of a file.
fn edit(env: &Env, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = read_file(env, path);
    change(&mut bytes);
    write_file(env, path, &bytes);
}

/// Flips a bit of the byte at a position of the log.
fn flip(env: &Env, position: u64) {
    edit(env, &segment(position - position % 4096), |bytes| bytes[(position % 4096) as usize] ^= 1);
}

#[test]
fn a_closed_store_is_sound_and_all_of_it_is_compared() {
    sim::run(1, async |world: World| {
        let ledger = closed(&world, 200).await;
        let report = verify(&world.env());
        assert_eq!(report.findings, []);
        assert_eq!((report.records, report.index_entries, report.queues), (200, 200, 6));
        assert_eq!((report.checkpoints.len(), report.is_in_use), (1, false));
        let last = ledger.lines.last().expect("200");
        assert_eq!(report.log_end, last.physical_offset.plus(last.record_bytes.into()).0);
        // Again with two checkpoints and several runs.
        let (mut store, mut restored) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut restored, 50).await;
        store.close(&restored).await.expect("closes");
        let report = verify(&world.env());
        assert_eq!(report.findings, []);
        assert_eq!((report.index_entries, report.index_runs, report.checkpoints.len()), (250, 2, 2));
    });
}

#[test]
fn a_store_in_use_is_verified_up_to_where_it_is() {
    sim::run(2, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 100).await;
        let report = verify(&world.env());
        assert_eq!((report.findings.as_slice(), report.is_in_use), ([].as_slice(), true));
        assert_eq!(report.log_end, store.marks().appended_to().0);
        // Looking did not end the lock.
        let second = Store::open(&world.env(), &options(Flush::Async), &mut Ledger::default());
        assert!(matches!(second, Err(OpenError::Locked { .. })));
        store.abandon().await;
        assert!(!verify(&world.env()).is_in_use);
    });
}

#[test]
fn a_kill_leaves_a_sound_directory_and_looking_changes_nothing() {
    sim::run(3, async |world: World| {
        killed(&world, 100).await;
        let before = world.disk().fingerprint();
        let report = verify(&world.env());
        assert_eq!((report.findings.as_slice(), report.records), ([].as_slice(), 100));
        assert_eq!(world.disk().fingerprint(), before);
    });
}

#[test]
fn a_torn_last_record_is_told_and_is_no_damage() {
    sim::run(4, async |world: World| {
        let ledger = killed(&world, 60).await;
        let last = ledger.lines.last().expect("60");
        flip(&world.env(), last.physical_offset.0 + 90);
        let report = verify(&world.env());
        assert!(report.is_sound());
        let [Finding { position, meaning: Meaning::Torn, .. }] = report.findings.as_slice() else {
            panic!("{:?}", report.findings)
        };
        assert_eq!((*position, report.log_end), (Some(last.physical_offset.0), last.physical_offset.0));
        let (store, found) = open(&world.env(), Flush::Async);
        assert_eq!(found.lines, ledger.lines[..59]);
        store.abandon().await;
        // What the start replayed is in a run that no checkpoint names yet.
        assert_eq!(meanings(&verify(&world.env())), [Meaning::Unused]);
    });
}

#[test]
fn damage_before_whole_records_ends_the_log_and_says_what_goes_with_it() {
    sim::run(5, async |world: World| {
        let ledger = killed(&world, 60).await;
        let broken = ledger.lines.iter().position(|line| line.body.len() > 100).expect("some") + 20;
        let at = ledger.lines[broken].physical_offset;
        flip(&world.env(), at.0 + 89);
        let report = verify(&world.env());
        assert!(!report.is_sound());
        let [Finding { position, meaning: Meaning::EndsLog, problem, .. }] = report.findings.as_slice() else {
            panic!("{:?}", report.findings)
        };
        assert_eq!((*position, report.log_end), (Some(at.0), at.0));
        assert!(problem.contains("crc") && problem.contains(&format!("{} whole records", 59 - broken)), "{problem}");
        let (store, found) = open(&world.env(), Flush::Async);
        assert_eq!(found.lines, ledger.lines[..broken]);
        store.abandon().await;
    });
}

#[test]
fn damage_before_the_checkpoint_names_the_lost_message() {
    sim::run(6, async |world: World| {
        let ledger = closed(&world, 60).await;
        let line = ledger.lines.iter().filter(|line| line.body.len() > 100).nth(5).expect("some");
        flip(&world.env(), line.physical_offset.0 + 89);
        let report = verify(&world.env());
        assert_eq!((meanings(&report), report.records), (vec![Meaning::Lost], 59));
        let name = format!("record {} of queue {} of {}", line.queue_offset, line.queue, line.topic);
        assert!(report.findings.iter().any(|f| f.problem.starts_with(&name)), "{:?}", report.findings);
        // A start does not read it.
        let (store, found) = open(&world.env(), Flush::Async);
        assert_eq!(found.lines, ledger.lines);
        store.abandon().await;
    });
}

#[test]
fn a_field_that_the_index_knows_better_is_told() {
    sim::run(7, async |world: World| {
        let ledger = closed(&world, 30).await;
        // The last byte of the queue's number.
        flip(&world.env(), ledger.lines[7].physical_offset.0 + 15);
        let report = verify(&world.env());
        assert!(meanings(&report).contains(&Meaning::Altered), "{:?}", report.findings);
    });
}

#[test]
fn what_is_derived_is_told_as_such() {
    sim::run(8, async |world: World| {
        closed(&world, 60).await;
        let run = dir().join("queueindex").join(&names(&world.env(), "queueindex")[0]);
        let whole = read_file(&world.env(), &run);
        for damaged in [vec![], whole[..whole.len() - 1].to_vec(), [&whole[..40], &[7], &whole[41..]].concat()] {
            write_file(&world.env(), &run, &damaged);
            assert_eq!(meanings(&verify(&world.env())), [Meaning::Derived]);
        }
        world.disk().remove(&run).expect("removes");
        assert_eq!(meanings(&verify(&world.env())), [Meaning::Derived]);
        write_file(&world.env(), &run, &whole);
        let checkpoint = dir().join("checkpoints").join(&names(&world.env(), "checkpoints")[0]);
        edit(&world.env(), &checkpoint, |bytes| bytes[30] ^= 4);
        let report = verify(&world.env());
        // The run is named by nothing then.
        assert_eq!((meanings(&report), report.checkpoints.len()), (vec![Meaning::Unused, Meaning::Derived], 0));
    });
}

#[test]
fn a_log_that_ends_before_its_checkpoint_has_lost_durable_records() {
    sim::run(9, async |world: World| {
        let ledger = closed(&world, 30).await;
        let last = ledger.lines.last().expect("30").physical_offset;
        edit(&world.env(), &segment(last.0 - last.0 % 4096), |bytes| bytes[(last.0 % 4096) as usize..].fill(0));
        let report = verify(&world.env());
        assert!(meanings(&report).contains(&Meaning::Lost), "{:?}", report.findings);
        assert!(report.findings[0].file.starts_with(dir().join("checkpoints")));
    });
}

#[test]
fn a_missing_segment_is_named() {
    sim::run(10, async |world: World| {
        closed(&world, 60).await;
        world.disk().remove(&segment(4096)).expect("removes");
        let report = verify(&world.env());
        assert!(!report.is_sound());
        assert!(report.findings.iter().any(|f| f.file == segment(4096) && f.problem.contains("missing")));
    });
}

#[test]
fn what_is_left_over_is_harmless() {
    sim::run(11, async |world: World| {
        closed(&world, 60).await;
        write_file(&world.env(), &dir().join("commitlog/notes.txt"), b"x");
        write_file(&world.env(), &dir().join("queueindex/00000000000000000001"), b"x");
        write_file(&world.env(), &dir().join("checkpoints/00000000000000000001.tmp"), b"x");
        let report = verify(&world.env());
        assert_eq!((report.is_sound(), report.findings.len(), meanings(&report)), (true, 3, vec![Meaning::Unused]));
    });
}

#[test]
fn what_a_start_refuses_is_damage_and_a_newer_format_is_unknown() {
    sim::run(12, async |world: World| {
        closed(&world, 60).await;
        let format = dir().join("format");
        let whole = read_file(&world.env(), &format);
        for text in ["nonsense", "gantry-store 1\nsegment_bytes 12\n", "gantry-store 1\nsegment_bytes 5000\n"] {
            write_file(&world.env(), &format, text.as_bytes());
            assert_eq!(meanings(&verify(&world.env())), [Meaning::Refused], "{text}");
        }
        write_file(&world.env(), &format, b"gantry-store 2\nsegment_bytes 4096\n");
        let refused = Directory::verify(&world.env().disk, &dir(), |_| Ok(Vec::new()), &mut |_| ());
        assert!(matches!(refused, Err(Error::Open(OpenError::NewerFormat { found: 2, .. }))));
        world.disk().remove(&format).expect("removes");
        assert_eq!(meanings(&verify(&world.env())), [Meaning::Derived]);
        write_file(&world.env(), &format, &whole);
        write_file(&world.env(), &segment(u64::MAX - 4095), b"x");
        assert_eq!(meanings(&verify(&world.env())), [Meaning::Refused]);
        let nowhere = Directory::verify(&world.env().disk, Path::new("/none"), |_| Ok(Vec::new()), &mut |_| ());
        assert!(matches!(nowhere, Err(Error::NoStore { .. })));
    });
}

#[test]
fn a_snapshot_that_nobody_understands_is_derived_damage() {
    sim::run(13, async |world: World| {
        closed(&world, 10).await;
        let refuse = |_: &[u8]| Err(store::RestoreError::Malformed { part: "test", problem: "everything" });
        let report = Directory::verify(&world.env().disk, &dir(), refuse, &mut |_| ()).expect("looks");
        assert_eq!(meanings(&report), [Meaning::Unused, Meaning::Derived]);
    });
}

/// The fields of a record that no checksum and no other file covers, in Apache's format: (from, to) behind its start.
/// A record of the tests has IPv4 hosts.
fn is_uncovered(line: &common::Line, byte: u64) -> bool {
    const FLAG: std::ops::Range<u64> = 16..20;
    const SYS_FLAG_TO_SOURCE: std::ops::Range<u64> = 36..84;
    let properties = 88 + line.body.len() as u64 + 1 + line.topic.len() as u64 + 2;
    FLAG.contains(&byte) || SYS_FLAG_TO_SOURCE.contains(&byte) || byte >= properties
}

#[test]
fn every_flipped_bit_is_found_or_lies_where_nothing_is_covered() {
    sim::run(14, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        for n in 0..12u32 {
            let bytes = if n % 3 == 0 { 900 } else { 5 };
            send(&mut store, &mut ledger, ["a", "b"][n as usize % 2], n % 2, &vec![7; bytes]).await;
        }
        store.close(&ledger).await.expect("closes");
        assert_eq!(verify(&world.env()).findings, []);
        assert!(names(&world.env(), "commitlog").len() >= 2, "a blank is among it");
        for path in all_files(&world.env()) {
            let whole = read_file(&world.env(), &path);
            let base = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok()).unwrap_or_default();
            let is_log = path.starts_with(dir().join("commitlog"));
            for index in 0..whole.len() {
                let position = base + index as u64;
                let line = ledger.lines.iter().find(|line| {
                    (line.physical_offset.0..line.physical_offset.0 + u64::from(line.record_bytes)).contains(&position)
                });
                let byte = line.map(|line| position - line.physical_offset.0);
                // Of bodies and of what was never written a bit a byte says it.
                let is_dull =
                    is_log && byte.is_none_or(|byte| (88..88 + line.expect("one").body.len() as u64).contains(&byte));
                for bit in if is_dull { index % 8..index % 8 + 1 } else { 0..8 } {
                    let mut damaged = whole.clone();
                    damaged[index] ^= 1 << bit;
                    write_file(&world.env(), &path, &damaged);
                    let report = match Directory::verify(&world.env().disk, &dir(), |_| Ok(Vec::new()), &mut |_| ()) {
                        Err(Error::Open(OpenError::NewerFormat { .. })) => continue,
                        report => report.expect("a directory that can be looked at"),
                    };
                    let place = format!("{} byte {index} bit {bit}: {:?}", path.display(), report.findings);
                    match line {
                        Some(line) if is_log => {
                            let is_found = !report.is_sound() || is_uncovered(line, byte.expect("in it"));
                            assert!(is_found, "{place}");
                        }
                        None if is_log => check_padding(&whole, index, &report, &place),
                        _ => assert!(!report.is_sound(), "{place}"),
                    }
                }
            }
            write_file(&world.env(), &path, &whole);
        }
    });
}

/// Of bytes between records and behind the last: a blank's head is damage, the rest is never read or overwritten.
fn check_padding(segment: &[u8], index: usize, report: &Report, place: &str) {
    let blank = (0..segment.len() - 8).find(|&at| segment[at + 4..at + 8] == 0xCBD4_3194u32.to_be_bytes());
    match blank {
        Some(blank) if (blank..blank + 8).contains(&index) => assert!(!report.is_sound(), "{place}"),
        Some(_) => assert_eq!(report.findings, [], "{place}"),
        None => assert_eq!(meanings(report), [Meaning::Torn], "{place}"),
    }
}

/// All files of the store but its lock.
fn all_files(env: &Env) -> Vec<PathBuf> {
    let folders = ["commitlog", "queueindex", "checkpoints"];
    let files =
        folders.into_iter().flat_map(|sub| names(env, sub).into_iter().map(move |name| dir().join(sub).join(name)));
    files.chain([dir().join("format")]).collect()
}

#[test]
fn every_cut_is_found_or_takes_nothing_away() {
    sim::run(15, async |world: World| {
        let ledger = closed(&world, 12).await;
        let end = verify(&world.env()).log_end;
        for path in all_files(&world.env()) {
            let whole = read_file(&world.env(), &path);
            let base = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok()).unwrap_or_default();
            let is_log = path.starts_with(dir().join("commitlog"));
            for length in 0..whole.len() {
                write_file(&world.env(), &path, &whole[..length]);
                let report = verify(&world.env());
                let cut = base + length as u64;
                let lost = ledger.lines.iter().any(|line| {
                    let line_end = line.physical_offset.0 + u64::from(line.record_bytes);
                    line_end > cut && line.physical_offset.0 < base + whole.len() as u64 && line_end > base
                });
                let place = format!("{} at {length}: {:?}", path.display(), report.findings);
                assert!(!report.findings.is_empty(), "{place}");
                if !is_log || lost {
                    assert!(!report.is_sound(), "{place}");
                } else if cut >= end {
                    assert_eq!(meanings(&report), [Meaning::Torn], "{place}");
                }
            }
            write_file(&world.env(), &path, &whole);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_in_any_file_make_it_panic(file: prop::sample::Index, at: prop::sample::Index, bytes: Vec<u8>, fix: bool) {
        sim::run(16, async |world: World| {
            closed(&world, 12).await;
            let files = all_files(&world.env());
            let path = file.get(&files);
            edit(&world.env(), path, |content| {
                let at = at.index(content.len());
                content.splice(at..(at + bytes.len()).min(content.len()), bytes.iter().copied());
                if fix && path.starts_with(dir().join("checkpoints")) && content.len() > 20 {
                    // With the right length and checksum what is inside is looked at.
                    let (length, crc) = ((content.len() - 20) as u64, crc32fast::hash(&content[20..]));
                    content[..8].copy_from_slice(b"GCKP\0\0\0\x01");
                    content[8..16].copy_from_slice(&length.to_be_bytes());
                    content[16..20].copy_from_slice(&crc.to_be_bytes());
                }
            });
            look_at_everything(&world);
        });
    }
}

/// Every look that an operator may take.
fn look_at_everything(world: &World) {
    let disk: Arc<dyn Disk> = world.env().disk;
    drop(Directory::verify(&disk, &dir(), |_| Ok(Vec::new()), &mut |_| ()));
    let Ok(directory) = Directory::open(&disk, &dir(), |_| Ok(Vec::new())) else { return };
    for is_full in [false, true] {
        drop(directory.stat(is_full, &mut |_| ()));
    }
    let mut pieces = 0;
    for from in [0, 1, 5000] {
        let stretch = PhysicalOffset(from)..PhysicalOffset(u64::MAX);
        drop(directory.records(stretch, &mut |_| (), &mut |_| {
            pieces += 1;
            std::ops::ControlFlow::Continue(())
        }));
    }
    drop(directory.copy(Path::new("/copy"), &mut |_| ()));
}

#[test]
fn findings_are_bounded_and_all_counted() {
    sim::run(17, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        for _ in 0..20 {
            let batch = (0..60).map(|n| encoded("t", n, b"")).collect::<Vec<_>>();
            for record in batch {
                store.ready(record.total_bytes()).await;
                let appended = store.append(record, Timestamp(1)).expect("appends");
                common::apply(&store, &mut ledger, appended.physical_offset());
                store.write().expect("writes");
            }
        }
        store.close(&ledger).await.expect("closes");
        // Every second record's CRC: of half the queues all.
        for line in ledger.lines.iter().step_by(2) {
            flip(&world.env(), line.physical_offset.0 + 8);
        }
        let report = verify(&world.env());
        assert_eq!(report.findings.len(), Report::FINDINGS_MAX);
        assert!(report.omitted > 0 && report.damage() >= 1_200, "{} {}", report.omitted, report.damage());
    });
}
