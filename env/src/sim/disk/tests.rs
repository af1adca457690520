//! What the simulated disk does beyond the contract: accidents.

use std::collections::BTreeSet;

use super::*;

const DIR: &str = "/d";
const SEEDS: u64 = 200;

fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new(DIR)).expect("made");
    disk
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn create(disk: &SimDisk, name: &str) -> Arc<dyn File> {
    disk.open(&path(name), OpenMode::Create).expect("created")
}

/// A file whose existence and content are durable.
fn durable(disk: &SimDisk, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(disk, name);
    put(&*file, bytes, 0);
    file.sync_data().expect("synced");
    disk.sync_dir(Path::new(DIR)).expect("synced");
    file
}

fn put(file: &dyn File, bytes: &[u8], offset: u64) {
    file.write_all_at(&[IoSlice::new(bytes)], offset).expect("written");
}

fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&path(name), OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().expect("length")).expect("small")];
    let count = file.read_at(&mut bytes, 0).expect("read");
    assert_eq!(count, bytes.len());
    Some(bytes)
}

/// What is found over all seeds after `life` and a power loss.
fn outcomes<T: Ord>(life: impl Fn(&SimDisk), look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    (0..SEEDS)
        .map(|seed| {
            let disk = disk(seed);
            life(&disk);
            look(&disk.crash())
        })
        .collect()
}

#[test]
fn what_is_synced_survives_a_power_loss() {
    let found = outcomes(|disk| drop(durable(disk, "f", b"safe")), |disk| content(disk, "f"));
    assert_eq!(found, BTreeSet::from([Some(b"safe".to_vec())]));
}

#[test]
fn a_file_whose_directory_is_not_synced_may_be_lost() {
    let life = |disk: &SimDisk| create(disk, "f").sync_data().expect("synced");
    assert_eq!(outcomes(life, |disk| content(disk, "f").is_some()), BTreeSet::from([false, true]));
}

#[test]
fn a_rename_that_is_not_synced_is_whole_or_not_at_all() {
    let life = |disk: &SimDisk| {
        durable(disk, "f", b"old");
        durable(disk, "new", b"new");
        disk.rename(&path("new"), &path("f")).expect("renamed");
    };
    let found = outcomes(life, |disk| (content(disk, "f"), content(disk, "new")));
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(found, BTreeSet::from([(old, new.clone()), (new, None)]));
}

#[test]
fn a_removal_that_is_not_synced_may_be_undone() {
    let life = |disk: &SimDisk| {
        durable(disk, "f", b"old");
        disk.remove(&path("f")).expect("removed");
    };
    assert_eq!(outcomes(life, |disk| content(disk, "f")), BTreeSet::from([None, Some(b"old".to_vec())]));
}

#[test]
fn a_later_write_may_survive_an_earlier_one() {
    let life = |disk: &SimDisk| {
        let file = durable(disk, "f", b"..");
        put(&*file, b"1", 0);
        put(&*file, b"2", 1);
    };
    let found = outcomes(life, |disk| content(disk, "f").expect("durable"));
    assert_eq!(found, [b"..", b"1.", b".2", b"12"].map(|bytes| bytes.to_vec()).into());
}

#[test]
fn a_write_may_be_torn_or_leave_zeros() {
    let life = |disk: &SimDisk| put(&*durable(disk, "f", b""), &[1; 1024], 0);
    let found = outcomes(life, |disk| content(disk, "f").expect("durable"));
    let mut second_half = vec![0; 512];
    second_half.resize(1024, 1);
    let expected = [vec![], vec![1; 512], second_half, vec![0; 1024], vec![1; 1024]];
    assert_eq!(found, expected.into());
}

#[test]
fn after_a_failed_sync_a_later_one_saves_nothing() {
    let life = |disk: &SimDisk| {
        let file = durable(disk, "f", b".");
        put(&*file, b"!", 0);
        disk.fail(Operation::Sync, 0, ErrorKind::Other);
        assert_eq!(file.sync_data().expect_err("asked for").kind(), ErrorKind::Other);
        file.sync_data().expect("claims to have saved all");
        assert_eq!(content(disk, "f"), Some(b"!".to_vec()));
    };
    assert_eq!(outcomes(life, |disk| content(disk, "f").expect("durable")), [b".".to_vec(), b"!".to_vec()].into());
}

#[test]
fn a_kill_keeps_all_and_a_later_power_loss_may_not() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let first = disk(seed);
        let file = create(&first, "f");
        put(&*file, b"x", 0);
        let second = first.kill();
        assert_eq!(content(&second, "f"), Some(b"x".to_vec()));
        lost += usize::from(content(&second.crash(), "f") != Some(b"x".to_vec()));
    }
    assert!(lost > 0);
}

#[test]
fn a_dead_process_can_do_nothing() {
    let first = disk(0);
    let file = create(&first, "f");
    let second = first.kill();
    assert!(file.write_all_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(first.open(&path("g"), OpenMode::Create).is_err());
    assert!(first.is_dead() && !second.is_dead());
    assert_eq!(content(&second, "f"), Some(vec![]));
}

#[test]
fn death_ends_the_lock() {
    let first = disk(0);
    let held = first.lock(&path("lock")).expect("locked");
    let second = first.kill();
    let held_now = second.lock(&path("lock")).expect("the holder is dead");
    drop(held);
    assert!(second.lock(&path("lock")).is_err(), "a dead process ended the lock of a living one");
    drop(held_now);
}

#[test]
fn the_asked_for_call_fails_once() {
    let disk = disk(0);
    let file = create(&disk, "f");
    disk.fail(Operation::Write, 1, ErrorKind::StorageFull);
    put(&*file, b"a", 0);
    let error = file.write_all_at(&[IoSlice::new(b"bb")], 1).expect_err("asked for");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    put(&*file, b"cc", 1);
    assert_eq!(content(&disk, "f"), Some(b"acc".to_vec()));
}

#[test]
fn death_in_a_write_leaves_any_first_part_of_it() {
    let mut lengths = BTreeSet::new();
    for seed in 0..SEEDS {
        let first = disk(seed);
        let file = create(&first, "f");
        first.die_at(1);
        put(&*file, b"a", 0);
        file.write_all_at(&[IoSlice::new(b"bc")], 1).expect_err("dies");
        assert!(first.is_dead() && file.read_at(&mut [0], 0).is_err());
        let found = content(&first.kill(), "f").expect("created");
        assert!(b"abc".starts_with(&found));
        lengths.insert(found.len());
    }
    assert_eq!(lengths, BTreeSet::from([1, 2, 3]));
}

#[test]
fn death_in_a_sync_leaves_the_next_one_all_to_save() {
    for seed in 0..SEEDS {
        let first = disk(seed);
        let file = durable(&first, "f", b".");
        put(&*file, b"!", 0);
        first.die_at(0);
        file.sync_data().expect_err("dies");
        let second = first.kill();
        second.open(&path("f"), OpenMode::ReadWrite).expect("it exists").sync_data().expect("synced");
        assert_eq!(content(&second.crash(), "f"), Some(b"!".to_vec()));
    }
}

#[test]
fn a_full_disk_refuses_what_needs_room() {
    const PAGE: u64 = 4096;
    let disk = disk(0);
    let file = create(&disk, "f");
    disk.set_capacity(Some(3 * PAGE));
    file.allocate(2 * PAGE).expect("room");
    put(&*file, &[1; 100], 0);
    assert_eq!(file.allocate(4 * PAGE).expect_err("full").kind(), ErrorKind::StorageFull);
    let other = create(&disk, "g");
    put(&*other, &[1; 100], 0);
    let refused = other.write_all_at(&[IoSlice::new(&[1; 100])], PAGE);
    assert_eq!(refused.expect_err("full").kind(), ErrorKind::StorageFull);
    assert_eq!(disk.used_bytes(), 3 * PAGE);
    let space = |total, free| Space { total_bytes: total * PAGE, free_bytes: free * PAGE };
    assert_eq!(disk.space(Path::new(DIR)).expect("told"), space(3, 0));
    disk.remove(&path("f")).expect("removed");
    put(&*other, &[1; 100], PAGE);
    // Room is given in whole pages, so that what was given can be used.
    let third = create(&disk, "h");
    disk.set_capacity(Some(2 * PAGE + PAGE / 2));
    assert_eq!(third.allocate(PAGE / 4).expect_err("full").kind(), ErrorKind::StorageFull);
    put(&*other, &[1; 100], 0);
}

#[test]
fn flipped_bits_are_seen() {
    let disk = disk(0);
    durable(&disk, "f", &[0; 100]);
    disk.flip_bits(&path("f"), 1).expect("it exists");
    let ones: u32 = content(&disk, "f").expect("it exists").iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(ones, 1);
}

#[test]
fn an_unreadable_file_takes_bytes_and_gives_none_until_the_next_process() {
    let disk = disk(0);
    let file = durable(&disk, "f", b"a");
    durable(&disk, "g", b"g");
    disk.make_unreadable(&path("f")).expect("it exists");
    for _ in 0..2 {
        assert!(file.read_at(&mut [0], 0).is_err());
    }
    put(&*file, b"b", 1);
    assert_eq!(content(&disk, "g"), Some(b"g".to_vec()));
    let failure = Failure { operation: Operation::Read, path: path("f") };
    assert_eq!(disk.failures(), [failure.clone(), failure]);
    let next = disk.kill();
    assert_eq!(content(&next, "f"), Some(b"ab".to_vec()));
    assert_eq!(next.failures(), []);
}

#[test]
fn fingerprints_tell_histories_apart() {
    let print = |offset| {
        let disk = disk(0);
        put(&*create(&disk, "f"), b"x", offset);
        disk.crash().fingerprint()
    };
    assert_eq!(print(0), print(0));
    assert_ne!(print(0), print(1));
}
