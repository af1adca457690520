//! The simulated disk: in memory, with a model of what survives a power loss.
//!
//! Data: each file has the bytes that readers see and the bytes that are durable; between them stands the list of
//! changes that no sync has covered. Names: the same, for directory entries and `sync_dir`. A power loss keeps, drops
//! or tears each such change by itself, so a later one may survive an earlier one. That is more than most file systems
//! do and no more than POSIX allows. Source: `fsync(2)`, Linux ext4 and XFS behaviour, "All File Systems Are Not
//! Created Equal" (OSDI '14).

mod faults;
mod image;
mod inode;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

pub use faults::Operation;
use faults::{Faults, Verdict};
use inode::Inode;
use names::Names;

use crate::disk::{Disk, File, OpenMode, Space};

/// What a disk without a capacity says it has room for.
const UNLIMITED_BYTES: u64 = 1 << 40;

/// The disk as one process sees it. When that process has died it fails for ever, and so do its open files.
#[derive(Clone)]
pub struct SimDisk {
    /// Held for one call.
    machine: Arc<Mutex<Machine>>,
    /// Which process's it is.
    life: u64,
}

/// Names a file whatever it is called now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct FileId(u64);

/// A call that failed because a test wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of call.
    pub operation: Operation,
    /// On which file or directory; empty for a file that has lost its name.
    pub path: PathBuf,
}

/// What a call is about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Path(&'a Path),
    File(FileId),
}

/// What outlives a process.
struct Machine {
    /// The process that runs now; older ones are dead.
    life: u64,
    rng: fastrand::Rng,
    names: Names,
    inodes: BTreeMap<FileId, Inode>,
    next_id: u64,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    /// The calls of this process that failed because a test wanted it.
    failures: Vec<Failure>,
    /// Room for data, in bytes.
    capacity: Option<u64>,
    /// Hash of all changes so far, in order.
    history: DefaultHasher,
}

impl SimDisk {
    /// An empty disk whose accidents are the seed's.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let machine = Machine {
            life: 0,
            rng: fastrand::Rng::with_seed(seed),
            names: Names::default(),
            inodes: BTreeMap::new(),
            next_id: 0,
            locks: BTreeSet::new(),
            faults: Faults::default(),
            failures: Vec::new(),
            capacity: None,
            history: DefaultHasher::new(),
        };
        Self { machine: Arc::new(Mutex::new(machine)), life: 0 }
    }

    /// Power loss: every change that was not synced is kept, dropped or torn. Returns the disk of the next process.
    #[must_use = "this handle is dead"]
    pub fn crash(&self) -> Self {
        let machine = &mut *self.machine.lock();
        // How much the system had written back by itself differs from one accident to the next, from nothing to all.
        let kept_percent = machine.rng.u8(0..=100);
        machine.names.lose_power(&mut machine.rng, kept_percent);
        for inode in machine.inodes.values_mut() {
            inode.lose_power(&mut machine.rng, kept_percent);
        }
        self.next_life(machine)
    }

    /// Process death: all that was written stays, though still not synced. Returns the disk of the next process.
    #[must_use = "this handle is dead"]
    pub fn kill(&self) -> Self {
        self.next_life(&mut self.machine.lock())
    }

    fn next_life(&self, machine: &mut Machine) -> Self {
        machine.life += 1;
        machine.locks.clear();
        machine.faults = Faults::default();
        machine.failures.clear();
        let linked = machine.names.linked();
        machine.inodes.retain(|id, _| linked.contains(id));
        Self { machine: self.machine.clone(), life: machine.life }
    }

    /// Makes the `nth` call of this kind from now on (from 0) fail with `kind`, once. A write may then be partly done; a
    /// sync has lost an unknown part of what it was to save, though readers still see all of it.
    pub fn fail(&self, operation: Operation, nth: u32, kind: ErrorKind) {
        self.machine.lock().faults.fail(operation, nth, kind);
    }

    /// Makes every read of a file's bytes fail until the process ends: a place of the disk has gone bad.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it does not exist.
    pub fn make_unreadable(&self, path: &Path) -> io::Result<()> {
        let machine = &mut *self.machine.lock();
        machine.faults.make_unreadable(machine.names.find(path)?);
        Ok(())
    }

    /// The calls of this process that have failed because of [`SimDisk::fail`] and [`SimDisk::make_unreadable`], in order.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.machine.lock().failures.clone()
    }

    /// The names of the files in a directory, sorted, as a test sees them: no fault strikes and nothing is counted.
    #[must_use]
    pub fn names(&self, dir: &Path) -> Vec<String> {
        self.machine.lock().names.list(dir)
    }

    /// A file's bytes, as a test sees them: also of a process that is dead.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it does not exist.
    pub fn content(&self, path: &Path) -> io::Result<Vec<u8>> {
        let machine = &mut *self.machine.lock();
        let id = machine.names.find(path)?;
        let inode = machine.inode(id);
        let mut bytes = vec![0; usize::try_from(inode.len()).expect("a file in memory")];
        let read = inode.read(&mut bytes, 0);
        assert_eq!(read, bytes.len(), "a file is as long as it says");
        Ok(bytes)
    }

    /// Makes the process die in the middle of the `nth` change of the disk from now on (from 0): it is partly done, and
    /// every later call fails. [`SimDisk::crash`] or [`SimDisk::kill`] then says which death it was.
    pub fn die_at(&self, nth: u32) {
        self.machine.lock().faults.die_at(nth);
    }

    /// Whether the process has died of [`SimDisk::die_at`].
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let machine = self.machine.lock();
        machine.life != self.life || machine.faults.is_dead()
    }

    /// Sets how many bytes of data the disk has room for; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.machine.lock().capacity = bytes;
    }

    /// How many bytes of data it holds or has reserved.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.machine.lock().used_bytes()
    }

    /// Flips `count` random bits of a file, as seen and as durable.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it does not exist.
    pub fn flip_bits(&self, path: &Path, count: u32) -> io::Result<()> {
        let machine = &mut *self.machine.lock();
        let id = machine.names.find(path)?;
        let inode = machine.inodes.get_mut(&id).expect(NAMED_EXIST);
        (0..count).for_each(|_| inode.flip_bit(&mut machine.rng));
        Ok(())
    }

    /// A hash of every change so far, in order, and of all names and bytes as they are now: two runs that agree in it
    /// did the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let machine = self.machine.lock();
        let mut hasher = machine.history.clone();
        for (path, id) in machine.names.files() {
            path.hash(&mut hasher);
            machine.inodes[id].hash_content(&mut hasher);
        }
        hasher.finish()
    }

    /// The machine, if the process lives and no fault is due for `operation`.
    fn begin(&self, operation: Operation, subject: Subject<'_>) -> io::Result<MutexGuard<'_, Machine>> {
        let mut machine = self.machine.lock();
        if machine.life != self.life {
            return Err(faults::dead());
        }
        let file = match subject {
            Subject::Path(_) => None,
            Subject::File(id) => Some(id),
        };
        match machine.faults.judge(operation, file) {
            Verdict::Go => Ok(machine),
            Verdict::Dead => Err(faults::dead()),
            Verdict::Fail(kind) => {
                let path = machine.path_of(subject);
                machine.failures.push(Failure { operation, path });
                Err(kind.into())
            }
        }
    }
}

const NAMED_EXIST: &str = "a file that has a name or is open exists";

impl Machine {
    fn used_bytes(&self) -> u64 {
        self.names.files().map(|(_, id)| self.inodes[id].room_bytes()).sum()
    }

    fn path_of(&self, subject: Subject<'_>) -> PathBuf {
        match subject {
            Subject::Path(path) => path.to_owned(),
            Subject::File(id) => {
                let named = self.names.files().find(|(_, named)| **named == id);
                named.map(|(path, _)| path.clone()).unwrap_or_default()
            }
        }
    }

    fn inode(&mut self, id: FileId) -> &mut Inode {
        self.inodes.get_mut(&id).expect(NAMED_EXIST)
    }

    /// Does `change` to a file unless it then needs more room than there is.
    fn change_within_capacity(&mut self, id: FileId, change: inode::Change) -> io::Result<()> {
        if let Some(capacity) = self.capacity {
            let needed = self.used_bytes() + self.inode(id).room_needed(&change);
            if needed > capacity {
                return Err(ErrorKind::StorageFull.into());
            }
        }
        (id, &change).hash(&mut self.history);
        self.inode(id).change(change);
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut machine = self.begin(Operation::Open, Subject::Path(path))?;
        let id = match (machine.names.find(path), mode) {
            (Ok(id), OpenMode::Create) => {
                machine.change_within_capacity(id, inode::Change::SetLen { bytes: 0 })?;
                id
            }
            (Err(error), OpenMode::Create) if error.kind() == ErrorKind::NotFound => {
                let id = FileId(machine.next_id);
                machine.names.link(path, id)?;
                machine.next_id += 1;
                machine.inodes.insert(id, Inode::default());
                ("create", path, id).hash(&mut machine.history);
                id
            }
            (found, _) => found?,
        };
        Ok(Arc::new(SimFile { disk: self.clone(), id, is_writable: mode != OpenMode::Read }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.begin(Operation::Read, Subject::Path(dir))?.names.list(dir))
    }

    fn list_dirs(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.begin(Operation::Read, Subject::Path(dir))?.names.list_dirs(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.begin(Operation::CreateDir, Subject::Path(dir))?.names.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.begin(Operation::Rename, Subject::Path(from))?;
        ("rename", from, to).hash(&mut machine.history);
        machine.names.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.begin(Operation::Remove, Subject::Path(path))?;
        ("remove", path).hash(&mut machine.history);
        machine.names.unlink(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut machine = self.begin(Operation::SyncDir, Subject::Path(dir))?;
        ("sync", dir).hash(&mut machine.history);
        machine.names.sync(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        drop(self.open(path, OpenMode::ReadWrite).or_else(|_| self.open(path, OpenMode::Create))?);
        if !self.machine.lock().locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        Ok(self.begin(Operation::Open, Subject::Path(path))?.locks.contains(path))
    }

    /// Of its capacity; a disk without one has [`UNLIMITED_BYTES`].
    fn space(&self, dir: &Path) -> io::Result<Space> {
        let machine = self.begin(Operation::Read, Subject::Path(dir))?;
        machine.names.check_dir(dir)?;
        let total_bytes = machine.capacity.unwrap_or(UNLIMITED_BYTES);
        Ok(Space { total_bytes, free_bytes: total_bytes.saturating_sub(machine.used_bytes()) })
    }
}

/// A lock that is held; ends with its process at the latest.
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut machine = self.disk.machine.lock();
        if machine.life == self.disk.life {
            machine.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    id: FileId,
    is_writable: bool,
}

impl SimFile {
    fn begin_change(&self, operation: Operation) -> io::Result<MutexGuard<'_, Machine>> {
        if !self.is_writable {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.disk.begin(operation, Subject::File(self.id))
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.disk.begin(Operation::Read, Subject::File(self.id))?.inode(self.id).read(buffer, offset))
    }

    fn write_all_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Arc<[u8]> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        match self.begin_change(Operation::Write) {
            Ok(mut machine) => machine.change_within_capacity(self.id, inode::Change::Write { offset, bytes }),
            Err(error) => {
                self.write_part(&bytes, offset);
                Err(error)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.disk.begin(Operation::Sync, Subject::File(self.id)) {
            Ok(mut machine) => {
                ("sync", self.id).hash(&mut machine.history);
                machine.inode(self.id).sync();
                Ok(())
            }
            Err(error) => {
                self.sync_part();
                Err(error)
            }
        }
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut machine = self.begin_change(Operation::Allocate)?;
        machine.change_within_capacity(self.id, inode::Change::Allocate { bytes })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut machine = self.begin_change(Operation::SetLen)?;
        machine.change_within_capacity(self.id, inode::Change::SetLen { bytes })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.begin(Operation::Read, Subject::File(self.id))?.inode(self.id).len())
    }
}

impl SimFile {
    /// A write that fails has written any first part of its bytes.
    fn write_part(&self, bytes: &[u8], offset: u64) {
        let machine = &mut *self.disk.machine.lock();
        if machine.life != self.disk.life || !self.is_writable || !machine.faults.take_partial() {
            return;
        }
        let count = machine.rng.usize(0..=bytes.len());
        if count > 0 {
            let part = inode::Change::Write { offset, bytes: bytes[..count].into() };
            // No room for the part means that none of it was written.
            let _ = machine.change_within_capacity(self.id, part);
        }
    }

    /// A sync that fails has saved any part, and nothing will save the rest. Source: Linux, "fsyncgate" (PostgreSQL
    /// wiki, "Fsync Errors"): the pages are marked clean. One whose process dies in it has lost nothing yet.
    fn sync_part(&self) {
        let machine = &mut *self.disk.machine.lock();
        let is_error = machine.life == self.disk.life && !machine.faults.is_dead();
        if !is_error || !machine.faults.take_partial() {
            return;
        }
        let kept_percent = machine.rng.u8(0..=100);
        let inode = machine.inodes.get_mut(&self.id).expect(NAMED_EXIST);
        inode.sync_some(&mut machine.rng, kept_percent);
    }
}

#[cfg(test)]
mod tests;
