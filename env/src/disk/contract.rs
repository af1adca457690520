//! What every [`Disk`] promises, checked on the real one and on the simulated one.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use super::os::OsDisk;
use super::{Disk, File, OpenMode};
use crate::sim::SimDisk;

/// Each check gets a directory of its own that exists and is empty.
const CHECKS: [fn(&dyn Disk, &Path); 12] = [
    what_is_written_is_read,
    reads_end_at_the_end_of_the_file,
    writing_beyond_the_end_leaves_zeros,
    set_len_cuts_and_grows_with_zeros,
    allocate_sets_the_length_both_ways,
    create_empties_a_file_that_exists,
    opening_what_does_not_exist_fails,
    names_are_listed_sorted_and_without_directories,
    rename_replaces_the_target,
    a_removed_file_stays_readable_while_open,
    a_lock_excludes_until_it_is_dropped,
    space_is_told_of_directories_that_exist,
];

#[test]
fn the_real_disk_keeps_the_contract() {
    for check in CHECKS {
        let dir = tempfile::tempdir().expect("a temporary directory");
        check(&OsDisk, dir.path());
    }
}

#[test]
fn the_simulated_disk_keeps_the_contract() {
    for check in CHECKS {
        let disk = SimDisk::new(0);
        let dir = Path::new("/data/dir");
        disk.create_dir_all(dir).expect("made");
        check(&disk, dir);
    }
}

fn write(file: &dyn File, bytes: &[u8], offset: u64) {
    file.write_all_at(&[IoSlice::new(bytes)], offset).expect("written");
}

fn content(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0xEE; 64 * 1024];
    let count = file.read_at(&mut bytes, 0).expect("read");
    bytes.truncate(count);
    assert_eq!(file.len().expect("length"), bytes.len() as u64);
    bytes
}

fn what_is_written_is_read(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("f"), OpenMode::Create).expect("created");
    file.write_all_at(&[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")], 0).expect("written");
    write(&*file, b"T", 3);
    file.sync_data().expect("synced");
    disk.sync_dir(dir).expect("synced");
    for mode in [OpenMode::Read, OpenMode::ReadWrite] {
        let file = disk.open(&dir.join("f"), mode).expect("opened");
        assert_eq!(content(&*file), b"oneTwo");
    }
    let read_only = disk.open(&dir.join("f"), OpenMode::Read).expect("opened");
    assert!(read_only.write_all_at(&[IoSlice::new(b"x")], 0).is_err());
}

fn reads_end_at_the_end_of_the_file(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("f"), OpenMode::Create).expect("created");
    write(&*file, b"abcdef", 0);
    let mut buffer = [0; 4];
    assert_eq!(file.read_at(&mut buffer, 1).expect("read"), 4);
    assert_eq!(&buffer, b"bcde");
    assert_eq!(file.read_at(&mut buffer, 4).expect("read"), 2);
    assert_eq!(&buffer[..2], b"ef");
    assert_eq!(file.read_at(&mut buffer, 6).expect("read"), 0);
    assert_eq!(file.read_at(&mut buffer, 600).expect("read"), 0);
    assert_eq!(file.read_at(&mut [], 0).expect("read"), 0);
}

fn writing_beyond_the_end_leaves_zeros(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("f"), OpenMode::Create).expect("created");
    write(&*file, b"end", 10_000);
    let mut expected = vec![0; 10_000];
    expected.extend_from_slice(b"end");
    assert_eq!(content(&*file), expected);
}

fn set_len_cuts_and_grows_with_zeros(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("f"), OpenMode::Create).expect("created");
    write(&*file, &[7; 9_000], 0);
    file.set_len(4_100).expect("cut");
    assert_eq!(content(&*file), vec![7; 4_100]);
    file.set_len(5_000).expect("grown");
    let mut expected = vec![7; 4_100];
    expected.resize(5_000, 0);
    assert_eq!(content(&*file), expected);
}

fn allocate_sets_the_length_both_ways(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("f"), OpenMode::Create).expect("created");
    write(&*file, b"head", 0);
    file.allocate(9_000).expect("room");
    let mut expected = b"head".to_vec();
    expected.resize(9_000, 0);
    assert_eq!(content(&*file), expected);
    file.allocate(2).expect("cut");
    assert_eq!(content(&*file), b"he");
    file.allocate(0).expect("cut");
    assert_eq!(content(&*file), b"");
}

fn create_empties_a_file_that_exists(disk: &dyn Disk, dir: &Path) {
    let path = dir.join("f");
    write(&*disk.open(&path, OpenMode::Create).expect("created"), b"old", 0);
    let file = disk.open(&path, OpenMode::Create).expect("emptied");
    assert_eq!(content(&*file), b"");
}

fn opening_what_does_not_exist_fails(disk: &dyn Disk, dir: &Path) {
    let kind = |path: &Path, mode| disk.open(path, mode).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind(&dir.join("f"), OpenMode::Read), Err(ErrorKind::NotFound));
    assert_eq!(kind(&dir.join("f"), OpenMode::ReadWrite), Err(ErrorKind::NotFound));
    assert_eq!(kind(&dir.join("none/f"), OpenMode::Create), Err(ErrorKind::NotFound));
    assert_eq!(disk.remove(&dir.join("f")).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    let renamed = disk.rename(&dir.join("f"), &dir.join("g"));
    assert_eq!(renamed.map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(disk.sync_dir(&dir.join("none")).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
    assert_eq!(disk.list(&dir.join("none")).expect("listed"), Vec::<String>::new());
    assert_eq!(disk.list_dirs(&dir.join("none")).expect("listed"), Vec::<String>::new());
}

fn names_are_listed_sorted_and_without_directories(disk: &dyn Disk, dir: &Path) {
    disk.create_dir_all(&dir.join("sub/below")).expect("made");
    disk.create_dir_all(&dir.join("sub/below")).expect("there already");
    for name in ["b", "a", "sub/c"] {
        disk.open(&dir.join(name), OpenMode::Create).expect("created");
    }
    assert_eq!(disk.list(dir).expect("listed"), ["a", "b"]);
    assert_eq!(disk.list_dirs(dir).expect("listed"), ["sub"]);
    assert_eq!(disk.list(&dir.join("sub")).expect("listed"), ["c"]);
}

fn rename_replaces_the_target(disk: &dyn Disk, dir: &Path) {
    let from = disk.open(&dir.join("new"), OpenMode::Create).expect("created");
    write(&*from, b"new", 0);
    write(&*disk.open(&dir.join("f"), OpenMode::Create).expect("created"), b"older", 0);
    disk.rename(&dir.join("new"), &dir.join("f")).expect("renamed");
    assert_eq!(disk.list(dir).expect("listed"), ["f"]);
    assert_eq!(content(&*disk.open(&dir.join("f"), OpenMode::Read).expect("opened")), b"new");
    write(&*from, b"N", 0);
    assert_eq!(content(&*disk.open(&dir.join("f"), OpenMode::Read).expect("opened")), b"New");
}

fn a_removed_file_stays_readable_while_open(disk: &dyn Disk, dir: &Path) {
    let file = disk.open(&dir.join("f"), OpenMode::Create).expect("created");
    write(&*file, b"still", 0);
    disk.remove(&dir.join("f")).expect("removed");
    assert_eq!(disk.list(dir).expect("listed"), Vec::<String>::new());
    assert_eq!(content(&*file), b"still");
}

fn a_lock_excludes_until_it_is_dropped(disk: &dyn Disk, dir: &Path) {
    let kind = || disk.lock(&dir.join("lock")).map(|_| ()).map_err(|error| error.kind());
    let is_locked = || disk.is_locked(&dir.join("lock")).expect("told");
    assert!(!is_locked());
    assert_eq!(disk.list(dir).expect("listed"), Vec::<String>::new(), "looking made the file");
    let held = disk.lock(&dir.join("lock")).expect("locked");
    assert!(is_locked());
    assert_eq!(kind(), Err(ErrorKind::WouldBlock), "looking ended the lock");
    assert_eq!(kind(), Err(ErrorKind::WouldBlock), "refusing ended the lock");
    drop(held);
    assert!(!is_locked());
    assert_eq!(kind(), Ok(()));
}

fn space_is_told_of_directories_that_exist(disk: &dyn Disk, dir: &Path) {
    let space = disk.space(dir).expect("told");
    assert!(0 < space.free_bytes && space.free_bytes <= space.total_bytes, "{space:?}");
    assert_eq!(disk.space(&dir.join("none")).map_err(|error| error.kind()), Err(ErrorKind::NotFound));
}
