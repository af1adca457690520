//! Making an Apache directory ours, in place: nothing of its log is rewritten, what it says is added to its end.
//!
//! Order, each step durable before the next: the journal events (`events`), the format file, a checkpoint. Until the format
//! file stands the directory is Apache's and the import can be done again: its first event lets all before it count for nothing.

use std::path::Path;

use env::{Disk, Env};
use record::Record;
use store::inspect::{self, Progress, Watcher};
use store::{FileError, Machine, OpenError, RestoreError, Store};
use types::{PhysicalOffset, Timestamp};

use super::append::{Appender, NotAppended};
use super::pending::{Level, SCHEDULE_TOPIC, Unfinished};
use super::{Kind, Pending, Refusal, Survey, consume_queue, events};
use crate::journal;
use crate::machines::Machines;
use crate::options::Options;
use crate::timer::Waits;

/// What was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Records of Apache's log.
    pub records: u64,
    /// Topics.
    pub topics: usize,
    /// Consumer groups.
    pub groups: usize,
    /// Queues with a committed offset.
    pub offsets: usize,
    /// What was not finished.
    pub pending: Pending,
    /// Bytes that were added to the log.
    pub added_bytes: u64,
}

/// Why a directory is not taken over. It is still Apache's.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not Apache's.
    #[error("it is not the directory of an Apache broker")]
    NotApache {
        /// Whose it is.
        kind: Kind,
    },
    /// It cannot be taken over.
    #[error("it cannot be taken over")]
    Refused(Vec<Refusal>),
    /// It cannot be looked at.
    #[error(transparent)]
    Look(#[from] inspect::Error),
    /// Its log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its log cannot be added to.
    #[error(transparent)]
    Append(#[from] NotAppended),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Takes a directory over whose broker has stopped. Reads the log twice. On return it is ours and all of it is durable.
///
/// # Errors
/// [`ImportError`].
pub async fn import(env: &Env, dir: &Path, watcher: &mut Watcher<'_>) -> Result<Imported, ImportError> {
    let Survey { kind, refusals, config, log } = Survey::of(&env.disk, dir, watcher)?;
    if kind != Kind::Apache {
        return Err(ImportError::NotApache { kind });
    }
    if !refusals.is_empty() {
        return Err(ImportError::Refused(refusals));
    }
    let options = Options::local(dir.to_owned());
    let mut indexing = Indexing { watcher, end: log.end, told: 0 };
    let mut store = Store::open_foreign(env, &options.store(), log.end, &mut indexing)?;
    consume_queue::begin_queues(&*env.disk, dir, &config.topics, &mut store)?;

    let mut machines = Machines::new(options.transaction);
    let (mut unfinished, mut journal) = (log.unfinished, journal::Pending::new(store.segment_bytes()));
    correct_levels(&*env.disk, dir, &mut unfinished.levels)?;
    // A copy names its source by a position, and 0 names none.
    let at_zero = take_at_zero(&mut unfinished);
    events::of(&config, unfinished, &store, |event| {
        machines.apply_event(&event);
        journal.push(&event);
    });
    let mut appender = Appender::new(env, &options, store);
    appender.journal(&mut journal).await?;
    if let Some(waits) = at_zero {
        let appended = appender.wait_on(waits).await?;
        appender.apply(&appended, &mut machines);
    }
    appender.state(&machines).await?;
    let (store, end) = appender.durable().await?;
    store::claim(&*env.disk, dir, store.segment_bytes())?;
    if let Err(error) = store.close(&machines).await {
        tracing::warn!(%error, "no checkpoint was written: the first start reads the whole log");
    }
    Ok(Imported {
        records: log.records,
        topics: config.topics.len(),
        groups: config.groups.len(),
        offsets: config.offsets.len(),
        pending: log.pending,
        added_bytes: end.0 - log.end.0,
    })
}

/// What waits at the log's first byte.
fn take_at_zero(unfinished: &mut Unfinished) -> Option<Waits> {
    let is_there = |waits: &Waits| waits.offset == PhysicalOffset(0);
    let level = unfinished.levels.extract_if(.., |level| is_there(&level.waits)).next();
    level.map(|level| level.waits).or_else(|| unfinished.timers.extract_if(.., |waits| is_there(waits)).next())
}

/// Levels' times are set by the broker's configuration, which is not in the directory; its queue index has what came of them.
fn correct_levels(disk: &dyn Disk, dir: &Path, levels: &mut [Level]) -> Result<(), FileError> {
    let topic_dir = dir.join("consumequeue").join(SCHEDULE_TOPIC);
    for Level { waits, queue, offset } in levels {
        let due = consume_queue::tag(disk, &topic_dir.join(queue.to_string()), *offset, waits.offset)?;
        waits.due = due.map_or(waits.due, Timestamp);
    }
    Ok(())
}

/// Stands in for the machines while the queue index is made: Apache's records are nothing to them.
struct Indexing<'a, 'w> {
    watcher: &'a mut Watcher<'w>,
    end: PhysicalOffset,
    told: u64,
}

/// Bytes after which the watcher is told again.
const TOLD_BYTES: u64 = 1024 * 1024;

impl Machine for Indexing<'_, '_> {
    fn apply(&mut self, record: &Record<'_>) {
        let done_bytes = record.header.physical_offset.0;
        if done_bytes >= self.told + TOLD_BYTES {
            self.told = done_bytes;
            (self.watcher)(Progress { work: "making the queue index", done_bytes, total_bytes: self.end.0 });
        }
    }

    fn snapshot(&self, _: &mut Vec<u8>) {}

    /// A checkpoint that an import left which did not come to its end.
    fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        Err(RestoreError::Malformed { part: "import", problem: "it begins with the log's first record" })
    }

    fn reset(&mut self) {}
}
