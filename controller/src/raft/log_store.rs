//! The log, the vote and the newest snapshot of a controller, in one redb file: synced before they are answered.
//!
//! | table  | key                | value |
//! |--------|--------------------|-------|
//! | `meta` | `format`           | `1`: the version of this table |
//! | `meta` | `vote`, `purged`   | JSON of openraft's `Vote` and `LogId` |
//! | `meta` | `snapshot-meta`, `snapshot` | JSON of `SnapshotMeta` and of the state |
//! | `log`  | the entry's index  | JSON of `Entry` |

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::Env;
use env::disk::{File, OpenMode};
use openraft::error::Fatal;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{
    AnyError, BasicNode, Entry, ErrorSubject, ErrorVerb, LogId, OptionalSend, RaftLogId, RaftLogReader, SnapshotMeta,
    StorageError, StorageIOError, Vote,
};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Types;

const FILE: &str = "controller.redb";
/// Until it is whole for the first time.
const NEW_FILE: &str = "controller.redb.new";
const FORMAT: &[u8] = b"1";
/// What it keeps of the file in memory.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const SNAPSHOT_META: &str = "snapshot-meta";
const SNAPSHOT: &str = "snapshot";

type Meta = SnapshotMeta<u64, BasicNode>;

/// Why a controller cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be made or opened.
    #[error("cannot open {}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be used.
    #[error("cannot use {}: {source}", file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// What redb said.
        source: redb::Error,
    },
    /// It was written by another version.
    #[error("{} has format {found:?}, expected \"1\": it was written by a newer version", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What it says.
        found: String,
    },
    /// What is in it makes no sense.
    #[error("what the controller has written cannot be read: {0}")]
    Content(AnyError),
    /// It does not run.
    #[error("the controller has failed: {0}")]
    Failed(Box<Fatal<u64>>),
    /// The group has other controllers than the configuration says.
    #[error("the group has the controllers {known:?}, the configuration says {told:?}: a group stays as it began")]
    OtherPeers {
        /// Their numbers.
        known: BTreeSet<u64>,
        /// What was expected.
        told: BTreeSet<u64>,
    },
}

impl From<Fatal<u64>> for OpenError {
    fn from(fatal: Fatal<u64>) -> Self {
        Self::Failed(Box::new(fatal))
    }
}

/// The file; copies are the same.
#[derive(Clone, Debug)]
pub(crate) struct LogStore(Arc<Database>);

impl LogStore {
    /// Opens the file in this folder, or makes it. Blocks.
    pub(crate) fn open(env: &Env, folder: &Path) -> Result<Self, OpenError> {
        let file = folder.join(FILE);
        let system = |source| OpenError::File { file: file.clone(), source };
        let database = |source: redb::Error| OpenError::Database { file: file.clone(), source };
        env.disk.create_dir_all(folder).map_err(system)?;
        if !env.disk.list(folder).map_err(system)?.iter().any(|name| name == FILE) {
            let new = folder.join(NEW_FILE);
            let opened = env.disk.open(&new, OpenMode::Create).map_err(system)?;
            begin(opened).map_err(database)?;
            env.disk.rename(&new, &file).map_err(system)?;
            env.disk.sync_dir(folder).map_err(system)?;
        }
        let opened = env.disk.open(&file, OpenMode::ReadWrite).map_err(system)?;
        let store = Self(Arc::new(database_in(opened).map_err(database)?));
        let format = store.get_bytes("format").map_err(database)?.unwrap_or_default();
        if format != FORMAT {
            return Err(OpenError::Format { file, found: String::from_utf8_lossy(&format).into_owned() });
        }
        Ok(store)
    }

    /// The newest snapshot. Blocks, as all reads: the file is small and mostly in memory.
    pub(crate) fn snapshot(&self) -> Result<Option<(Meta, Vec<u8>)>, AnyError> {
        let snapshot = self.get_bytes(SNAPSHOT).map_err(|error| AnyError::new(&error))?;
        Ok(self.get(SNAPSHOT_META)?.zip(snapshot))
    }

    /// Keeps a snapshot in the place of the one before; on the disk on return. One that is older than what is kept is left: it was begun
    /// before that was sent by the leader, and the entries between them are gone.
    pub(crate) async fn save_snapshot(&self, meta: &Meta, snapshot: Vec<u8>) -> Result<(), AnyError> {
        let (up_to, meta) = (meta.last_log_id, json(meta));
        self.write(move |writing| {
            let mut table = writing.open_table(META)?;
            let kept = table.get(SNAPSHOT_META)?.and_then(|kept| serde_json::from_slice::<Meta>(kept.value()).ok());
            if kept.is_none_or(|kept| kept.last_log_id <= up_to) {
                table.insert(SNAPSHOT_META, meta.as_slice())?;
                table.insert(SNAPSHOT, snapshot.as_slice())?;
            }
            Ok(())
        })
        .await
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, AnyError> {
        let bytes = self.get_bytes(key).map_err(|error| AnyError::new(&error))?;
        bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(|error| AnyError::new(&error))
    }

    fn get_bytes(&self, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = self.0.begin_read()?.open_table(META)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    async fn set(&self, key: &'static str, value: Vec<u8>) -> Result<(), AnyError> {
        self.write(move |writing| Ok(writing.open_table(META)?.insert(key, value.as_slice()).map(drop)?)).await
    }

    /// Changes the file; all of it or nothing, and on the disk on return.
    async fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error> + Send + 'static,
    ) -> Result<(), AnyError> {
        let database = self.0.clone();
        let written = env::blocking(move || {
            let writing = database.begin_write()?;
            change(&writing)?;
            writing.commit().map_err(redb::Error::from)
        });
        written.await.map_err(|error| AnyError::new(&error))
    }

    fn entries(&self, range: impl RangeBounds<u64>) -> Result<Vec<Entry<Types>>, AnyError> {
        let stored = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = self.0.begin_read()?.open_table(LOG)?;
            table.range(range)?.map(|entry| Ok(entry?.1.value().to_vec())).collect()
        };
        let stored = stored().map_err(|error| AnyError::new(&error))?;
        stored.iter().map(|entry| serde_json::from_slice(entry).map_err(|error| AnyError::new(&error))).collect()
    }

    fn last(&self) -> Result<Option<LogId<u64>>, AnyError> {
        let last = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.0.begin_read()?.open_table(LOG)?;
            Ok(table.last()?.map(|(_, entry)| entry.value().to_vec()))
        };
        let Some(last) = last().map_err(|error| AnyError::new(&error))? else { return Ok(None) };
        let entry: Entry<Types> = serde_json::from_slice(&last).map_err(|error| AnyError::new(&error))?;
        Ok(Some(entry.log_id))
    }
}

/// Makes what every file has.
fn begin(file: Arc<dyn File>) -> Result<(), redb::Error> {
    let database = database_in(file)?;
    let writing = database.begin_write()?;
    writing.open_table(META)?.insert("format", FORMAT)?;
    writing.open_table(LOG)?;
    Ok(writing.commit()?)
}

fn database_in(file: Arc<dyn File>) -> Result<Database, redb::Error> {
    Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(OnDisk(file))?)
}

/// JSON of what openraft gives.
pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("has a JSON form")
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry<Types>>, StorageError<u64>> {
        let bounds: (Bound<u64>, Bound<u64>) = (range.start_bound().cloned(), range.end_bound().cloned());
        self.entries(bounds).map_err(|error| StorageIOError::read_logs(error).into())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError<u64>> {
        let state = || -> Result<LogState<Types>, AnyError> {
            let last_purged_log_id = self.get(PURGED)?;
            Ok(LogState { last_purged_log_id, last_log_id: self.last()?.or(last_purged_log_id) })
        };
        state().map_err(|error| StorageIOError::read_logs(error).into())
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), StorageError<u64>> {
        let saved = self.set(VOTE, json(vote)).await;
        saved.map_err(|error| StorageIOError::write_vote(error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, StorageError<u64>> {
        self.get(VOTE).map_err(|error| StorageIOError::read_vote(error).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().map(|entry| (entry.get_log_id().index, json(&entry))).collect();
        let written = self.write(move |writing| {
            let mut table = writing.open_table(LOG)?;
            entries.iter().try_for_each(|(index, entry)| table.insert(*index, entry.as_slice()).map(drop))?;
            Ok(())
        });
        written.await.map_err(StorageIOError::write_logs)?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let removed =
            self.write(move |writing| Ok(writing.open_table(LOG)?.retain_in(log_id.index.., |_, _| false)?));
        removed.await.map_err(|error| removal(log_id, error))
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Result<(), StorageError<u64>> {
        let removed = self.write(move |writing| {
            writing.open_table(META)?.insert(PURGED, json(&log_id).as_slice())?;
            Ok(writing.open_table(LOG)?.retain_in(..=log_id.index, |_, _| false)?)
        });
        removed.await.map_err(|error| removal(log_id, error))
    }
}

fn removal(log_id: LogId<u64>, error: AnyError) -> StorageError<u64> {
    StorageIOError::new(ErrorSubject::Log(log_id), ErrorVerb::Delete, error).into()
}

/// A file of the disk seam, as redb wants it.
struct OnDisk(Arc<dyn File>);

impl Debug for OnDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnDisk")
    }
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // Fewer only behind the file's end.
        if self.0.read_at(out, offset)? < out.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(&[IoSlice::new(data)], offset)
    }
}

#[cfg(test)]
mod tests;
