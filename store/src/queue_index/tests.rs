use std::path::Path;

use env::sim::SimDisk;
use env::{Disk, disk::OpenMode};
use proptest::prelude::*;

use super::*;

fn entry(n: u64) -> Entry {
    Entry {
        physical_offset: n * 100,
        record_bytes: 100,
        tag_hash: (n as i32).wrapping_mul(-7),
        group_hash: NonZeroU32::new((n % 3) as u32),
    }
}

/// The hashes of the keys of record `n`: one that it shares with many, one of its own.
fn keys(n: u64) -> [u64; 2] {
    [n % 3, 1000 + n]
}

fn disk() -> Arc<dyn Disk> {
    let disk = SimDisk::new(1);
    disk.create_dir_all(dir()).expect("makes");
    Arc::new(disk)
}

fn dir() -> &'static Path {
    Path::new("/index")
}

fn write(disk: &Arc<dyn Disk>, part: &Part) -> Arc<Run> {
    let Part::Block(block) = part else { panic!("a run already") };
    Arc::new(Run::write(disk, dir(), block).expect("writes"))
}

fn read(index: &mut QueueIndex, number: QueueNumber, from: u64, max: usize) -> Vec<QueueEntry> {
    let mut out = Vec::new();
    let Ok(()) = index.read(number, from, max, |entry| {
        out.push(entry);
        true
    }) else {
        panic!("damaged")
    };
    out
}

/// What a test does to the index.
#[derive(Clone, Debug)]
enum Step {
    Push { queue: u32, count: u64 },
    Seal,
    Publish,
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..5, 1u64..300).prop_map(|(queue, count)| Step::Push { queue, count }),
        2 => Just(Step::Seal),
        1 => Just(Step::Publish),
        1 => Just(Step::Reload),
    ]
}

/// Writes all blocks as runs.
fn publish(index: &mut QueueIndex, disk: &Arc<dyn Disk>) {
    for part in index.parts().to_vec() {
        if matches!(part, Part::Block(_)) {
            index.replace_part(Part::Run(write(disk, &part)));
        }
    }
}

/// Restores the index from what a checkpoint keeps.
fn reload(index: &QueueIndex, at: u64, disk: &Arc<dyn Disk>) -> QueueIndex {
    let mut restored = QueueIndex::restore(at, index.saved());
    for part in index.parts() {
        let Part::Run(run) = part else { panic!("not published") };
        restored.push_part(Part::Run(Arc::new(Run::load(disk, dir(), run.name()).expect("loads"))));
    }
    restored
}

proptest! {
    #[test]
    fn reads_what_was_pushed_wherever_it_is(
        steps in proptest::collection::vec(step(), 1..25),
        looks in proptest::collection::vec((0u32..5, 0u64..1500, 0usize..400), 20),
    ) {
        let (disk, mut index, mut pushed) = (disk(), QueueIndex::new(0), vec![Vec::new(); 5]);
        let mut position = 0;
        for step in steps {
            match step {
                Step::Push { queue, count } => {
                    let number = index.intern("topic", QueueId(queue));
                    for _ in 0..count {
                        position += 1;
                        index.push(number, entry(position), &keys(position));
                        pushed[queue as usize].push(entry(position));
                    }
                }
                Step::Seal => index.seal(position * 100 + 100),
                Step::Publish => publish(&mut index, &disk),
                Step::Reload => {
                    let end = position * 100 + 100;
                    index.seal(end);
                    publish(&mut index, &disk);
                    index = reload(&index, end, &disk);
                }
            }
        }
        for (queue, from, max) in looks {
            let all = &pushed[queue as usize];
            let Some(number) = index.find("topic", QueueId(queue)) else {
                prop_assert!(all.is_empty());
                continue;
            };
            prop_assert_eq!(index.range(number).next.0, all.len() as u64);
            let expected: Vec<QueueEntry> =
                (from..).zip(all.iter().skip(from as usize)).take(max).map(|(n, entry)| entry.at(n)).collect();
            prop_assert_eq!(read(&mut index, number, from, max), expected);
            let before = from * 100;
            for hash in [from % 3, 1000 + from.saturating_sub(1), 999] {
                let newest = (0..=position).rev().filter(|n| *n > 0 && n * 100 < before && keys(*n).contains(&hash));
                let expected: Vec<_> = newest.take(max).map(|n| PhysicalOffset(n * 100)).collect();
                let found = index.search_keys(hash).newest(&segments(&disk), before, max);
                prop_assert_eq!(found, Ok(expected));
            }
        }
    }
}

/// A log that has nothing: searches of whole runs do not read it.
fn segments(disk: &Arc<dyn Disk>) -> crate::segments::Segments {
    crate::segments::Segments::new(Arc::clone(disk), dir().to_owned(), 4096, 0)
}

#[test]
fn every_flipped_bit_of_a_run_is_noticed() {
    let (disk, mut index) = (disk(), QueueIndex::new(0));
    for n in 0..150 {
        let number = index.intern("topic", QueueId(n / 140));
        index.push(number, entry(u64::from(n)), &keys(u64::from(n)));
    }
    index.seal(15_000);
    let run = write(&disk, &index.parts()[0]);
    let (name, rows) = (run.name(), [(QueueNumber(0), 0..140), (QueueNumber(1), 0..10)]);
    let path = dir().join(crate::files::name_of(0));
    let whole = crate::files::read(&*disk, &path).expect("reads");
    let file = disk.open(&path, OpenMode::ReadWrite).expect("opens");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        file.write_all_at(&[std::io::IoSlice::new(&damaged)], 0).expect("writes");
        let is_read = |run: &Run| {
            rows.iter().all(|(queue, offsets)| run.read(*queue, offsets.clone()).is_ok())
                && (0..3).all(|hash| run.newest_keys(hash, u64::MAX, 1000).is_ok())
                && run.newest_keys(u64::MAX, u64::MAX, 1).is_ok()
        };
        assert!(!Run::load(&disk, dir(), name).is_ok_and(|run| is_read(&run)), "byte {at}");
    }
}

#[test]
fn a_run_cut_anywhere_is_noticed() {
    let (disk, mut index) = (disk(), QueueIndex::new(0));
    let number = index.intern("topic", QueueId(0));
    (0..200).for_each(|n| index.push(number, entry(n), &keys(n)));
    index.seal(20_000);
    let run = write(&disk, &index.parts()[0]);
    let path = dir().join(crate::files::name_of(0));
    let file = disk.open(&path, OpenMode::ReadWrite).expect("opens");
    for bytes in (0..file.len().expect("a length")).rev() {
        file.set_len(bytes).expect("cuts");
        let loaded = Run::load(&disk, dir(), run.name());
        let is_read = |run: &Run| run.read(number, 0..200).is_ok() && run.newest_keys(u64::MAX, u64::MAX, 1).is_ok();
        assert!(!loaded.is_ok_and(|run| is_read(&run)), "cut at {bytes}");
    }
}

#[test]
fn a_look_up_stops_where_it_has_had_enough() {
    let mut index = QueueIndex::new(0);
    let number = index.intern("topic", QueueId(0));
    (0..10).for_each(|n| index.push(number, entry(n), &[]));
    index.seal(1000);
    (10..20).for_each(|n| index.push(number, entry(n), &[]));
    let mut seen = 0;
    let found = index.read(number, 5, 100, |_| {
        seen += 1;
        seen < 3
    });
    assert!(found.is_ok());
    assert_eq!(seen, 3);
    assert_eq!(read(&mut index, number, 20, 5), []);
    assert_eq!(read(&mut index, number, 21, 5), []);
    assert_eq!(read(&mut index, number, u64::MAX, 5), []);
}

/// What would be read of it would be as long as the directory says.
#[test]
fn a_run_whose_directory_points_outside_the_file_is_refused() {
    const ENTRIES_AT: u64 = 36 + 4;
    const FIRST_AT: u64 = ENTRIES_AT + 4;
    for (at, number) in [(ENTRIES_AT, &[0xff; 4][..]), (FIRST_AT, &[0xff; 8]), (FIRST_AT + 8, &[0xff; 8])] {
        let disk = disk();
        let stretch = Stretch { queue: QueueNumber(0), first: 7, entries: vec![entry(1)] };
        let run = Run::write(&disk, dir(), &Block { from: 0, to: 100, stretches: vec![stretch], keys: Vec::new() })
            .expect("writes");
        assert!(Run::load(&disk, dir(), run.name()).is_ok());
        let file = disk.open(&dir().join(crate::files::name_of(0)), OpenMode::ReadWrite).expect("exists");
        let mut bytes = vec![0; usize::try_from(file.len().expect("measured")).expect("short")];
        file.read_at(&mut bytes, 0).expect("reads");
        bytes[at as usize..][..number.len()].copy_from_slice(number);
        let name = Run::seal(&mut bytes).expect("long enough");
        file.write_all_at(&[std::io::IoSlice::new(&bytes)], 0).expect("writes");
        assert!(Run::load(&disk, dir(), name).is_err(), "{at}");
    }
}
