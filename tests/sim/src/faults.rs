//! What goes wrong besides death: kinds of faults, each switched on by the seed by itself.
//!
//! A seed's faults are a function of the seed alone, so that a failure can be told with them.

use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::disk::OpenMode;
use env::sim::{Failure, Operation, SimDisk, World};
use env::{Disk, File};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A write fails and is done in part.
    Write,
    /// A sync fails and has saved a part; the rest is lost though readers see it.
    Sync,
    /// A read fails, and succeeds when it is tried again.
    Read,
    /// A segment of the log cannot be read for the rest of a life.
    BadSegment,
    /// Something else fails: opening, reserving room, renaming, removing.
    OtherCall,
    /// The disk has little room left, and later room again.
    FullDisk,
    /// The wall clock jumps, by seconds to hours, forward or back.
    ClockJump,
    /// Bits flip in derived files (checkpoints, index runs, timer runs) while no process runs.
    Rot,
    /// Derived files are cut off or vanish while no process runs.
    LostFile,
    /// Another process opens the directory.
    SecondProcess,
    /// A bit of a message's body flips in the log, in the end, when no process runs.
    LogRot,
    /// A connection between two brokers is cut. As all that follow: only where there are several.
    Cut,
    /// For a while nothing that one broker says reaches the other, or neither reaches the other.
    Partition,
    /// A process does nothing for a while.
    Pause,
    /// A slave dies, and is started again.
    SlaveDeath,
    /// A machine is lost with its disk, and another takes its place.
    LostMachine,
    /// Nobody leads the controllers for a while.
    Leaderless,
}

impl Fault {
    /// All there are.
    pub const ALL: [Self; 17] = [
        Self::Write,
        Self::Sync,
        Self::Read,
        Self::BadSegment,
        Self::OtherCall,
        Self::FullDisk,
        Self::ClockJump,
        Self::Rot,
        Self::LostFile,
        Self::SecondProcess,
        Self::LogRot,
        Self::Cut,
        Self::Partition,
        Self::Pause,
        Self::SlaveDeath,
        Self::LostMachine,
        Self::Leaderless,
    ];

    /// One seed in so many has it. Those that end a life's work are rarer, lest others never get to strike.
    fn one_in(self) -> u8 {
        match self {
            Self::Write | Self::Sync | Self::OtherCall => 6,
            Self::BadSegment | Self::FullDisk | Self::SecondProcess => 5,
            Self::Read | Self::ClockJump | Self::Rot | Self::LostFile | Self::LogRot => 4,
            Self::Cut | Self::Partition | Self::Pause | Self::SlaveDeath | Self::LostMachine | Self::Leaderless => 2,
        }
    }

    /// The calls of which one fails, if that is what the fault does; and how many of them a life makes, about.
    fn calls(self) -> Option<(&'static [Operation], u32)> {
        match self {
            Self::Write => Some((&[Operation::Write], 150)),
            Self::Sync => Some((&[Operation::Sync, Operation::SyncDir], 40)),
            Self::Read => Some((&[Operation::Read], 60)),
            Self::OtherCall => Some((
                &[Operation::Open, Operation::Allocate, Operation::Rename, Operation::Remove, Operation::SetLen],
                20,
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write error",
            Self::Sync => "sync error",
            Self::Read => "read error",
            Self::BadSegment => "unreadable segment",
            Self::OtherCall => "error of another call",
            Self::FullDisk => "full disk",
            Self::ClockJump => "clock jump",
            Self::Rot => "bit rot",
            Self::LostFile => "lost file",
            Self::SecondProcess => "second process",
            Self::LogRot => "bit rot in the log",
            Self::Cut => "cut connection",
            Self::Partition => "partition",
            Self::Pause => "pause",
            Self::SlaveDeath => "death of a slave",
            Self::LostMachine => "lost machine",
            Self::Leaderless => "controllers without a leader",
        })
    }
}

/// The faults that a seed has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeSet<Fault>);

impl Faults {
    /// Those of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self(Fault::ALL.into_iter().filter(|fault| rng.u8(..fault.one_in()) == 0).collect())
    }

    /// Whether the seed has it.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// Makes single calls of the process fail that is about to start, in most of its lives.
    pub fn prepare(&self, disk: &SimDisk, rng: &mut fastrand::Rng) {
        for fault in &self.0 {
            let Some((operations, calls_max)) = fault.calls() else { continue };
            if rng.u8(..4) == 0 {
                continue;
            }
            let operation = *rng.choice(operations).expect("not empty");
            let kind = *rng.choice(&[ErrorKind::Other, ErrorKind::StorageFull]).expect("not empty");
            let count = if *fault == Fault::Read { rng.u32(1..4) } else { 1 };
            (0..count).for_each(|_| disk.fail(operation, rng.u32(..calls_max), kind));
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        if names.is_empty() { f.write_str("death alone") } else { f.write_str(&names.join(", ")) }
    }
}

/// Which kind of fault a failure was.
#[must_use]
pub fn kind_of(failure: &Failure, unreadable: Option<&Path>) -> Fault {
    match failure.operation {
        Operation::Write => Fault::Write,
        Operation::Sync | Operation::SyncDir => Fault::Sync,
        Operation::Read if unreadable == Some(&*failure.path) => Fault::BadSegment,
        Operation::Read => Fault::Read,
        _ => Fault::OtherCall,
    }
}

/// Whether a failure is one that a store must not go on after: of a write or sync of the log.
#[must_use]
pub fn is_final(failure: &Failure, dir: &Path) -> bool {
    let is_write = matches!(failure.operation, Operation::Write | Operation::Sync | Operation::SyncDir);
    is_write && failure.path.starts_with(commit_log(dir))
}

fn commit_log(dir: &Path) -> PathBuf {
    dir.join("commitlog")
}

/// Makes one of the log's segments unreadable, if there are any; returns which.
pub fn break_segment(disk: &SimDisk, dir: &Path, rng: &mut fastrand::Rng) -> Option<PathBuf> {
    let dir = commit_log(dir);
    let segments: Vec<String> = disk.names(&dir).into_iter().filter(|name| name.parse::<u64>().is_ok()).collect();
    let path = dir.join(rng.choice(segments)?);
    disk.make_unreadable(&path).ok().map(|()| path)
}

/// Most files that are damaged between two lives.
const DAMAGED_MAX: u32 = 4;
/// Most bits that flip in one of them.
const FLIPS_MAX: u32 = 20;

/// Damages derived files between two lives, durably; returns what was done how often.
pub fn damage(faults: &Faults, world: &World, dir: &Path, rng: &mut fastrand::Rng) -> Vec<Fault> {
    let disk = world.disk();
    let mut done = Vec::new();
    for fault in [Fault::Rot, Fault::LostFile] {
        if !faults.has(fault) || rng.u8(..3) == 0 {
            continue;
        }
        for _ in 0..rng.u32(1..=DAMAGED_MAX) {
            let dir = dir.join(*rng.choice(&["checkpoints", "queueindex", "timers"]).expect("not empty"));
            let Some(name) = rng.choice(disk.names(&dir)) else { continue };
            let path = dir.join(name);
            match fault {
                Fault::Rot => disk.flip_bits(&path, rng.u32(1..=FLIPS_MAX)),
                _ if rng.bool() => disk.remove(&path).and_then(|()| disk.sync_dir(&dir)),
                _ => cut(&disk, &path, rng),
            }
            .expect("no fault is due between two lives");
            done.push(fault);
        }
    }
    done
}

/// Removes all derived files, durably; returns how many.
pub fn lose_all(world: &World, dir: &Path) -> u64 {
    let disk = world.disk();
    let mut count = 0;
    for dir in ["checkpoints", "queueindex", "timers"].map(|sub| dir.join(sub)) {
        for name in disk.names(&dir) {
            disk.remove(&dir.join(name)).expect("no fault is due between two lives");
            count += 1;
        }
        // A directory that was never made has nothing to lose.
        if count > 0 {
            disk.sync_dir(&dir).expect("no fault is due between two lives");
        }
    }
    count
}

fn cut(disk: &SimDisk, path: &Path, rng: &mut fastrand::Rng) -> std::io::Result<()> {
    let file: Arc<dyn File> = disk.open(path, OpenMode::ReadWrite)?;
    let bytes = file.len()?;
    file.set_len(rng.u64(..=bytes))?;
    file.sync_data()
}
