//! Start of a server on the log that a killed one left.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;

use crate::bench::Bench;
use crate::directory::Directory;
use crate::load;
use crate::measurement::{Measurement, Metric};
use crate::scenario::set_memory;
use crate::server::{Contender, Server};

/// Bytes of the bodies that most of the log consists of.
const LARGE_BODY_BYTES: usize = 256 * 1024;
/// Messages of 1 KiB at the log's end, so that its tail is as slow to read as any.
const SMALL_MESSAGES: u64 = 300_000;
const QUICK_SMALL_MESSAGES: u64 = 1_000;
/// Free room that is left on the disk beside the log.
const SPARE_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// The directory of a server that was killed while it stored messages; removed with its owner.
pub(crate) struct KilledLog {
    directory: Arc<Directory>,
    bytes: u64,
}

/// One start, on the log of the runs before: a start that is killed leaves it as it was.
#[expect(clippy::cast_precision_loss, reason = "a log has far fewer than 2^53 bytes")]
pub(crate) async fn run(bench: &mut Bench) -> Result<Measurement> {
    if bench.killed_log.is_none() {
        bench.killed_log = Some(make(bench).await?);
    }
    let Some(log) = &bench.killed_log else { unreachable!("it was just made") };
    let server = Server::start_on(&Contender::Gantry(bench.gantry()?), Arc::clone(&log.directory)).await?;
    let mut measurement = Measurement::default();
    measurement.set(Metric::StartUp, server.start_up().as_secs_f64() * 1e3);
    measurement.set(Metric::LogSize, log.bytes as f64 / (1u64 << 30) as f64);
    set_memory(&mut measurement, server.memory()?);
    Ok(measurement)
}

async fn make(bench: &Bench) -> Result<KilledLog> {
    let (log_bytes, small) = match bench.is_quick() {
        true => (LARGE_BODY_BYTES as u64 * 128, QUICK_SMALL_MESSAGES),
        false => (bench.log_bytes(), SMALL_MESSAGES),
    };
    let directory = Arc::new(Directory::fresh()?);
    directory.ensure_free(log_bytes + SPARE_BYTES)?;
    eprintln!("recovery: writing a log of {:.1} GiB", log_bytes as f64 / (1u64 << 30) as f64);
    let server = Server::start_on(&Contender::Gantry(bench.gantry()?), Arc::clone(&directory)).await?;
    let large = Bytes::from(vec![b'x'; LARGE_BODY_BYTES]);
    load::fill(server.address(), 1, &large, log_bytes / LARGE_BODY_BYTES as u64).await?;
    load::fill_and_kill(server, &load::body(), small).await?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory.data().join("commitlog"))? {
        bytes += entry?.metadata()?.len();
    }
    ensure!(bytes >= log_bytes, "the log has {bytes} bytes, {log_bytes} were sent");
    Ok(KilledLog { directory, bytes })
}
