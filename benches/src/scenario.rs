//! The kinds of runs, and where each is done: against a server that this process loads, or in a child process that uses
//! the store or the broker itself ([`crate::storage`]).

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::ballast::Ballast;
use crate::bench::Bench;
use crate::load::{self, Backlog, Window};
use crate::measurement::{Measurement, Metric};
use crate::noop::Protocol;
use crate::process::Memory;
use crate::rivals::Apache;
use crate::server::{Contender, Nats, Server};
use crate::{cluster, recovery, replication, storage};

/// Before the measured part of a run of sends.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
/// The same of receives, shorter because the backlog is drained all the while.
const RECEIVE_WARM_UP: Duration = Duration::from_millis(500);
/// Messages a request of the batched scenario.
const BATCH: usize = 16;
/// Messages stored before receives begin.
const BACKLOG: u64 = 400_000;
const QUICK_BACKLOG: u64 = 50_000;
/// Memory held ready for what a second of sends may store, see [`Ballast`]: more than we ever reached.
pub(crate) const SINGLE_BYTES_A_SECOND: u64 = 100 * 1024 * 1024;
/// The same with [`BATCH`] messages a request.
const BATCH_BYTES_A_SECOND: u64 = 400 * 1024 * 1024;
/// The same of sends over Remoting.
pub(crate) const REMOTING_BYTES_A_SECOND: u64 = 200 * 1024 * 1024;
/// How long a server sits idle before its memory is read.
pub(crate) const IDLE: Duration = Duration::from_secs(1);

/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// A kind of run.
///
/// As a value of the command line, only those that `store` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Sends with one message a request.
    #[value(skip)]
    SendSingle,
    /// Sends with 16 messages a request.
    #[value(skip)]
    SendBatch,
    /// Receives of 32 messages, acknowledged together, beside the no-op server.
    Receive,
    /// 2,000 sends a second.
    #[value(skip)]
    Latency,
    /// No load.
    #[value(skip)]
    StartUp,
    /// Sends to a broker over Remoting.
    #[value(skip)]
    Remoting,
    /// The same, beside NATS JetStream.
    #[value(skip)]
    RemotingNats,
    /// Sends over HTTP.
    #[value(skip)]
    HttpSend,
    /// Receives of 16 messages over HTTP, acknowledged together.
    #[value(skip)]
    HttpReceive,
    /// Streams over HTTP on which nothing comes.
    #[value(skip)]
    HttpStreams,
    /// Sends to a cluster, beside one of Apache's.
    #[value(skip)]
    ClusterApache,
    /// Sends to our proxy before Apache's broker, beside Apache's proxy there.
    #[value(skip)]
    ClusterMixed,
    /// Sends to a cluster, beside a no-op server.
    #[value(skip)]
    ClusterNoop,
    /// 2,000 sends a second to a cluster, beside the same in one process.
    #[value(skip)]
    ClusterHop,
    /// A proxy without load.
    #[value(skip)]
    ClusterIdle,
    /// Clients of a cluster that wait, beside as many of a no-op server.
    #[value(skip)]
    ClusterClients,
    /// Sends to a master with a slave, beside the master alone.
    #[value(skip)]
    ReplicationAsync,
    /// Sends to a master that waits for its slave, beside one that does not.
    #[value(skip)]
    ReplicationSync,
    /// Sends to a master that waits for a slave far away, beside one near.
    #[value(skip)]
    ReplicationFar,
    /// A slave that begins, while 2,000 are sent a second, beside a plain copy and sends alone.
    #[value(skip)]
    ReplicationCatchUp,
    /// Async appends of 1 KiB records, beside `pwritev` of as many with a CRC.
    #[value(name = "append")]
    StoreAppend,
    /// Sync flush with 128 sends in flight, beside `pwrite` and `fdatasync` for as many.
    #[value(name = "sync")]
    StoreSync,
    /// Sends with sync flush, beside NATS JetStream.
    #[value(name = "nats")]
    StoreNats,
    /// Receives of 32 messages, acknowledged together, beside Apache's local mode.
    #[value(name = "pop")]
    StorePop,
    /// A queue read from the disk, beside plain reads of the same files.
    #[value(name = "scan")]
    StoreScan,
    /// Latency of appends at half our most, beside `pwrite` at the same rate.
    #[value(name = "tail")]
    StoreTail,
    /// Start on the log of a killed server.
    #[value(name = "recovery")]
    StoreRecovery,
    /// Sends to 100,000 queues, beside sends to 8.
    #[value(name = "queues")]
    StoreQueues,
    /// 5,000 of a million timers due a second.
    #[value(name = "timers")]
    StoreTimers,
    /// 500,000 timers due in one second.
    #[value(name = "drain")]
    StoreDrain,
    /// Machines fed from a log of small records.
    #[value(name = "replay")]
    StoreReplay,
}

/// Whose run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// Ours.
    Gantry,
    /// What ours is compared with.
    Baseline,
}

impl Scenario {
    /// Those against a server, in the order of `all`.
    pub(crate) const SERVED: [Self; 5] =
        [Self::StartUp, Self::Latency, Self::SendSingle, Self::SendBatch, Self::Receive];
    /// Those of `remoting`, in its order.
    pub(crate) const REMOTING: [Self; 2] = [Self::Remoting, Self::RemotingNats];
    /// Those of `http`, in its order.
    pub(crate) const HTTP: [Self; 3] = [Self::HttpSend, Self::HttpReceive, Self::HttpStreams];
    /// Those of `cluster`, in its order.
    pub(crate) const CLUSTER: [Self; 6] = [
        Self::ClusterIdle,
        Self::ClusterClients,
        Self::ClusterHop,
        Self::ClusterNoop,
        Self::ClusterApache,
        Self::ClusterMixed,
    ];
    /// Those of `replication`, in its order.
    pub(crate) const REPLICATION: [Self; 4] =
        [Self::ReplicationAsync, Self::ReplicationSync, Self::ReplicationFar, Self::ReplicationCatchUp];
    /// Those of `store`, in its order.
    pub(crate) const STORE: [Self; 12] = [
        Self::StoreAppend,
        Self::StoreSync,
        Self::StoreNats,
        Self::StorePop,
        Self::Receive,
        Self::StoreScan,
        Self::StoreTail,
        Self::StoreRecovery,
        Self::StoreQueues,
        Self::StoreTimers,
        Self::StoreDrain,
        Self::StoreReplay,
    ];

    /// Its name in JSON.
    pub(crate) fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }

    /// What ours is compared with; `None` where its figures have bounds of their own.
    pub(crate) fn baseline(self) -> Option<&'static str> {
        match self {
            Self::SendSingle | Self::SendBatch | Self::Receive | Self::Latency | Self::StartUp => Some("no-op"),
            Self::Remoting | Self::HttpSend | Self::HttpReceive | Self::HttpStreams => Some("no-op"),
            Self::ClusterNoop | Self::ClusterClients => Some("no-op"),
            Self::ClusterHop => Some("local"),
            Self::ReplicationAsync => Some("alone"),
            Self::ReplicationSync => Some("async"),
            Self::ReplicationFar => Some("near"),
            Self::ReplicationCatchUp => Some("copy"),
            Self::StoreAppend => Some("pwritev"),
            Self::StoreSync => Some("fdatasync"),
            Self::StoreNats | Self::RemotingNats => Some("NATS"),
            Self::StorePop | Self::ClusterApache | Self::ClusterMixed => Some("Apache"),
            Self::StoreScan => Some("pread"),
            Self::StoreTail => Some("pwrite"),
            Self::StoreQueues => Some("8 queues"),
            Self::ClusterIdle | Self::StoreRecovery | Self::StoreTimers | Self::StoreDrain | Self::StoreReplay => None,
        }
    }

    /// One run. `ours` is the run of the same pair that a baseline's run is paced by.
    pub(crate) async fn run(self, side: Side, bench: &mut Bench, ours: Option<&Measurement>) -> Result<Measurement> {
        match self {
            Self::StorePop if side == Side::Baseline => {
                if bench.apache.is_none() {
                    bench.apache = Some(Apache::local(bench, backlog(bench), receive_window(bench)).await?);
                }
                let Some(apache) = &mut bench.apache else { unreachable!("it was just started") };
                apache.run().await
            }
            Self::StoreRecovery => recovery::run(bench).await,
            Self::ClusterApache
            | Self::ClusterMixed
            | Self::ClusterNoop
            | Self::ClusterHop
            | Self::ClusterIdle
            | Self::ClusterClients => cluster::run(self, side, bench).await,
            Self::ReplicationAsync | Self::ReplicationSync | Self::ReplicationFar | Self::ReplicationCatchUp => {
                replication::run(self, side, bench).await
            }
            Self::StoreAppend
            | Self::StoreSync
            | Self::StoreScan
            | Self::StoreTail
            | Self::StoreQueues
            | Self::StoreTimers
            | Self::StoreDrain
            | Self::StoreReplay => storage::run(self, side, bench, ours).await,
            _ => self.serve(&self.contender(side, bench)?, bench).await,
        }
    }

    /// The server of a run that this process loads.
    fn contender(self, side: Side, bench: &Bench) -> Result<Contender> {
        let nats = |is_sync| -> Result<Contender> {
            let program = bench.nats_server.clone().context("no NATS server")?;
            Ok(Contender::Nats(Nats { program, is_sync }))
        };
        match (self, side) {
            (Self::Remoting | Self::RemotingNats, Side::Gantry) => Ok(Contender::Broker(bench.gantry()?, None)),
            (Self::Remoting, Side::Baseline) => Ok(Contender::Noop(Protocol::Remoting)),
            (Self::RemotingNats, Side::Baseline) => nats(false),
            (Self::HttpSend | Self::HttpReceive | Self::HttpStreams, Side::Gantry) => {
                Ok(Contender::Http(bench.gantry()?))
            }
            (Self::HttpSend | Self::HttpReceive | Self::HttpStreams, Side::Baseline) => {
                Ok(Contender::Noop(Protocol::Http))
            }
            (Self::StoreNats, Side::Gantry) => Ok(Contender::Gantry(bench.gantry()?.synced())),
            (Self::StoreNats, Side::Baseline) => nats(true),
            (_, Side::Gantry) => Ok(Contender::Gantry(bench.gantry()?)),
            (_, Side::Baseline) => Ok(Contender::Noop(Protocol::Grpc)),
        }
    }

    /// One run against a fresh server on a fresh data directory.
    async fn serve(self, contender: &Contender, bench: &Bench) -> Result<Measurement> {
        let sends = Window { warm_up: WARM_UP, length: bench.window() };
        let bytes_a_second = self.bytes_a_second();
        let ballast = Ballast::fill(bytes_a_second * (sends.warm_up + sends.length).as_secs())?;
        let server = Server::start(contender).await?;
        let releasing = tokio::spawn(ballast.release_within(sends.warm_up + sends.length));
        let mut measurement = match self {
            Self::StoreNats | Self::RemotingNats if matches!(contender, Contender::Nats(_)) => {
                load::publish(&server, sends).await?
            }
            Self::SendSingle | Self::StoreNats => load::send(&server, 1, sends).await?,
            Self::SendBatch => load::send(&server, BATCH, sends).await?,
            Self::Remoting | Self::RemotingNats => load::send_by_remoting(&server, sends).await?,
            Self::Receive | Self::StorePop => {
                let mut backlog = match contender {
                    Contender::Noop(_) => None,
                    _ => Some(Backlog::of(backlog(bench))),
                };
                load::receive(&server, backlog.as_mut(), receive_window(bench)).await?
            }
            Self::HttpSend => load::send_by_http(&server, sends).await?,
            Self::HttpReceive => {
                let backlog = (!matches!(contender, Contender::Noop(_))).then(|| backlog(bench));
                load::receive_by_http(&server, backlog, receive_window(bench)).await?
            }
            Self::HttpStreams => load::memory_of_streams(&server, bench.is_quick()).await?,
            Self::Latency => load::paced(&server, sends).await?,
            Self::StartUp => {
                tokio::time::sleep(IDLE).await;
                let mut measurement = Measurement::default();
                measurement.set(Metric::StartUp, server.start_up().as_secs_f64() * 1e3);
                measurement
            }
            other => bail!("{other} is not a load on a server"),
        };
        set_memory(&mut measurement, server.memory()?);
        releasing.await??;
        Ok(measurement)
    }

    /// What both servers' runs have ready in memory a second, in bytes: only ours uses it.
    fn bytes_a_second(self) -> u64 {
        match self {
            Self::SendSingle | Self::StoreNats | Self::HttpSend => SINGLE_BYTES_A_SECOND,
            Self::Remoting | Self::RemotingNats => REMOTING_BYTES_A_SECOND,
            Self::SendBatch => BATCH_BYTES_A_SECOND,
            _ => 0,
        }
    }
}

fn backlog(bench: &Bench) -> u64 {
    if bench.is_quick() { QUICK_BACKLOG } else { BACKLOG }
}

fn receive_window(bench: &Bench) -> Window {
    // A quick run's backlog is gone in less than a warm-up.
    Window { warm_up: if bench.is_quick() { Duration::ZERO } else { RECEIVE_WARM_UP }, length: bench.window() }
}

/// Adds the memory that processes hold.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
pub(crate) fn set_memory(measurement: &mut Measurement, memory: Memory) {
    measurement.set(Metric::AnonymousMemory, memory.anonymous_bytes as f64 / MIB);
    measurement.set(Metric::FileMemory, memory.file_bytes as f64 / MIB);
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendSingle => "send, 1 message a request",
            Self::SendBatch => "send, 16 messages a request",
            Self::Receive => "receive + ack, batches of 32",
            Self::Latency => "send at 2,000 a second",
            Self::StartUp => "start-up, idle",
            Self::Remoting => "remoting, send to a broker",
            Self::RemotingNats => "remoting nats, send to a broker",
            Self::HttpSend => "http, send raw, 1 message a request",
            Self::HttpReceive => "http, receive + ack, batches of 16",
            Self::HttpStreams => "http, waiting streams",
            Self::ClusterApache => "cluster, send",
            Self::ClusterMixed => "cluster, send before Apache's broker",
            Self::ClusterNoop => "cluster, send, beside no-op",
            Self::ClusterHop => "cluster, send at 2,000 a second",
            Self::ClusterIdle => "cluster, idle proxy",
            Self::ClusterClients => "cluster, waiting clients",
            Self::ReplicationAsync => "replication, async, send to the master",
            Self::ReplicationSync => "replication, double write, send to the master",
            Self::ReplicationFar => "replication, double write, 2 ms away",
            Self::ReplicationCatchUp => "replication, catch up at 2,000 sends a second",
            Self::StoreAppend => "store append, 1 KiB, async flush",
            Self::StoreSync => "store sync, 128 in flight",
            Self::StoreNats => "store nats, sync flush over gRPC",
            Self::StorePop => "store pop, receive + ack of 32",
            Self::StoreScan => "store scan, cold",
            Self::StoreTail => "store tail, append at half our most",
            Self::StoreRecovery => "store recovery after SIGKILL",
            Self::StoreQueues => "store queues, 100,000",
            Self::StoreTimers => "store timers, 5,000 of a million due a second",
            Self::StoreDrain => "store drain, 500,000 timers due in one second",
            Self::StoreReplay => "store replay, records of at most 200 bytes",
        })
    }
}
