//! The kinds of runs. A run starts a server, loads it, takes the figures and stops it.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::ballast::Ballast;
use crate::load::{self, Window};
use crate::measurement::{Measurement, Metric};
use crate::process;
use crate::server::{Contender, Server};

/// Before the measured part of a run of sends.
const WARM_UP: Duration = Duration::from_secs(1);
/// The same of receives, shorter because the backlog is drained all the while.
const RECEIVE_WARM_UP: Duration = Duration::from_millis(500);
/// Messages a request of the batched scenario.
const BATCH: usize = 16;
/// Messages stored before receives begin.
const BACKLOG: u64 = 400_000;
/// Memory held ready for what a second of sends may store, see [`Ballast`]: more than we ever reached.
const SINGLE_BYTES_A_SECOND: u64 = 100 * 1024 * 1024;
/// The same with [`BATCH`] messages a request.
const BATCH_BYTES_A_SECOND: u64 = 400 * 1024 * 1024;
/// How long a server sits idle before its memory is read.
const IDLE: Duration = Duration::from_secs(1);

const MIB: f64 = 1024.0 * 1024.0;

/// A kind of run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Sends with one message a request.
    SendSingle,
    /// Sends with 16 messages a request.
    SendBatch,
    /// Receives of 32 messages, acknowledged together.
    Receive,
    /// 2,000 sends a second.
    Latency,
    /// No load.
    StartUp,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::StartUp, Self::Latency, Self::SendSingle, Self::SendBatch, Self::Receive];

    /// One run against a fresh server on a fresh data directory.
    pub(crate) async fn run(self, contender: &Contender<'_>, window: Duration) -> Result<Measurement> {
        let sends = Window { warm_up: WARM_UP, length: window };
        let bytes_a_second = self.bytes_a_second();
        let ballast = Ballast::fill(bytes_a_second * (sends.warm_up + sends.length).as_secs())?;
        let server = Server::start(contender).await?;
        let releasing = tokio::spawn(ballast.release_within(sends.warm_up + sends.length));
        let mut measurement = match self {
            Self::SendSingle => load::send(&server, 1, sends).await?,
            Self::SendBatch => load::send(&server, BATCH, sends).await?,
            Self::Receive => {
                let backlog = match contender {
                    Contender::Gantry(_) => Some(BACKLOG),
                    Contender::Noop => None,
                };
                load::receive(&server, backlog, Window { warm_up: RECEIVE_WARM_UP, length: window }).await?
            }
            Self::Latency => load::paced(&server, sends).await?,
            Self::StartUp => {
                tokio::time::sleep(IDLE).await;
                let mut measurement = Measurement::default();
                measurement.set(Metric::StartUp, server.start_up().as_secs_f64() * 1e3);
                measurement
            }
        };
        set_memory(&mut measurement, &server)?;
        releasing.await??;
        Ok(measurement)
    }

    /// What both servers' runs have ready in memory a second, in bytes: only ours uses it.
    fn bytes_a_second(self) -> u64 {
        match self {
            Self::SendSingle => SINGLE_BYTES_A_SECOND,
            Self::SendBatch => BATCH_BYTES_A_SECOND,
            Self::Receive | Self::Latency | Self::StartUp => 0,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn set_memory(measurement: &mut Measurement, server: &Server) -> Result<()> {
    let memory = process::memory(server.process())?;
    measurement.set(Metric::AnonymousMemory, memory.anonymous_bytes as f64 / MIB);
    measurement.set(Metric::FileMemory, memory.file_bytes as f64 / MIB);
    Ok(())
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendSingle => "send, 1 message a request",
            Self::SendBatch => "send, 16 messages a request",
            Self::Receive => "receive + ack, batches of 32",
            Self::Latency => "send at 2,000 a second",
            Self::StartUp => "start-up, idle",
        })
    }
}
