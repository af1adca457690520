//! Start on a log of small records without checkpoint or index: how many the machines are fed a second of one core.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use record::Peek;
use store::Flush;
use types::broker::LeaseOwner;
use types::{Broker, Message};

use super::Run;
use super::world::{TOPIC, group, make_topic, pop, send, start, topic};
use crate::measurement::{Measurement, Metric};
use crate::process;

/// Messages that are sent, received and acknowledged one by one, so that each of these steps is a record.
const MESSAGES: u64 = 200_000;
const QUICK_MESSAGES: u64 = 100;
/// Mean length of a record at most. Source: issue 4.
const RECORD_BYTES_MAX: f64 = 200.0;
/// Bytes of a body.
const BODY_BYTES: usize = 32;
/// The files that are derived from the log. Source: `docs/architecture.md`.
const DERIVED: [&str; 2] = ["checkpoints", "queueindex"];

/// Writes the log, removes what was derived from it, and starts again.
#[expect(clippy::cast_precision_loss, reason = "a log has far fewer than 2^53 bytes")]
pub(super) async fn run(run: &Run) -> Result<Measurement> {
    fill(run).await?;
    for derived in DERIVED {
        fs::remove_dir_all(run.directory.join(derived)).with_context(|| format!("removing {derived}"))?;
    }
    // Read here, so that it is in the page cache.
    let (records, bytes) = count(&run.directory.join("commitlog"))?;
    let mean = bytes as f64 / records as f64;
    ensure!(mean <= RECORD_BYTES_MAX, "records have {mean} bytes, at most {RECORD_BYTES_MAX} are asked for");
    let own = std::process::id();
    let before = process::cpu_time(own)?;
    let broker = start(&run.directory, Flush::Async)?;
    let seconds = (process::cpu_time(own)? - before).as_secs_f64();
    broker.stop().await;
    let mut measurement = Measurement::default();
    // A quick run may take less than the clock's tick.
    measurement.set(Metric::RecordsPerCpuSecond, records as f64 / seconds.max(0.01));
    measurement.set(Metric::RecordBytes, mean);
    Ok(measurement)
}

async fn fill(run: &Run) -> Result<()> {
    let broker = start(&run.directory, Flush::Async)?;
    make_topic(&broker, TOPIC, 1).await?;
    // A new group starts at the end of its queues: it has to exist before the first message.
    ensure!(pop(&broker, 1).await?.is_empty(), "a new topic has messages");
    for _ in 0..run.amount(MESSAGES, QUICK_MESSAGES) {
        send(&broker, 0, vec![Message::new(topic(TOPIC)?, Bytes::from_static(&[b'x'; BODY_BYTES]))]).await?;
        let handles = pop(&broker, 1).await?;
        ensure!(handles.len() == 1, "{} messages were received after one was sent", handles.len());
        let lease = LeaseOwner { group: group()?, topic: topic(TOPIC)? };
        for acked in broker.ack(lease, handles).await {
            acked?;
        }
    }
    broker.stop().await;
    Ok(())
}

/// The records of a log, and their bytes.
fn count(directory: &Path) -> Result<(u64, u64)> {
    let (mut records, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory)? {
        let segment = fs::read(entry?.path())?;
        let mut at = 0;
        while let Ok(Peek::Record { bytes: record_bytes }) = record::peek(&segment[at..]) {
            at += record_bytes as usize;
            records += 1;
            bytes += u64::from(record_bytes);
        }
    }
    ensure!(records > 0, "no records in {}", directory.display());
    Ok((records, bytes))
}
