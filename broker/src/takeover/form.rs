//! Whose directory it is, by the names of its files, and the modes of Apache's that cannot be taken over.

use std::ffi::OsStr;
use std::path::Path;

use env::Disk;
use env::disk::OpenMode;
use store::FileError;
use types::{PhysicalOffset, QueueId, QueueOffset};

use super::failed;
use crate::request_modes;

/// Whose directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A server of ours wrote it.
    Ours,
    /// An Apache broker wrote it.
    Apache,
    /// Neither: there is no log and no configuration of a broker.
    Neither,
}

/// What stands in the way of taking a directory over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its broker runs.
    #[error("a broker uses the directory: stop it first")]
    InUse,
    /// There is no CommitLog below the directory.
    #[error("commitlog/ holds no segment: the log is elsewhere (storePathCommitLog) or was never written")]
    NoLog,
    /// Segments are missing between others.
    #[error(
        "the log has a gap behind {after}: its segments lie on several paths (storePathCommitLog) or some are lost"
    )]
    Gap {
        /// Name of the last segment before the gap.
        after: u64,
    },
    /// A part of the log is not readable although records follow.
    #[error("the log is damaged at {at}: {problem}")]
    Damaged {
        /// Where.
        at: PhysicalOffset,
        /// What is wrong.
        problem: String,
    },
    /// A queue does not go on where it ended.
    #[error(
        "queue {queue} of {topic} goes on at {found} instead of {expected} (record at {at}): the topic was deleted and made \
         anew; wait until the records before have expired"
    )]
    QueueBroken {
        /// The topic.
        topic: String,
        /// The queue.
        queue: QueueId,
        /// The offset that had to come.
        expected: QueueOffset,
        /// The offset that is there.
        found: QueueOffset,
        /// Where.
        at: PhysicalOffset,
    },
    /// Queues in RocksDB.
    #[error("queues are in RocksDB (storeType=defaultRocksDB, consumequeue/CURRENT)")]
    RocksDbQueues,
    /// Topics, groups or offsets in RocksDB.
    #[error("the configuration is in RocksDB ({dir}/)")]
    RocksDbConfig {
        /// Where, from the directory on.
        dir: String,
    },
    /// Un-acked pops in RocksDB.
    #[error("un-acked messages are in RocksDB (popConsumerKVServiceEnable, kvStore/)")]
    RocksDbPops,
    /// Delayed messages, halves or keys in RocksDB.
    #[error("messages are in RocksDB (timerRocksDBEnable, transRocksDBEnable or indexRocksDBEnable, rocksdbstore/)")]
    RocksDbMessages,
    /// A log replicated by DLedger.
    #[error("the log is DLedger's (enableDLegerCommitLog, {dir}/)")]
    DLedger {
        /// Its folder.
        dir: String,
    },
    /// A topic whose queue index is of batches.
    #[error("topic {topic} has batch queues (queue.type=BatchCQ)")]
    BatchQueues {
        /// The topic.
        topic: String,
    },
    /// A topic of which only the newest message of each key is kept.
    #[error("topic {topic} is compacted (cleanup.policy=COMPACTION)")]
    Compaction {
        /// The topic.
        topic: String,
    },
    /// A topic whose queues are mapped over several brokers.
    #[error("topic {topic} is static (topicQueueMapping.json)")]
    StaticTopic {
        /// The topic.
        topic: String,
    },
    /// A setting that we cannot hold.
    #[error("{what} {name}: {problem}")]
    Setting {
        /// `topic`, `group` or `offset of`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A file that is not what it should be, without a usable copy.
    #[error("{file} cannot be read: {problem}")]
    Unreadable {
        /// The file, from the directory on.
        file: String,
        /// What is wrong.
        problem: String,
    },
}

/// What the names of a directory's files say.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// Whose it is.
    pub kind: Kind,
    /// What stands in the way, as far as names tell.
    pub refusals: Vec<Refusal>,
}

/// Tells that a folder is RocksDB's: the file that names the newest state. Source: RocksDB `CurrentFileName`.
const ROCKSDB_CURRENT: &str = "CURRENT";
/// Configuration in RocksDB, of both versions. Source: Apache `broker.config.v1`, `broker.config.v2.ConfigStorage`.
const ROCKSDB_CONFIGS: [&str; 4] = ["topics", "subscriptionGroups", "consumerOffsets", "rdb"];
/// A database that 5.5 makes always and uses only in some modes. Source: Apache `MessageRocksDBStorage`, measured.
const ROCKSDB_MESSAGES: &str = "rocksdbstore";
const DLEDGER_PREFIX: &str = "dledger-";

impl Form {
    /// Looks at the names in a directory.
    ///
    /// # Errors
    /// [`FileError`] when the system refuses to show a folder.
    pub fn find(disk: &dyn Disk, dir: &Path) -> Result<Self, FileError> {
        let files = disk.list(dir).map_err(failed("list", dir))?;
        if files.iter().any(|name| name == "format") {
            return Ok(Self { kind: Kind::Ours, refusals: Vec::new() });
        }
        let dirs = disk.list_dirs(dir).map_err(failed("list", dir))?;
        let mut refusals = Vec::new();
        for name in dirs.iter().filter(|name| name.starts_with(DLEDGER_PREFIX)) {
            refusals.push(Refusal::DLedger { dir: name.clone() });
        }
        refusals.extend(rocksdb(disk, dir)?);
        let segments = segments(disk, dir)?;
        // That file is ours too.
        let is_theirs = |name: &String| name != request_modes::FILE_NAME;
        let has_config = list(disk, &dir.join("config"))?.iter().any(is_theirs);
        let is_apaches = has_config || !refusals.is_empty();
        if !is_apaches && segments.is_empty() {
            return Ok(Self { kind: Kind::Neither, refusals });
        }
        // A log of ours whose format file was lost: a start finds the segments' length by their names. An import that was cut
        // short, and a handing back, leave an index but no checkpoint.
        let has_checkpoints = !list(disk, &dir.join("checkpoints"))?.is_empty();
        if has_checkpoints || (!is_apaches && dirs.iter().any(|name| name == "queueindex")) {
            return Ok(Self { kind: Kind::Ours, refusals: Vec::new() });
        }
        refusals.extend(log(&segments));
        let lock = dir.join("lock");
        if disk.is_locked(&lock).map_err(failed("look at", &lock))? {
            refusals.insert(0, Refusal::InUse);
        }
        Ok(Self { kind: Kind::Apache, refusals })
    }
}

fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, FileError> {
    disk.list(dir).map_err(failed("list", dir))
}

/// First positions of the log's segments, ascending, by their names of 20 digits.
///
/// # Errors
/// [`FileError`] when the system refuses to show the folder.
pub(crate) fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, FileError> {
    const NAME_DIGITS: usize = 20;
    let names = list(disk, &dir.join("commitlog"))?;
    let is_segment = |name: &&String| name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    Ok(names.iter().filter(is_segment).filter_map(|name| name.parse().ok()).collect())
}

/// What the segments' positions say. Each must follow the one before by the same length.
fn log(segments: &[u64]) -> Option<Refusal> {
    let [first, rest @ ..] = segments else { return Some(Refusal::NoLog) };
    let second = rest.first()?;
    let mut pairs = segments.iter().zip(rest);
    let gap = pairs.find(|(before, next)| *next - *before != second - first)?.0;
    Some(Refusal::Gap { after: *gap })
}

fn rocksdb(disk: &dyn Disk, dir: &Path) -> Result<Vec<Refusal>, FileError> {
    let is_database = |path: &str| -> Result<bool, FileError> {
        Ok(list(disk, &dir.join(path))?.iter().any(|name| name == ROCKSDB_CURRENT))
    };
    let mut refusals = Vec::new();
    if is_database("consumequeue")? {
        refusals.push(Refusal::RocksDbQueues);
    }
    for name in ROCKSDB_CONFIGS {
        let config = format!("config/{name}");
        if is_database(&config)? {
            refusals.push(Refusal::RocksDbConfig { dir: config });
        }
    }
    if is_database("kvStore")? {
        refusals.push(Refusal::RocksDbPops);
    }
    if holds_entries(disk, &dir.join(ROCKSDB_MESSAGES))? {
        refusals.push(Refusal::RocksDbMessages);
    }
    Ok(refusals)
}

/// Whether anything was ever put into a RocksDB database: it has a table, or something in its log.
fn holds_entries(disk: &dyn Disk, dir: &Path) -> Result<bool, FileError> {
    for name in list(disk, dir)? {
        let path = dir.join(&name);
        let extension = path.extension().and_then(OsStr::to_str);
        if extension == Some("sst") {
            return Ok(true);
        }
        if extension == Some("log") {
            let file = disk.open(&path, OpenMode::Read).map_err(failed("open", &path))?;
            if file.len().map_err(failed("measure", &path))? > 0 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
