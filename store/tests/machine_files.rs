//! Files that machines keep beside the checkpoints, and what a state in the log leaves to the records.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{encoded, options};
use env::disk::OpenMode;
use env::sim::{self, World};
use record::Record;
use store::{Flush, Machine, MachineFile, RestoreError, STATE_TOPIC, Store};
use types::PhysicalOffset;

/// A machine that counts records; files hold counts. What came before the newest file is in it, the rest is in memory.
#[derive(Default)]
struct Count {
    held: u64,
    /// By name: how many it stands for, and whether it is on the disk.
    files: BTreeMap<u64, (u64, bool)>,
    /// Records before a state in the log.
    early: u64,
}

impl Count {
    fn seal(&mut self, at: u64) {
        self.files.insert(at, (std::mem::take(&mut self.held), false));
    }
}

impl Machine for Count {
    fn apply(&mut self, record: &Record<'_>) {
        self.held += u64::from(record.topic != STATE_TOPIC);
    }

    fn snapshot(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.held.to_be_bytes());
        for (name, (count, _)) in &self.files {
            out.extend_from_slice(&name.to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError> {
        let mut numbers = snapshot.chunks(8).map(|number| u64::from_be_bytes(number.try_into().expect("eight bytes")));
        *self = Self { held: numbers.next().expect("a count"), ..Self::default() };
        while let (Some(name), Some(count)) = (numbers.next(), numbers.next()) {
            self.files.insert(name, (count, true));
        }
        Ok(())
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn state(&self, out: &mut Vec<u8>) {
        Self::default().snapshot(out);
    }

    fn apply_early(&mut self, record: &Record<'_>) {
        self.early += u64::from(record.topic != STATE_TOPIC);
    }

    fn files(&self) -> Vec<MachineFile> {
        let file = |(name, (count, is_there)): (&u64, &(u64, bool))| {
            let count = *count;
            let make = move || -> store::FileContent { Arc::new(move |_, _| Ok(count.to_string().into_bytes())) };
            MachineFile { name: name.to_string(), content: (!is_there).then(make) }
        };
        self.files.iter().map(file).collect()
    }

    fn filed(&mut self, at: PhysicalOffset) {
        self.files.range_mut(..=at.0).for_each(|(_, (_, is_there))| *is_there = true);
    }

    fn spill(&mut self, at: PhysicalOffset) {
        self.seal(at.0);
    }
}

fn open(world: &World) -> (Store, Count) {
    let mut count = Count::default();
    let store = Store::open(&world.env(), &options(Flush::Async), &mut count).expect("opens");
    (store, count)
}

async fn append(store: &mut Store, count: &mut Count, records: u64) {
    for _ in 0..records {
        let record = encoded("orders", 0, &[7; 200]);
        store.ready(record.total_bytes()).await;
        let at = store.append(record, types::Timestamp(5)).expect("appended").physical_offset();
        store.staged_from(at).for_each(|record| count.apply(&record));
        store.write().expect("written");
    }
}

async fn checkpoint(world: &World, store: &mut Store, count: &Count) -> Option<PhysicalOffset> {
    store.begin_checkpoint(count);
    world.env().clock.sleep(Duration::from_secs(2)).await;
    store.write().expect("written");
    store.take_published()
}

fn names(world: &World) -> Vec<String> {
    world.disk().names(&common::dir().join(store::TIMERS_NAME))
}

#[test]
fn files_are_there_as_long_as_a_kept_checkpoint_refers_to_them() {
    sim::run(1, async |world: World| {
        let (mut store, mut count) = open(&world);
        append(&mut store, &mut count, 3).await;
        count.seal(1);
        assert_eq!(names(&world), Vec::<String>::new());
        let at = checkpoint(&world, &mut store, &count).await.expect("published");
        assert_eq!(store.take_published(), None);
        count.filed(at);
        assert_eq!((names(&world), count.files[&1]), (vec!["1".to_owned()], (3, true)));
        // Referred to by the checkpoint before, then by none.
        count.files.clear();
        for expected in [vec!["1"], vec![], vec![]] {
            append(&mut store, &mut count, 1).await;
            assert!(checkpoint(&world, &mut store, &count).await.is_some());
            assert_eq!(names(&world), expected);
        }
        store.close(&count).await.expect("closes");
    });
}

#[test]
fn a_start_keeps_the_files_of_its_checkpoint_alone() {
    sim::run(2, async |world: World| {
        let (mut store, mut count) = open(&world);
        append(&mut store, &mut count, 3).await;
        count.seal(1);
        assert!(checkpoint(&world, &mut store, &count).await.is_some());
        world.kill().await;
        let stray = common::dir().join(store::TIMERS_NAME).join("stray");
        drop(env::Disk::open(&world.disk(), &stray, OpenMode::Create).expect("made"));
        let (mut store, mut count) = open(&world);
        assert_eq!((names(&world), count.held, count.files[&1]), (vec!["1".to_owned()], 0, (3, true)));
        // And those of the checkpoint that it began with, until that one goes.
        count.files.clear();
        for expected in [vec!["1"], vec![]] {
            append(&mut store, &mut count, 1).await;
            assert!(checkpoint(&world, &mut store, &count).await.is_some());
            assert_eq!(names(&world), expected);
        }
        store.abandon().await;
    });
}

#[test]
fn a_long_replay_moves_state_to_files() {
    sim::run(3, async |world: World| {
        let (mut store, mut count) = open(&world);
        append(&mut store, &mut count, 400).await;
        let end = store.marks().appended_to();
        store.marks().durable(end).await.expect("durable");
        store.abandon().await;
        let (store, replayed) = open(&world);
        let filed: u64 = replayed.files.values().map(|(count, _)| count).sum();
        assert!(replayed.files.len() > 2 && replayed.files.values().all(|(_, is_there)| *is_there));
        assert_eq!((filed + replayed.held, names(&world).len()), (400, replayed.files.len()));
        store.abandon().await;
    });
}

#[test]
fn what_a_state_leaves_out_is_said_by_the_records_before_it() {
    sim::run(4, async |world: World| {
        let (mut store, mut count) = open(&world);
        append(&mut store, &mut count, 100).await;
        let end = store.marks().appended_to();
        store.marks().durable(end).await.expect("durable");
        let before = PhysicalOffset(store.segment_bytes());
        store.begin_expiry(before).expect("begun");
        for body in store.state(&count) {
            let record = encoded(STATE_TOPIC, 0, &body);
            store.ready(record.total_bytes()).await;
            store.append(record, types::Timestamp(5)).expect("appended");
        }
        append(&mut store, &mut count, 10).await;
        let end = store.write().expect("written");
        store.marks().durable(end).await.expect("durable");
        assert_eq!(store.expire().expect("begun").await, Ok(true));
        store.abandon().await;
        let expired = before.0 / (end.0 / 111);
        let (store, replayed) = open(&world);
        let filed: u64 = replayed.files.values().map(|(count, _)| count).sum();
        assert_eq!(filed + replayed.held, 10);
        assert!((60..100).contains(&replayed.early) && replayed.early < 100 - expired / 2, "{}", replayed.early);
        store.abandon().await;
    });
}
