//! Async appends of 1 KiB records in batches, as sends and the engine make them, beside equally batched `pwritev` with a CRC.

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use anyhow::Result;
use env::Env;
use record::Encoded;
use store::Store;
use types::Message;

use super::Run;
use super::raw::Files;
use super::world::{IN_FLIGHT, Nothing, QUEUES, TOGETHER, encoded_together, message, open, record_bytes};
use crate::ballast::Ballast;
use crate::measurement::{Measurement, Metric};
use crate::scenario::MIB;

/// Most bytes of a run: what the page cache takes without holding writers back for the disk.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;
const QUICK_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Memory that is made ready for the page cache at a time, see [`Ballast`], while the run's clock stands.
const STEP_BYTES: u64 = 64 * 1024 * 1024;
/// Written before the clock starts: the hot tail is full then and takes no memory that the process never used.
const BYTES_BEFORE: u64 = 64 * 1024 * 1024;
const QUICK_BYTES_BEFORE: u64 = 1024 * 1024;

/// The store's part of the engine's round: records encoded and placed as those of sends of 16 messages, written together.
pub(super) async fn ours(run: &Run) -> Result<Measurement> {
    let env = Env::real();
    let (mut store, message) = (open(&env, &run.directory)?, message()?);
    let mut counted = Counted::begin(run)?;
    while counted.goes_on() {
        let bytes = append_batch(&mut store, &env, &message, QUEUES).await?;
        counted.add(bytes)?;
    }
    let measurement = counted.end();
    store.abandon().await;
    Ok(measurement)
}

/// One round of [`IN_FLIGHT`] records to so many queues in turn; returns its bytes.
pub(super) async fn append_batch(store: &mut Store, env: &Env, message: &Message, queues: u32) -> Result<u64> {
    let records = encoded_together(message, (0..queues).cycle().take(IN_FLIGHT / TOGETHER))?;
    let bytes = records.iter().map(Encoded::total_bytes).sum();
    store.ready(bytes).await;
    let now = env.clock.now();
    for record in records {
        store.append(record, now)?;
    }
    store.write()?;
    if store.is_checkpoint_due() {
        store.begin_checkpoint(&Nothing);
    }
    Ok(bytes)
}

/// As many bytes a batch, with a CRC over each body.
pub(super) fn baseline(run: &Run) -> Result<Measurement> {
    // Each record of a batch is memory of its own, as single sends make them.
    let records: Vec<Vec<u8>> = vec![record_bytes()?.to_vec(); IN_FLIGHT];
    let (record_bytes, body_bytes) = (records[0].len(), message()?.body.len());
    // Two batches more than are counted: the last one may begin just below the bound.
    let slack = 2 * (record_bytes * IN_FLIGHT) as u64;
    let mut files = Files::preallocate(&run.directory, run.amount(BYTES_MAX, QUICK_BYTES_MAX) + slack)?;
    let _syncer = files.sync_beside();
    let slices: Vec<IoSlice<'_>> = records.iter().map(|record| IoSlice::new(record)).collect();
    let mut counted = Counted::begin(run)?;
    while counted.goes_on() {
        for record in &records {
            black_box(crc32fast::hash(black_box(&record[..body_bytes])));
        }
        files.write(&slices)?;
        counted.add((record_bytes * IN_FLIGHT) as u64)?;
    }
    Ok(counted.end())
}

/// What was written until the window or the bytes are used up.
struct Counted {
    /// Memory for what is still to be written.
    ballast: Ballast,
    window: Duration,
    started: Instant,
    /// Everything, with what was written before the clock started.
    bytes: u64,
    bytes_before: u64,
    bytes_max: u64,
    counted_bytes: u64,
    counted_records: u64,
}

impl Counted {
    fn begin(run: &Run) -> Result<Self> {
        let bytes_max = run.amount(BYTES_MAX, QUICK_BYTES_MAX);
        let ballast = Ballast::fill(bytes_max)?;
        ballast.keep(bytes_max.saturating_sub(STEP_BYTES))?;
        let bytes_before = run.amount(BYTES_BEFORE, QUICK_BYTES_BEFORE);
        let (window, started) = (run.window(), Instant::now());
        Ok(Self { ballast, window, started, bytes: 0, bytes_before, bytes_max, counted_bytes: 0, counted_records: 0 })
    }

    fn goes_on(&self) -> bool {
        self.bytes < self.bytes_max && self.started.elapsed() < self.window
    }

    fn add(&mut self, bytes: u64) -> Result<()> {
        let steps = self.bytes / STEP_BYTES;
        let is_counted = self.bytes >= self.bytes_before;
        self.bytes += bytes;
        if is_counted {
            self.counted_bytes += bytes;
            self.counted_records += IN_FLIGHT as u64;
        } else if self.bytes >= self.bytes_before {
            self.started = Instant::now();
        }
        if self.bytes / STEP_BYTES > steps {
            let stopped = Instant::now();
            self.ballast.keep(self.bytes_max.saturating_sub(self.bytes + STEP_BYTES))?;
            self.started += stopped.elapsed();
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 bytes")]
    fn end(&self) -> Measurement {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut measurement = Measurement::default();
        measurement.set(Metric::Throughput, self.counted_records as f64 / seconds);
        measurement.set(Metric::Bandwidth, self.counted_bytes as f64 / MIB / seconds);
        measurement
    }
}
