//! Making a directory of ours Apache's.
//!
//! Order, each step durable before the next: what Apache must read in the log (`append`), its configuration (`settings`), its
//! derived files away so that it makes them from the log, the format file away. Until that is gone the directory is ours and
//! the handing back can be done again.
//! Source of what Apache does with it: `TimerMessageStore.recover`, `TransactionalMessageServiceImpl.check`,
//! `DefaultMessageStore.recover`; shown with 5.5.0 by `cargo xtask test --full`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::{Disk, Env};
use store::inspect::{Progress, Watcher};
use store::{FileError, OpenError, Store};
use types::{QueueOffset, Timestamp};

use super::append::{Appender, NotAppended};
use super::told::{System, next_offset, of_transactions};
use super::{Form, Kind, consume_queue, failed, settings};
use crate::journal::{self, Event};
use crate::machines::Machines;
use crate::options::Options;
use crate::replication::mark::Mark;
use crate::timer::spill::{Loader, Read};
use crate::timer::{WHEEL_TOPIC, Waits, due};
use crate::transaction::{HALF_TOPIC, OP_BODY_BYTES_MAX, OP_TOPIC, op_body};

/// Folders whose files Apache makes again from the log.
const DERIVED_FOLDERS: [&str; 5] = ["consumequeue", "consumequeue_ext", "batchconsumequeue", "index", "timerlog"];
/// Files that Apache makes again, or that say of its earlier life what is not true any more; by folder.
const DERIVED_FILES: [(&str, &[&str]); 2] = [
    ("", &["checkpoint", "timerwheel"]),
    (
        "config",
        &[
            "timermetrics",
            "timermetrics.bak",
            "transactionMetrics",
            "transactionMetrics.bak",
            "consumerOrderInfo.json",
            "consumerOrderInfo.json.bak",
        ],
    ),
];
/// Tells Apache that it was not stopped cleanly: it then reads the whole log. Source: Apache `DefaultMessageStore.load`.
const ABORT: &str = "abort";
/// Length of `config/timercheck`. Source: Apache `TimerCheckpoint`.
const TIMERCHECK_BYTES: usize = 4096;

/// What was handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedBack {
    /// Length of the log's segments: Apache's `mappedFileSizeCommitLog` must be the same.
    pub segment_bytes: u64,
    /// Topics.
    pub topics: usize,
    /// Consumer groups.
    pub groups: usize,
    /// Messages that wait for a time.
    pub timers: usize,
    /// Half messages without an outcome.
    pub halves: usize,
    /// Messages that groups have begun and not finished: Apache delivers them, and what was finished behind them, again.
    pub unfinished: u64,
    /// Bytes that were added to the log.
    pub added_bytes: u64,
}

/// Why a directory is not handed back. It is still ours.
#[derive(Debug, thiserror::Error)]
pub enum HandBackError {
    /// It is not ours.
    #[error("it is not a directory of ours")]
    NotOurs {
        /// Whose it is.
        kind: Kind,
    },
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its log cannot be added to.
    #[error(transparent)]
    Append(#[from] NotAppended),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Hands a directory back on which no server runs. On return it is Apache's and all of it is durable.
///
/// # Errors
/// [`HandBackError`].
pub async fn hand_back(env: &Env, dir: &Path, watcher: &mut Watcher<'_>) -> Result<HandedBack, HandBackError> {
    let disk = &*env.disk;
    let kind = Form::find(disk, dir)?.kind;
    if kind != Kind::Ours {
        return Err(HandBackError::NotOurs { kind });
    }
    Mark::remove(disk, dir)?;
    let options = Options::local(dir.to_owned());
    let mut machines = Machines::new(options.transaction);
    let store = Store::open(env, &options.store(), &mut machines)?;
    let begin = store.marks().appended_to();
    let mut appender = Appender::new(env, &options, store);
    let wheel_offset = next_offset(&appender.store, WHEEL_TOPIC);
    let mut journal = journal::Pending::new(appender.store.segment_bytes());
    journal.push(&Event::HandedBack);
    appender.journal(&mut journal).await?;
    let loader = Loader::new(Arc::clone(&env.disk), dir, appender.store.scanner());
    let timers = append_timers(&mut appender, &machines, &loader, watcher).await?;
    let transactions = append_ops(&mut appender, &machines).await?;
    let now = appender.now;
    let (store, end) = appender.durable().await?;

    let config = dir.join("config");
    disk.create_dir_all(&config).map_err(failed("create directory", &config))?;
    let System { revived, levels } = System::of(&store);
    let mut offsets = settings::offset_table(&machines);
    offsets.extend(revived.into_iter().chain(transactions));
    for (name, content) in settings::files(disk, dir, &machines, &offsets, &levels, now)? {
        store::put_file(disk, &config, name, &content)?;
    }
    store::put_file(disk, &config, "timercheck", &timercheck(now, wheel_offset))?;
    let index_bytes = consume_queue::file_bytes(disk, dir)?;
    remove_derived(disk, dir)?;
    store.drop_reserve()?;
    consume_queue::write_queues(disk, dir, &store, index_bytes)?;
    store::put_file(disk, dir, ABORT, b"0")?;
    store::disown(disk, dir)?;
    let segment_bytes = store.segment_bytes();
    store.abandon().await;
    Ok(HandedBack {
        segment_bytes,
        topics: machines.catalog.topics().len(),
        groups: machines.catalog.groups().len(),
        timers,
        halves: machines.transactions.len(),
        unfinished: machines.pop.unfinished(),
        added_bytes: end.0 - begin.0,
    })
}

/// What waits for a time is appended again: Apache's wheel begins to read its topic there.
async fn append_timers(
    appender: &mut Appender,
    machines: &Machines,
    loader: &Loader,
    watcher: &mut Watcher<'_>,
) -> Result<usize, NotAppended> {
    let timer = &machines.timer;
    let (mut appended, mut done_bytes, mut total_bytes) = (0, 0, 0);
    let mut waiting: Vec<Waits> = timer.held().collect();
    let mut parts = timer.all_parts().into_iter();
    loop {
        // Known part by part, so that memory follows the longest.
        total_bytes += waiting.iter().map(|waits| u64::from(waits.record_bytes)).sum::<u64>();
        for waits in waiting.drain(..) {
            watcher(Progress { work: "appending delayed messages", done_bytes, total_bytes });
            appender.wait_on(waits).await?;
            appended += 1;
            done_bytes += u64::from(waits.record_bytes);
        }
        let Some(part) = parts.next() else { return Ok(appended) };
        let Read { value, problem, .. } = loader.read(part, &|| true);
        if let Some(problem) = problem {
            return Err(NotAppended::Copy(problem));
        }
        let entries = value.iter().flat_map(|(_, entries)| entries.iter().copied());
        waiting.extend(entries.filter(|waits| timer.is_waiting(waits.due, waits.offset)));
    }
}

/// Apache looks at half messages from the first that waits on, and at op records from here on: they name all that have ended
/// since. Returns both offsets.
async fn append_ops(
    appender: &mut Appender,
    machines: &Machines,
) -> Result<[(String, BTreeMap<u32, u64>); 2], NotAppended> {
    let (half_end, op_offset) = (next_offset(&appender.store, HALF_TOPIC), next_offset(&appender.store, OP_TOPIC));
    let mut waiting = machines.transactions.waiting().peekable();
    let first = waiting.peek().copied().unwrap_or(half_end);
    let mut body = String::new();
    for offset in (first.0..half_end.0).map(QueueOffset) {
        if waiting.next_if_eq(&offset).is_some() {
            continue;
        }
        let ended = op_body(offset);
        if body.len() + ended.len() > OP_BODY_BYTES_MAX {
            appender.op(std::mem::take(&mut body)).await?;
        }
        body.push_str(&ended);
    }
    if !body.is_empty() {
        appender.op(body).await?;
    }
    Ok([of_transactions(HALF_TOPIC, first), of_transactions(OP_TOPIC, op_offset)])
}

/// The wheel is empty, begins with now's slot, before which it would never look, and reads its topic from an offset on. Numbers as in
/// `config`.
fn timercheck(now: Timestamp, wheel_offset: QueueOffset) -> Vec<u8> {
    let read_to = due::slot_of(now).0;
    let offset = i64::try_from(wheel_offset.0).unwrap_or(i64::MAX);
    // Read to, position in the timerlog, offset, the same of a master; then a version.
    let mut bytes: Vec<u8> = [read_to, 0, offset, offset].iter().flat_map(|number| number.to_be_bytes()).collect();
    bytes.resize(TIMERCHECK_BYTES, 0);
    bytes
}

/// Removes what Apache makes again; folders stay, empty.
fn remove_derived(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    for (folder, names) in DERIVED_FILES {
        remove(disk, &dir.join(folder), |name| names.contains(&name))?;
    }
    DERIVED_FOLDERS.iter().try_for_each(|name| empty(disk, dir.join(name)))
}

/// Removes the files of a folder and of those in it, durably; the folders stay.
///
/// # Errors
/// [`FileError`].
pub(crate) fn empty(disk: &dyn Disk, folder: PathBuf) -> Result<(), FileError> {
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        remove(disk, &folder, |_| true)?;
        let inside = disk.list_dirs(&folder).map_err(failed("list", &folder))?;
        folders.extend(inside.iter().map(|name| folder.join(name)));
    }
    Ok(())
}

/// Removes files of a folder, durably.
fn remove(disk: &dyn Disk, folder: &Path, is_unwanted: impl Fn(&str) -> bool) -> Result<(), FileError> {
    let names = disk.list(folder).map_err(failed("list", folder))?;
    let unwanted: Vec<_> = names.iter().filter(|name| is_unwanted(name)).map(|name| folder.join(name)).collect();
    for file in &unwanted {
        disk.remove(file).map_err(failed("remove", file))?;
    }
    if unwanted.is_empty() { Ok(()) } else { disk.sync_dir(folder).map_err(failed("sync", folder)) }
}
