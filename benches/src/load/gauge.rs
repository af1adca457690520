//! The measured part of a run: what was done in it, by all workers together.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;

use crate::measurement::{Measurement, Metric};
use crate::server::{Part, Server};

/// How often is looked whether enough messages went by.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The shortest measured part that says anything, unless a shorter one is asked for.
const LENGTH_MIN: Duration = Duration::from_millis(500);

/// How long a run is.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// Load before anything is measured.
    pub(crate) warm_up: Duration,
    /// Load that is measured.
    pub(crate) length: Duration,
}

/// What the workers of a run share. Relaxed loads and stores do: nothing else is guarded by them.
#[derive(Default)]
pub(super) struct Gauge {
    messages: AtomicU64,
    is_measuring: AtomicBool,
    is_stopping: AtomicBool,
}

impl Gauge {
    /// Counts finished messages.
    pub(super) fn add(&self, messages: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// Messages counted so far.
    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Whether what begins now is measured.
    pub(super) fn is_measuring(&self) -> bool {
        self.is_measuring.load(Ordering::Relaxed)
    }

    /// Whether workers shall begin nothing new.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Makes the workers stop.
    pub(super) fn stop(&self) {
        self.is_measuring.store(false, Ordering::Relaxed);
        self.is_stopping.store(true, Ordering::Relaxed);
    }
}

/// Workers of a run; each returns the latencies of its measured requests.
pub(super) type Workers = JoinSet<Result<Vec<Duration>>>;

/// Lets the workers work for the window, or until `messages_max` messages are counted, and takes the figures.
pub(super) async fn measure(
    server: &Server,
    gauge: &Gauge,
    mut workers: Workers,
    window: Window,
    messages_max: u64,
) -> Result<Measurement> {
    let observed = tokio::select! {
        observed = observe(server, gauge, window, messages_max) => observed?,
        ended = workers.join_next() => {
            ended.context("no workers")???;
            bail!("a worker ended early");
        }
    };
    let mut measurement = Measurement::default();
    let mut latencies = Vec::new();
    while let Some(ended) = workers.join_next().await {
        latencies.append(&mut ended??);
    }
    observed.set(&mut measurement)?;
    measurement.set_latencies(latencies);
    Ok(measurement)
}

/// Counters over the measured part.
struct Observed {
    elapsed: Duration,
    messages: u64,
    cpu: Duration,
    /// Of each process of a cluster.
    parts: Vec<(Part, Duration)>,
}

async fn observe(server: &Server, gauge: &Gauge, window: Window, messages_max: u64) -> Result<Observed> {
    tokio::time::sleep(window.warm_up).await;
    let (started, messages, cpu, parts) = (Instant::now(), gauge.messages(), server.cpu_time()?, server.cpu_times()?);
    gauge.is_measuring.store(true, Ordering::Relaxed);
    while started.elapsed() < window.length && gauge.messages() < messages_max {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let used = |((part, at_end), (_, at_begin)): ((Part, Duration), (Part, Duration))| (part, at_end - at_begin);
    let observed = Observed {
        elapsed: started.elapsed(),
        messages: gauge.messages() - messages,
        cpu: server.cpu_time()? - cpu,
        parts: server.cpu_times()?.into_iter().zip(parts).map(used).collect(),
    };
    gauge.stop();
    let length_min = LENGTH_MIN.min(window.length);
    ensure!(observed.elapsed >= length_min, "only {:?} could be measured, the backlog is too small", observed.elapsed);
    Ok(observed)
}

impl Observed {
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^53 messages")]
    fn set(&self, measurement: &mut Measurement) -> Result<()> {
        ensure!(self.messages > 0, "not one message in {:?}", self.elapsed);
        let messages = self.messages as f64;
        measurement.set(Metric::Throughput, messages / self.elapsed.as_secs_f64());
        measurement.set(Metric::CpuPerMessage, self.cpu.as_secs_f64() * 1e6 / messages);
        for (part, cpu) in &self.parts {
            let metric = match part {
                Part::Proxy => Metric::ProxyCpu,
                Part::Broker => Metric::BrokerCpu,
                Part::Slave => Metric::SlaveCpu,
                Part::NameServer => Metric::NameServerCpu,
            };
            measurement.set(metric, cpu.as_secs_f64() * 1e6 / messages);
        }
        Ok(())
    }
}
