//! Directories that Apache RocketMQ 5.5 wrote: what is in them, what stands in the way of taking them over, and doing it.
//!
//! [`Survey::of`] looks at the files' names (`form`), reads the configuration (`config`, `json`) and goes once through the
//! log (`queues`, `pending`, `pops`), without taking a lock or changing a file. [`import`] makes the directory ours, `events`
//! says by which journal events. [`hand_back`] makes it Apache's again, `settings` its configuration.
//! Source of files and formats: Apache 5.5, as `docs/takeover.md` lists them.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use env::Disk;
use store::FileError;
use store::inspect::{Directory, Error, Piece, Watcher};
use types::PhysicalOffset;

mod append;
mod config;
mod consume_queue;
mod events;
mod form;
mod hand_back;
mod import;
mod json;
mod pending;
mod pops;
mod queues;
mod read;
mod settings;
mod told;

pub use config::{Config, Progress};
pub use form::{Form, Kind, Refusal};
pub use hand_back::{HandBackError, HandedBack, hand_back};
pub use import::{ImportError, Imported, import};
pub use pending::Pending;

pub(crate) use consume_queue::{FOLDER as QUEUES_FOLDER, note_end};
pub(crate) use form::segments;
pub(crate) use hand_back::empty;
pub(crate) use json::parse as parse_json;
pub(crate) use pending::SCHEDULE_TOPIC;
use pending::{Gathering, Unfinished};
use queues::Queues;
pub(crate) use read::file;
pub(crate) use told::{OffsetTable, Told};

/// All that is known of a directory without changing it.
#[derive(Debug)]
pub struct Survey {
    /// Whose it is.
    pub kind: Kind,
    /// What stands in the way, each by name; of an Apache directory only.
    pub refusals: Vec<Refusal>,
    /// Topics, groups and offsets; of an Apache directory only.
    pub config: Config,
    /// What the log says; of an Apache directory only.
    pub log: Log,
}

/// What the way through a log met.
#[derive(Debug, Default)]
pub struct Log {
    /// Length of a segment in bytes, by the files.
    pub segment_bytes: u64,
    /// Whole records.
    pub records: u64,
    /// What was not finished when the broker ended.
    pub pending: Pending,
    /// The same, one by one.
    unfinished: Unfinished,
    /// Behind the last whole record.
    end: PhysicalOffset,
}

impl Survey {
    /// Looks at a directory. Of a running broker's it sees what was complete when it was read.
    ///
    /// # Errors
    /// [`Error`] when the system refuses to show a file or the log's form is none that can be opened.
    pub fn of(disk: &Arc<dyn Disk>, dir: &Path, watcher: &mut Watcher<'_>) -> Result<Self, Error> {
        let Form { kind, mut refusals } = Form::find(&**disk, dir)?;
        if kind != Kind::Apache {
            return Ok(Self { kind, refusals, config: Config::default(), log: Log::default() });
        }
        let config = Config::read(&**disk, dir, &mut refusals)?;
        let has_log = !refusals.iter().any(|refusal| matches!(refusal, Refusal::NoLog));
        let log = if has_log { read_log(disk, dir, &config.progress, watcher, &mut refusals)? } else { Log::default() };
        Ok(Self { kind, refusals, config, log })
    }
}

fn read_log(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    progress: &Progress,
    watcher: &mut Watcher<'_>,
    refusals: &mut Vec<Refusal>,
) -> Result<Log, Error> {
    let directory = Directory::open(disk, dir, crate::check_snapshot)?;
    let mut gathering = Gathering::new(progress);
    let (mut records, mut end, mut damage) = (0, directory.log_first(), None);
    let mut queues = Queues::new(end);
    let mut broken = None;
    let everything = PhysicalOffset(0)..PhysicalOffset(u64::MAX);
    directory.records(everything, watcher, &mut |piece| {
        match piece {
            Piece::Record(record) => {
                records += 1;
                end = record.header.physical_offset.plus(u64::from(record.header.record_bytes));
                broken = broken.take().or_else(|| queues.record(record));
                gathering.record(record);
            }
            // What a kill leaves at the log's end has no record behind it and is no damage.
            Piece::Damage { at, next: Some(_), problem } => {
                damage.get_or_insert_with(|| Refusal::Damaged { at, problem: problem.to_owned() });
            }
            Piece::Damage { next: None, .. } => {}
        }
        ControlFlow::Continue(())
    })?;
    refusals.extend(damage.into_iter().chain(broken));
    let (segment_bytes, pending) = (directory.segment_bytes(), gathering.pending());
    Ok(Log { segment_bytes, records, pending, unfinished: gathering.finish(), end })
}

/// For `map_err`: names what was tried on which path.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let path = path.to_owned();
    move |error| FileError { what, path, error }
}

#[cfg(test)]
mod tests;
