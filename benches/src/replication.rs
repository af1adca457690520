//! A master and its slave as processes of their own: what replication costs, near and far, and how fast a slave that begins catches up.

mod copier;
mod line;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use crate::ballast::Ballast;
use crate::bench::Bench;
use crate::cluster::set_memories;
use crate::directory::Directory;
use crate::load::{self, Window};
use crate::measurement::{LATENCIES, Measurement, Metric};
use crate::scenario::{MIB, REMOTING_BYTES_A_SECOND, Scenario, Side, WARM_UP, set_memory};
use crate::server::{Contender, Gantry, MemberRole, Server};
use copier::Copier;
use line::Line;

/// Length of the log that a slave catches up with, in bytes: more than it gets in a run.
const LOG_BYTES: u64 = 6 << 30;
const QUICK_LOG_BYTES: u64 = 512 << 20;
/// Bytes of its bodies.
const LARGE_BODY_BYTES: usize = 256 * 1024;
/// What is needed on the disk: the log, what a run copies of it, and some to spare.
const LOGS_ON_DISK: u64 = 3;
/// Before the measured part of a run that a slave begins in.
const QUICK_WARM_UP: Duration = Duration::from_millis(100);
/// Added to each way between master and slave, so twice that to a round trip. Source: issue 7.
const FAR: Duration = Duration::from_millis(1);
/// Longest time until a slave has all that its master has, where nobody sends.
const IN_SYNC_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One run.
pub(crate) async fn run(scenario: Scenario, side: Side, bench: &mut Bench) -> Result<Measurement> {
    match (scenario, side) {
        (Scenario::ReplicationAsync, Side::Baseline) => {
            let alone = Server::start(&Contender::Member(bench.gantry()?, MemberRole::AsyncMaster)).await?;
            load::make_topic(alone.address()).await?;
            sends(&alone, bench).await
        }
        (Scenario::ReplicationAsync, Side::Gantry) | (Scenario::ReplicationSync, Side::Baseline) => {
            sends(&group(&bench.gantry()?, MemberRole::AsyncMaster).await?, bench).await
        }
        (Scenario::ReplicationSync, Side::Gantry) => {
            sends(&group(&bench.gantry()?, MemberRole::SyncMaster).await?, bench).await
        }
        (Scenario::ReplicationFar, side) => {
            let gantry = bench.gantry()?;
            let master = Server::start(&Contender::Member(gantry.clone(), MemberRole::SyncMaster)).await?;
            let line = Line::to(master.slaves_at(), if side == Side::Gantry { FAR } else { Duration::ZERO })?;
            sends(&before_slave(&gantry, master, line.begin()).await?, bench).await
        }
        (Scenario::ReplicationCatchUp, side) => catch_up(side, bench).await,
        (other, _) => bail!("{other} is not a run of a group"),
    }
}

/// A master with this role, and behind it a slave that has all of its log.
async fn group(gantry: &Gantry, role: MemberRole) -> Result<Server> {
    let master = Server::start(&Contender::Member(gantry.clone(), role)).await?;
    let at = master.slaves_at();
    before_slave(gantry, master, at).await
}

/// Adds to a master a slave that connects there, and waits until it has all.
async fn before_slave(gantry: &Gantry, master: Server, at: SocketAddr) -> Result<Server> {
    let slave = slave_of(gantry, at).await?;
    wait_in_sync(master.address()).await?;
    load::make_topic(master.address()).await?;
    Ok(master.before(vec![slave]))
}

async fn slave_of(gantry: &Gantry, at: SocketAddr) -> Result<Server> {
    Server::start(&Contender::Member(gantry.clone(), MemberRole::SlaveOf(at))).await
}

/// Sends as fast as possible.
async fn sends(server: &Server, bench: &Bench) -> Result<Measurement> {
    let window = Window { warm_up: WARM_UP, length: bench.window() };
    let length = window.warm_up + window.length;
    // Both brokers store what is sent.
    let ballast = Ballast::fill(2 * REMOTING_BYTES_A_SECOND * length.as_secs())?;
    let releasing = tokio::spawn(ballast.release_within(length));
    let mut measurement = load::send_by_remoting(server, window).await?;
    set_memory(&mut measurement, server.memory()?);
    set_memories(&mut measurement, server)?;
    releasing.await??;
    Ok(measurement)
}

/// Sends at 2,000 a second, while a slave that begins gets the log; or alone, from which the latencies are, and then while the log is copied,
/// from which the bandwidth is.
async fn catch_up(side: Side, bench: &mut Bench) -> Result<Measurement> {
    if bench.long_log.is_none() {
        bench.long_log = Some(make(bench).await?);
    }
    let master = bench.long_log.as_ref().context("it was just made")?;
    let warm_up = if bench.is_quick() { QUICK_WARM_UP } else { WARM_UP };
    let window = Window { warm_up, length: bench.window() };
    let mut measurement;
    let bandwidth;
    match side {
        Side::Gantry => {
            let slave = slave_of(&bench.gantry()?, master.slaves_at()).await?;
            let paced = load::paced_by_remoting(master, window);
            let got = async {
                let progress = || async { confirmed(master.address()).await };
                rate(window, progress).await
            };
            (measurement, bandwidth) = tokio::try_join!(paced, got)?;
            let end = load::ha_status(master.address()).await?.master_commit_log_max_offset;
            let has_all = confirmed(master.address()).await? >= end;
            ensure!(
                bench.is_quick() || !has_all,
                "the slave caught up within the run: a log of {end} bytes is too short"
            );
            drop(slave);
        }
        Side::Baseline => {
            measurement = load::paced_by_remoting(master, window).await?;
            let to = Directory::fresh()?;
            let copier = Copier::start(&master.data().join("commitlog"), to.path())?;
            let copied = rate(window, || async { Ok(copier.copied()) });
            (_, bandwidth) = tokio::try_join!(load::paced_by_remoting(master, window), copied)?;
            ensure!(bench.is_quick() || !copier.has_all(), "all was copied within the run: the log is too short");
            copier.stop()?;
        }
    }
    // Those of the rate that is held say nothing.
    measurement.0.retain(|metric, _| LATENCIES.contains(metric));
    measurement.set(Metric::Bandwidth, bandwidth);
    Ok(measurement)
}

/// MiB a second over the measured part of a window that begins now.
#[expect(clippy::cast_precision_loss, reason = "a log has far fewer than 2^53 bytes")]
async fn rate<F: Future<Output = Result<u64>>>(window: Window, progress: impl Fn() -> F) -> Result<f64> {
    tokio::time::sleep(window.warm_up).await;
    let (from, began) = (progress().await?, Instant::now());
    tokio::time::sleep(window.length).await;
    let (to, took) = (progress().await?, began.elapsed());
    Ok((to - from) as f64 / MIB / took.as_secs_f64())
}

/// How far the one slave has the log by what it has said; 0 before it has said anything.
async fn confirmed(master: SocketAddr) -> Result<u64> {
    let slaves = load::ha_status(master).await?.ha_connection_info;
    ensure!(slaves.len() <= 1, "{} slaves are connected", slaves.len());
    Ok(slaves.first().map_or(0, |slave| slave.slave_ack_offset))
}

async fn wait_in_sync(master: SocketAddr) -> Result<()> {
    let began = Instant::now();
    loop {
        let status = load::ha_status(master).await?;
        if status.ha_connection_info.iter().any(|slave| slave.diff == 0) {
            return Ok(());
        }
        ensure!(
            began.elapsed() < IN_SYNC_WITHIN,
            "no slave has the master's log within {IN_SYNC_WITHIN:?}: {status:?}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A master with a log, for all runs.
async fn make(bench: &Bench) -> Result<Server> {
    let bytes = if bench.is_quick() { QUICK_LOG_BYTES } else { LOG_BYTES };
    let directory = Arc::new(Directory::fresh()?);
    directory.ensure_free(bytes * LOGS_ON_DISK)?;
    eprintln!("catch up: writing a log of {} MiB", bytes >> 20);
    let master = Server::start_on(&Contender::Member(bench.gantry()?, MemberRole::AsyncMaster), directory).await?;
    load::make_topic(master.address()).await?;
    let large = Bytes::from(vec![b'x'; LARGE_BODY_BYTES]);
    load::fill_by_remoting(master.address(), &large, bytes / LARGE_BODY_BYTES as u64).await?;
    Ok(master)
}
