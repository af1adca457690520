//! A queue read from its beginning, from the disk, beside plain reads of the same files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use env::Env;
use rustix::fs::{Advice, fadvise};
use types::{QueueId, QueueOffset};

use super::Run;
use super::append::append_batch;
use super::world::{Nothing, TOPIC, message, open};
use crate::measurement::{Measurement, Metric};
use crate::scenario::MIB;

/// Length of the log.
const LOG_BYTES: u64 = 1024 * 1024 * 1024;
const QUICK_LOG_BYTES: u64 = 4 * 1024 * 1024;
/// How often it is read, each time after the page cache forgot it: a disk that others share is slow for a while, then fast.
const PASSES: u64 = 5;
/// Records read at once, as by a pull or a receive.
const RECORDS: usize = 32;
/// Bytes that the baseline reads at once: what the store's reader takes at most.
const READ_BYTES: usize = 256 * 1024;

/// Through queue index and reader, each record checked.
pub(super) async fn ours(run: &Run) -> Result<Measurement> {
    let written = fill(run).await?;
    let mut store = open(&Env::real(), &run.directory)?;
    let reader = store.reader();
    let (mut read, mut took, mut entries) = (0, Duration::ZERO, Vec::new());
    for _ in 0..PASSES {
        drop_cache(&run.directory)?;
        let (started, mut from) = (Instant::now(), QueueOffset(0));
        loop {
            entries.clear();
            store.entries(TOPIC, QueueId(0), from, RECORDS, &mut entries)?;
            let Some(last) = entries.last() else { break };
            from = QueueOffset(last.queue_offset.0 + 1);
            let places = entries.iter().map(|entry| (entry.physical_offset, entry.record_bytes));
            for record in reader.read_all(places).await {
                read += record?.len() as u64;
            }
        }
        took += started.elapsed();
    }
    ensure!(read == PASSES * written, "{read} bytes of records were read, {PASSES} times {written} were written");
    store.abandon().await;
    Ok(measurement(read, took))
}

/// The log's files, one after the other.
pub(super) async fn baseline(run: &Run) -> Result<Measurement> {
    fill(run).await?;
    let (mut read, mut took, mut buffer) = (0, Duration::ZERO, vec![0; READ_BYTES]);
    for _ in 0..PASSES {
        drop_cache(&run.directory)?;
        let started = Instant::now();
        for path in segments(&run.directory)? {
            let (file, mut at) = (File::open(&path)?, 0);
            loop {
                match file.read_at(&mut buffer, at)? {
                    0 => break,
                    count => at += count as u64,
                }
            }
            read += at;
        }
        took += started.elapsed();
    }
    Ok(measurement(read, took))
}

/// Writes the log, all of it in one queue, and closes it; returns the bytes of its records.
async fn fill(run: &Run) -> Result<u64> {
    let env = Env::real();
    let (mut store, message, mut bytes) = (open(&env, &run.directory)?, message()?, 0);
    while bytes < run.amount(LOG_BYTES, QUICK_LOG_BYTES) {
        bytes += append_batch(&mut store, &env, &message, 1).await?;
    }
    store.close(&Nothing).await?;
    Ok(bytes)
}

/// Makes the page cache forget the log, which is durable.
fn drop_cache(directory: &Path) -> Result<()> {
    for path in segments(directory)? {
        let file = File::open(&path)?;
        fadvise(&file, 0, None, Advice::DontNeed).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The log's files that hold something, in order. The last one may be made ready and still be empty.
fn segments(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory.join("commitlog"))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort_unstable();
    let mut first = [0; 8];
    while let Some(last) = paths.last() {
        if File::open(last)?.read_at(&mut first, 0)? > 0 && first != [0; 8] {
            break;
        }
        paths.pop();
    }
    ensure!(!paths.is_empty(), "no log in {}", directory.display());
    Ok(paths)
}

#[expect(clippy::cast_precision_loss, reason = "a log has far fewer than 2^53 bytes")]
fn measurement(read: u64, took: Duration) -> Measurement {
    let mut measurement = Measurement::default();
    measurement.set(Metric::Bandwidth, read as f64 / MIB / took.as_secs_f64());
    measurement
}
