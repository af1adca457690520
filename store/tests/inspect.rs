//! Looking at a store's records and counts, and copying it.

mod common;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Ledger, check, dir, names, open, options, read_file, send, write_file};
use env::disk::{OpenMode, Space};
use env::sim::{self, World};
use env::{Disk, Env, File};
use parking_lot::Mutex;
use store::inspect::{CopyError, Directory, Piece};
use store::{Flush, OpenError, Options, Store};
use types::PhysicalOffset;

fn look(env: &Env) -> Directory {
    Directory::open(&env.disk, &dir(), |_| Ok(Vec::new())).expect("a store")
}

fn backup() -> PathBuf {
    PathBuf::from("/backup")
}

async fn fill(store: &mut Store, ledger: &mut Ledger, records: usize) {
    for n in 0..records {
        let topic = if n % 2 == 0 { "orders" } else { "bills" };
        send(store, ledger, topic, (n % 3) as u32, &vec![b'a' + (n % 26) as u8; n * 37 % 600]).await;
    }
}

/// The store in the backup.
fn open_backup(env: &Env) -> (Store, Ledger) {
    let mut ledger = Ledger::default();
    let store = Store::open(env, &Options { dir: backup(), ..options(Flush::Async) }, &mut ledger).expect("opens");
    (store, ledger)
}

/// Positions of the records, with damaged places as `None`.
fn positions(env: &Env, from: u64, to: u64, max: usize) -> Vec<Option<u64>> {
    let mut found = Vec::new();
    let stretch = PhysicalOffset(from)..PhysicalOffset(to);
    let read = look(env).records(stretch, &mut |_| (), &mut |piece| {
        found.push(match piece {
            Piece::Record(record) => Some(record.header.physical_offset.0),
            Piece::Damage { .. } => None,
        });
        if found.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    read.expect("readable");
    found
}

#[test]
fn records_are_shown_from_any_place_on() {
    sim::run(1, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        let all: Vec<Option<u64>> = ledger.lines.iter().map(|line| Some(line.physical_offset.0)).collect();
        let place = |n: usize| ledger.lines[n].physical_offset.0;
        let env = world.env();
        assert_eq!(positions(&env, 0, u64::MAX, usize::MAX), all);
        assert_eq!(positions(&env, place(20), place(40), usize::MAX), all[20..40]);
        assert_eq!(positions(&env, place(20) + 1, u64::MAX, 3), all[21..24]);
        assert_eq!(positions(&env, place(59) + 1, u64::MAX, usize::MAX), []);
        assert_eq!(positions(&env, u64::MAX, u64::MAX, usize::MAX), []);
        store.abandon().await;
        // A damaged record is shown as such, and what is behind it too.
        let path = dir().join("commitlog").join(names(&env, "commitlog")[0].clone());
        let mut bytes = read_file(&env, &path);
        bytes[place(2) as usize + 8] ^= 1;
        write_file(&env, &path, &bytes);
        let shown = positions(&env, 0, u64::MAX, usize::MAX);
        assert_eq!((&shown[..2], shown[2], &shown[3..]), (&all[..2], None, &all[3..]));
    });
}

#[test]
fn counts_say_what_is_there_and_what_a_start_would_read() {
    sim::run(2, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        store.close(&ledger).await.expect("closes");
        let (mut store, mut restored) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut restored, 15).await;
        world.kill().await;
        let env = world.env();
        let (quick, full) = (look(&env).stat(false, &mut |_| ()), look(&env).stat(true, &mut |_| ()));
        let (quick, full) = (quick.expect("counts"), full.expect("counts"));
        assert_eq!((quick.replay_records, quick.segments.len()), (15, names(&env, "commitlog").len()));
        let before = &restored.lines[59];
        assert_eq!(quick.replay_from, before.physical_offset.plus(before.record_bytes.into()));
        let orders = quick.topics.iter().find(|topic| topic.topic == "orders").expect("there");
        assert_eq!((orders.records, orders.queues, orders.bytes), (38, 3, None));
        let record_bytes: u64 = restored.lines.iter().map(|line| u64::from(line.record_bytes)).sum();
        assert_eq!(full.topics.iter().filter_map(|topic| topic.bytes).sum::<u64>(), record_bytes);
        assert_eq!(full.queues.iter().map(|queue| queue.next.0 - queue.min.0).sum::<u64>(), 75);
        assert_eq!((quick.checkpoints.len(), quick.index_runs, quick.is_in_use), (1, 1, false));
        drop(store);
    });
}

#[test]
fn a_copy_of_a_store_in_use_holds_all_that_was_written() {
    sim::run(3, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        for round in 0..4 {
            fill(&mut store, &mut ledger, 40).await;
            store.begin_checkpoint(&ledger);
            fill(&mut store, &mut ledger, 7).await;
            let to = backup().join(round.to_string());
            let copied = look(&world.env()).copy(&to, &mut |_| ()).expect("copies");
            assert_eq!((copied.log_end, copied.restarts), (store.marks().appended_to().0, 0));
            let mut found = Ledger::default();
            let settings = Options { dir: to, ..options(Flush::Async) };
            let mut copy = Store::open(&world.env(), &settings, &mut found).expect("opens");
            assert_eq!(found.lines, ledger.lines);
            check(&mut copy, &found).await;
            copy.abandon().await;
        }
        store.abandon().await;
    });
}

#[test]
fn a_copy_is_durable_and_sound() {
    sim::run(4, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        store.close(&ledger).await.expect("closes");
        look(&world.env()).copy(&backup(), &mut |_| ()).expect("copies");
        world.lose_power().await;
        let report = Directory::verify(&world.env().disk, &backup(), |_| Ok(Vec::new()), &mut |_| ()).expect("looks");
        assert_eq!((report.findings.as_slice(), report.records), ([].as_slice(), 60));
        let (mut copy, found) = open_backup(&world.env());
        assert_eq!((found.lines == ledger.lines, found.applied), (true, 0));
        check(&mut copy, &found).await;
        copy.abandon().await;
    });
}

#[test]
fn a_copy_needs_an_empty_directory() {
    sim::run(5, async |world: World| {
        let (store, ledger) = open(&world.env(), Flush::Async);
        store.close(&ledger).await.expect("closes");
        write_file(&world.env(), &backup().join("commitlog/x"), b"");
        let refused = look(&world.env()).copy(&backup(), &mut |_| ());
        assert!(matches!(refused, Err(CopyError::NotEmpty { .. })));
    });
}

#[test]
fn a_copy_that_was_cut_short_is_refused_by_a_start() {
    sim::run(6, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        store.close(&ledger).await.expect("closes");
        world.disk().set_capacity(Some(world.disk().used_bytes() + 6000));
        let refused = look(&world.env()).copy(&backup(), &mut |_| ());
        assert!(matches!(refused, Err(CopyError::Io(error)) if error.error.kind() == io::ErrorKind::StorageFull));
        let settings = Options { dir: backup(), ..options(Flush::Async) };
        let start = Store::open(&world.env(), &settings, &mut Ledger::default());
        let Err(OpenError::Unusable { problem, .. }) = start else { panic!("opened") };
        assert!(problem.contains("not finished"), "{problem}");
    });
}

#[test]
fn a_log_with_damage_in_its_end_is_not_copied() {
    sim::run(7, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        world.kill().await;
        drop(store);
        let path = dir().join("commitlog").join(names(&world.env(), "commitlog")[0].clone());
        let mut bytes = read_file(&world.env(), &path);
        bytes[ledger.lines[2].physical_offset.0 as usize + 8] ^= 1;
        write_file(&world.env(), &path, &bytes);
        let refused = look(&world.env()).copy(&backup(), &mut |_| ());
        let Err(CopyError::Damaged { at, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(at, ledger.lines[2].physical_offset.0);
    });
}

/// A disk on which a server works while somebody reads: when the `trigger` is opened, `victims` are removed, and the
/// first `old_lists` lists of `commitlog` do not have `newest` yet.
struct Meddled {
    disk: Arc<dyn Disk>,
    trigger: PathBuf,
    victims: Mutex<Vec<PathBuf>>,
    old_lists: Mutex<usize>,
    newest: String,
}

impl Disk for Meddled {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if path == self.trigger {
            self.victims.lock().drain(..).try_for_each(|victim| self.disk.remove(&victim))?;
        }
        self.disk.open(path, mode)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = self.disk.list(dir)?;
        let mut old_lists = self.old_lists.lock();
        if *old_lists > 0 && dir == Path::new("/data/commitlog") {
            *old_lists -= 1;
            names.retain(|name| *name < self.newest);
        }
        Ok(names)
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list_dirs(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.disk.space(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }
}

#[test]
fn a_copy_begins_anew_when_retention_takes_segments_away() {
    sim::run(8, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 120).await;
        let end = store.write().expect("written");
        store.marks().durable(end).await.expect("durable");
        // So the checkpoint lets them go.
        store.begin_expiry(PhysicalOffset(3 * 4096)).expect("begun");
        store.close(&ledger).await.expect("closes");
        let segments = names(&world.env(), "commitlog");
        let path = |n: usize| dir().join("commitlog").join(&segments[n]);
        // With the first copied, the first two are removed.
        let meddled = Meddled {
            disk: world.env().disk,
            trigger: Path::new("/backup/commitlog").join(&segments[1]),
            victims: Mutex::new(vec![path(0), path(1), path(2)]),
            old_lists: Mutex::new(0),
            newest: String::new(),
        };
        let disk: Arc<dyn Disk> = Arc::new(meddled);
        let directory = Directory::open(&disk, &dir(), |_| Ok(Vec::new())).expect("a store");
        let copied = directory.copy(&backup(), &mut |_| ()).expect("copies");
        assert_eq!((copied.restarts, copied.log_first), (1, 3 * 4096));
        let left: Vec<String> = world.env().disk.list(&backup().join("commitlog")).expect("lists");
        assert_eq!(left.first(), Some(&segments[3]));
        // What is there is as sound as the source is.
        let (store, found) = open_backup(&world.env());
        assert_eq!(found.lines, ledger.lines);
        store.abandon().await;
    });
}

#[test]
fn a_copy_takes_segments_that_are_made_meanwhile() {
    sim::run(9, async |world: World| {
        let (mut store, mut ledger) = open(&world.env(), Flush::Async);
        fill(&mut store, &mut ledger, 60).await;
        store.close(&ledger).await.expect("closes");
        let end = ledger.lines.last().map(|line| line.physical_offset.plus(line.record_bytes.into()).0);
        let newest = format!("{:020}", end.expect("60") / 4096 * 4096);
        let meddled = Meddled {
            disk: world.env().disk,
            trigger: PathBuf::new(),
            victims: Mutex::default(),
            // One when it is opened, one when the copy begins.
            old_lists: Mutex::new(2),
            newest,
        };
        let disk: Arc<dyn Disk> = Arc::new(meddled);
        let directory = Directory::open(&disk, &dir(), |_| Ok(Vec::new())).expect("a store");
        let copied = directory.copy(&backup(), &mut |_| ()).expect("copies");
        assert_eq!((Some(copied.log_end), copied.restarts), (end, 0));
        let (mut copy, found) = open_backup(&world.env());
        assert_eq!((found.lines == ledger.lines, found.applied), (true, 0));
        check(&mut copy, &found).await;
        copy.abandon().await;
    });
}
