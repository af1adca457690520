//! The tail of an append's latency at half of our most appends a second, across segment rolls, beside plain `pwrite` at
//! the same rate. Both are synced beside the writer, as async flush does.
//!
//! An open loop: a latency runs from when the append was due, so that whoever stalls pays for all that came due meanwhile.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use env::Env;
use store::Store;
use types::Message;

use super::Run;
use super::raw::Files;
use super::world::{Nothing, encoded, message, open, record_bytes};
use crate::measurement::{Measurement, Metric};

/// The share of the window in which our most appends a second are found.
const FINDING_SHARE: u32 = 4;

/// One record a round.
pub(super) async fn ours(run: &Run) -> Result<Measurement> {
    let env = Env::real();
    let (mut store, message) = (open(&env, &run.directory)?, message()?);
    let (started, mut count) = (Instant::now(), 0u32);
    while started.elapsed() < run.window() / FINDING_SHARE {
        append(&mut store, &env, &message).await?;
        count += 1;
    }
    let rate = f64::from(count) / started.elapsed().as_secs_f64() / 2.0;
    let mut paced = Paced::begin(rate, run.window());
    while let Some(due) = paced.next() {
        append(&mut store, &env, &message).await?;
        paced.done(due);
    }
    store.abandon().await;
    Ok(paced.end())
}

async fn append(store: &mut Store, env: &Env, message: &Message) -> Result<()> {
    let record = encoded(message, 0)?;
    store.ready(record.total_bytes()).await;
    store.append(record, env.clock.now())?;
    store.write()?;
    if store.is_checkpoint_due() {
        store.begin_checkpoint(&Nothing);
    }
    Ok(())
}

/// As many bytes at the rate of our run.
pub(super) fn baseline(run: &Run) -> Result<Measurement> {
    let (record, rate) = (record_bytes()?, run.rate.context("no rate")?);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes")]
    let bytes = (rate * (run.window().as_secs_f64() + 1.0)) as u64 * record.len() as u64;
    let mut files = Files::preallocate(&run.directory, bytes + bytes / 100)?;
    let _syncer = files.sync_beside();
    let mut paced = Paced::begin(rate, run.window());
    while let Some(due) = paced.next() {
        files.write(&[IoSlice::new(&record)])?;
        paced.done(due);
    }
    Ok(paced.end())
}

/// Says when appends are due, and keeps how late they were.
struct Paced {
    rate: f64,
    every: Duration,
    due: Instant,
    ends: Instant,
    latencies: Vec<Duration>,
}

impl Paced {
    fn begin(rate: f64, window: Duration) -> Self {
        let now = Instant::now();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of appends")]
        let count = (rate * window.as_secs_f64()) as usize + 1;
        // Its pages are taken now and not one by one while the appends are timed.
        let mut latencies = vec![Duration::MAX; count];
        latencies.clear();
        Self { rate, every: Duration::from_secs_f64(1.0 / rate), due: now, ends: now + window, latencies }
    }

    /// Waits until the next append is due, without sleeping: a sleep is longer than an append.
    fn next(&mut self) -> Option<Instant> {
        self.due += self.every;
        if self.due >= self.ends {
            return None;
        }
        while Instant::now() < self.due {
            std::hint::spin_loop();
        }
        Some(self.due)
    }

    fn done(&mut self, due: Instant) {
        self.latencies.push(due.elapsed());
    }

    fn end(self) -> Measurement {
        let mut measurement = Measurement::default();
        measurement.set(Metric::Throughput, self.rate);
        measurement.set_latencies(self.latencies);
        measurement
    }
}
