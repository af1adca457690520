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
    Push {
        queue: u32,
        count: u64,
    },
    Seal,
    Publish,
    Reload,
    /// Reads on in a queue from where this reader has got to.
    Go {
        queue: u32,
        max: usize,
    },
    Jump {
        queue: u32,
        to: u64,
    },
    /// Bits flip in a run.
    Damage {
        run: prop::sample::Index,
    },
    /// The oldest part goes.
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..5, 1u64..300).prop_map(|(queue, count)| Step::Push { queue, count }),
        2 => Just(Step::Seal),
        1 => Just(Step::Publish),
        1 => Just(Step::Reload),
        8 => (0u32..5, 0usize..100).prop_map(|(queue, max)| Step::Go { queue, max }),
        2 => (0u32..5, 0u64..1500).prop_map(|(queue, to)| Step::Jump { queue, to }),
        1 => any::<prop::sample::Index>().prop_map(|run| Step::Damage { run }),
        1 => Just(Step::Expire),
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

/// The index, and what it must say.
struct Model {
    disk: Arc<dyn Disk>,
    sim: SimDisk,
    index: QueueIndex,
    pushed: Vec<Vec<Entry>>,
    /// Numbers of the records so far.
    position: u64,
    /// Where the log begins.
    first: u64,
    is_damaged: bool,
}

impl Model {
    fn new() -> Self {
        let sim = SimDisk::new(1);
        sim.create_dir_all(dir()).expect("makes");
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let pushed = vec![Vec::new(); 5];
        Self { disk, sim, index: QueueIndex::new(0), pushed, position: 0, first: 0, is_damaged: false }
    }

    fn end(&self) -> u64 {
        self.position * 100 + 100
    }

    fn push(&mut self, queue: u32, count: u64) {
        let number = self.index.intern("topic", QueueId(queue));
        for _ in 0..count {
            self.position += 1;
            self.index.push(number, entry(self.position), &keys(self.position));
            self.pushed[queue as usize].push(entry(self.position));
        }
    }

    fn reload(&mut self) {
        self.index.seal(self.end());
        publish(&mut self.index, &self.disk);
        // A start makes a damaged run again.
        for part in self.index.parts().to_vec() {
            if Run::find(&self.disk, dir(), part.from()).is_err() {
                let block = self.block(part.from(), part.to());
                self.index.replace_part(block);
            }
        }
        publish(&mut self.index, &self.disk);
        self.index = reload(&self.index, self.end(), &self.disk);
    }

    /// What a stretch of the log holds, as it is made again of it.
    fn block(&self, from: u64, to: u64) -> Part {
        let stretch = |(queue, entries): (usize, &Vec<Entry>)| {
            let is_here = |entry: &&Entry| (from..to).contains(&entry.physical_offset);
            let first = entries.iter().position(|entry| is_here(&entry))? as u64;
            let queue = self.index.find("topic", QueueId(queue as u32)).expect("it has entries");
            Some(Stretch { queue, first, entries: entries.iter().filter(is_here).copied().collect() })
        };
        let mut stretches: Vec<Stretch> = self.pushed.iter().enumerate().filter_map(stretch).collect();
        stretches.sort_by_key(|stretch| stretch.queue);
        let mut keys_here: Vec<_> = (1..=self.position)
            .filter(|n| (from..to).contains(&(n * 100)))
            .flat_map(|n| keys(n).map(|hash| keys::Key { hash, at: n * 100 }))
            .collect();
        keys_here.sort_unstable();
        let keys = vec![keys_here.into()];
        Part::Block(Arc::new(Block { from, to, stretches, keys }))
    }

    fn damage(&mut self, run: prop::sample::Index) {
        let runs: Vec<u64> =
            self.index.parts().iter().filter(|part| matches!(part, Part::Run(_))).map(Part::from).collect();
        if !runs.is_empty() {
            self.sim.flip_bits(&dir().join(crate::files::name_of(*run.get(&runs))), 3).expect("exists");
            self.is_damaged = true;
        }
    }

    fn expire(&mut self) {
        let Some(before) = self.index.parts().first().map(Part::to) else { return };
        let Ok(begins) = self.index.begins(before) else { panic!("whole parts are not read") };
        self.index.expire(before, &begins);
        self.first = before;
    }

    /// Reads as the store does: what is damaged is made again.
    fn read(&mut self, queue: u32, from: u64, max: usize) -> Vec<QueueEntry> {
        let Some(number) = self.index.find("topic", QueueId(queue)) else { return Vec::new() };
        loop {
            let mut out = Vec::new();
            let miss = self.index.read(number, from, max, |entry| {
                out.push(entry);
                true
            });
            let Err(Miss::Damaged { from, to, .. }) = miss else { return out };
            assert!(self.is_damaged, "the run from {from} on");
            let block = self.block(from, to);
            self.index.replace_part(block);
        }
    }

    fn expected(&self, queue: u32, from: u64, max: usize) -> Vec<QueueEntry> {
        let all = &self.pushed[queue as usize];
        let min = all.partition_point(|entry| entry.physical_offset < self.first) as u64;
        if from < min {
            return Vec::new();
        }
        (from..).zip(all.iter().skip(from as usize)).take(max).map(|(n, entry)| entry.at(n)).collect()
    }
}

proptest! {
    #[test]
    fn reads_what_was_pushed_wherever_it_is(
        steps in proptest::collection::vec(step(), 1..50),
        looks in proptest::collection::vec((0u32..5, 0u64..1500, 0usize..400), 20),
    ) {
        let (mut model, mut readers) = (Model::new(), [0; 5]);
        for step in steps {
            match step {
                Step::Push { queue, count } => model.push(queue, count),
                Step::Seal => model.index.seal(model.end()),
                Step::Publish => publish(&mut model.index, &model.disk),
                Step::Reload => model.reload(),
                Step::Go { queue, max } => {
                    let from = &mut readers[queue as usize];
                    let found = model.read(queue, *from, max);
                    prop_assert_eq!(&found, &model.expected(queue, *from, max));
                    *from += found.len() as u64;
                }
                Step::Jump { queue, to } => readers[queue as usize] = to,
                Step::Damage { run } => model.damage(run),
                Step::Expire => model.expire(),
            }
        }
        for (queue, from, max) in looks {
            prop_assert_eq!(model.read(queue, from, max), model.expected(queue, from, max));
            let Some(number) = model.index.find("topic", QueueId(queue)) else { continue };
            prop_assert_eq!(model.index.range(number).next.0, model.pushed[queue as usize].len() as u64);
            if model.is_damaged {
                // A damaged run's keys are read from the log, which is not here.
                continue;
            }
            let before = from * 100;
            for hash in [from % 3, 1000 + from.saturating_sub(1), 999] {
                let newest = (1..=model.position).rev().filter(|n| n * 100 >= model.first && n * 100 < before);
                let of_hash = newest.filter(|n| keys(*n).contains(&hash));
                let expected: Vec<_> = of_hash.take(max).map(|n| PhysicalOffset(n * 100)).collect();
                let found = model.index.search_keys(hash).newest(&segments(&model.disk), before, max);
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
