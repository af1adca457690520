//! What one run of a scenario yields, and the arithmetic on samples.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A figure of a run; its unit is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Messages a second.
    Throughput,
    /// MiB a second.
    Bandwidth,
    /// Records a second of processor time.
    RecordsPerCpuSecond,
    /// Mean length of a record, in bytes.
    RecordBytes,
    /// Microseconds of user and system time of the measured process a message.
    CpuPerMessage,
    /// The share of the proxy in it, where proxy, broker and name server are processes of their own.
    ProxyCpu,
    /// That of the broker, which is the master where there is a slave.
    BrokerCpu,
    /// That of the slave.
    SlaveCpu,
    /// That of the name server.
    NameServerCpu,
    /// Median latency of a request or an append, in microseconds.
    P50,
    /// 99th percentile of the same.
    P99,
    /// 99.9th percentile of the same.
    P999,
    /// Resident memory of the process that no file backs, in MiB, at the end of the run.
    AnonymousMemory,
    /// Of it the proxy's, where proxy, broker and name server are processes of their own.
    ProxyMemory,
    /// Of it the broker's.
    BrokerMemory,
    /// Of it the slave's.
    SlaveMemory,
    /// Of it the name server's.
    NameServerMemory,
    /// Resident memory of the process that files back, in MiB, at the end of the run.
    FileMemory,
    /// Anonymous memory for each of many streams that wait, in KiB.
    MemoryPerStream,
    /// Anonymous memory for each of many clients that wait, in KiB.
    MemoryPerClient,
    /// Milliseconds from the process's start to its first reply.
    StartUp,
    /// Length of the log, in GiB.
    LogSize,
    /// 99th percentile of the time from when a message is due to when its copy is appended, in milliseconds.
    LatenessP99,
    /// Seconds from when the first of many messages is due to when the last copy is appended.
    Drained,
}

impl Metric {
    /// Its name and unit, as the table shows it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Throughput => "throughput, msg/s",
            Self::Bandwidth => "bandwidth, MiB/s",
            Self::RecordsPerCpuSecond => "records/s of CPU",
            Self::RecordBytes => "mean record, bytes",
            Self::CpuPerMessage => "CPU, µs/msg",
            Self::ProxyCpu => "proxy's CPU",
            Self::BrokerCpu => "broker's CPU",
            Self::SlaveCpu => "slave's CPU",
            Self::NameServerCpu => "name server's CPU",
            Self::P50 => "p50, µs",
            Self::P99 => "p99, µs",
            Self::P999 => "p99.9, µs",
            Self::AnonymousMemory => "anonymous memory, MiB",
            Self::ProxyMemory => "proxy's memory",
            Self::BrokerMemory => "broker's memory",
            Self::SlaveMemory => "slave's memory",
            Self::NameServerMemory => "name server's memory",
            Self::FileMemory => "file-backed memory, MiB",
            Self::MemoryPerStream => "memory a stream, KiB",
            Self::MemoryPerClient => "memory a client, KiB",
            Self::StartUp => "start to first reply, ms",
            Self::LogSize => "log, GiB",
            Self::LatenessP99 => "lateness p99, ms",
            Self::Drained => "drained in, s",
        }
    }
}

/// What tells how long requests take.
pub(crate) const LATENCIES: [Metric; 3] = [Metric::P50, Metric::P99, Metric::P999];

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement(pub(crate) BTreeMap<Metric, f64>);

impl Measurement {
    /// Adds one figure.
    pub(crate) fn set(&mut self, metric: Metric, value: f64) {
        self.0.insert(metric, value);
    }

    /// Adds the percentiles of request latencies.
    pub(crate) fn set_latencies(&mut self, mut latencies: Vec<Duration>) {
        latencies.sort_unstable();
        for (metric, share) in [(Metric::P50, 0.5), (Metric::P99, 0.99), (Metric::P999, 0.999)] {
            if let Some(latency) = percentile(&latencies, share) {
                self.set(metric, latency.as_secs_f64() * 1e6);
            }
        }
    }
}

/// The smallest sample that is not below `share` of all (nearest rank); `sorted` rises.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The middle value, or the mean of the two in the middle; `NaN` of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// (largest − smallest) ÷ median: 0 when all are equal.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::MIN, f64::max);
    let smallest = values.iter().copied().fold(f64::MAX, f64::min);
    (largest - smallest) / median(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let samples: Vec<Duration> = (1..=1000).map(Duration::from_micros).collect();
        let mut measurement = Measurement::default();
        measurement.set_latencies(samples);
        assert_eq!(measurement.0[&Metric::P50].round(), 500.0);
        assert_eq!(measurement.0[&Metric::P99].round(), 990.0);
        assert_eq!(measurement.0[&Metric::P999].round(), 999.0);
        assert_eq!(percentile(&[Duration::from_micros(7)], 0.99), Some(Duration::from_micros(7)));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn median_and_spread_ignore_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        assert_eq!(spread(&[110.0, 100.0, 90.0]), 0.2);
        assert_eq!(spread(&[5.0, 5.0]), 0.0);
    }
}
