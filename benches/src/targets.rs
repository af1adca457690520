//! What the figures have to be: the numbers of issues 3 to 7, "What it must show", and of nowhere else.

use crate::measurement::{LATENCIES, Metric};
use crate::scenario::Scenario;

/// Pairs of runs that a verdict needs at least.
pub(crate) const PAIRS_MIN: usize = 5;
/// The widest spread, (largest − smallest) ÷ median, of the baseline's figure with which one of ours is judged.
pub(crate) const BASELINE_SPREAD_MAX: f64 = 0.15;
/// Pairs that a scenario runs at most until the last [`PAIRS_MIN`] of them allow a verdict; then it is given up as not
/// judged.
pub(crate) const PAIRS_MAX: usize = 40;

/// Runs of a scenario that has no baseline, whose figures have a bound of their own.
pub(crate) const RUNS_ALONE: usize = 3;

/// One figure's bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Target {
    /// Where it is measured.
    pub(crate) scenario: Scenario,
    /// The figure.
    pub(crate) metric: Metric,
    /// What it may be.
    pub(crate) bound: Bound,
}

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bound {
    /// Ours ÷ baseline, median of the pairs, is at most this.
    RatioAtMost(f64),
    /// Ours ÷ baseline, median of the pairs, is at least this.
    RatioAtLeast(f64),
    /// Ours − baseline, median of the pairs, in the metric's unit, is at most this.
    MoreByAtMost(f64),
    /// Our median, in the metric's unit, is at most this.
    ValueAtMost(f64),
    /// Our median, in the metric's unit, is at least this.
    ValueAtLeast(f64),
}

impl Bound {
    /// Whether it is kept by these medians: of our values, and of the paired ratios and differences.
    pub(crate) fn is_kept(self, value: f64, ratio: f64, difference: f64) -> bool {
        match self {
            Self::RatioAtMost(most) => ratio <= most,
            Self::RatioAtLeast(least) => ratio >= least,
            Self::MoreByAtMost(most) => difference <= most,
            Self::ValueAtMost(most) => value <= most,
            Self::ValueAtLeast(least) => value >= least,
        }
    }

    /// Whether the baseline's spread has a say in it.
    pub(crate) fn is_relative(self) -> bool {
        matches!(self, Self::RatioAtMost(_) | Self::RatioAtLeast(_) | Self::MoreByAtMost(_))
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RatioAtMost(most) => write!(f, "≤ {most}×"),
            Self::RatioAtLeast(least) => write!(f, "≥ {least}×"),
            Self::MoreByAtMost(most) => write!(f, "≤ +{most}"),
            Self::ValueAtMost(most) => write!(f, "≤ {most}"),
            Self::ValueAtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    target(Scenario::SendSingle, Metric::CpuPerMessage, Bound::RatioAtMost(1.4)),
    target(Scenario::SendSingle, Metric::Throughput, Bound::RatioAtLeast(0.8)),
    target(Scenario::SendBatch, Metric::CpuPerMessage, Bound::RatioAtMost(2.0)),
    target(Scenario::SendBatch, Metric::Throughput, Bound::RatioAtLeast(0.6)),
    target(Scenario::Receive, Metric::Throughput, Bound::RatioAtLeast(0.5)),
    target(Scenario::Latency, Metric::P50, Bound::RatioAtMost(2.0)),
    target(Scenario::Latency, Metric::P99, Bound::RatioAtMost(3.0)),
    target(Scenario::StartUp, Metric::StartUp, Bound::ValueAtMost(300.0)),
    target(Scenario::StartUp, Metric::AnonymousMemory, Bound::ValueAtMost(30.0)),
    target(Scenario::Remoting, Metric::CpuPerMessage, Bound::RatioAtMost(2.0)),
    target(Scenario::RemotingNats, Metric::Throughput, Bound::RatioAtLeast(1.2)),
    target(Scenario::HttpSend, Metric::Throughput, Bound::RatioAtLeast(0.7)),
    target(Scenario::HttpSend, Metric::CpuPerMessage, Bound::RatioAtMost(1.6)),
    target(Scenario::HttpReceive, Metric::Throughput, Bound::RatioAtLeast(0.6)),
    target(Scenario::HttpStreams, Metric::MemoryPerStream, Bound::RatioAtMost(1.5)),
    target(Scenario::ClusterApache, Metric::Throughput, Bound::RatioAtLeast(6.0)),
    // A seventh.
    target(Scenario::ClusterApache, Metric::CpuPerMessage, Bound::RatioAtMost(0.143)),
    target(Scenario::ClusterNoop, Metric::CpuPerMessage, Bound::RatioAtMost(3.5)),
    target(Scenario::ClusterHop, Metric::P50, Bound::MoreByAtMost(150.0)),
    target(Scenario::ClusterIdle, Metric::AnonymousMemory, Bound::ValueAtMost(25.0)),
    target(Scenario::ClusterClients, Metric::MemoryPerClient, Bound::RatioAtMost(1.5)),
    target(Scenario::ReplicationAsync, Metric::BrokerCpu, Bound::RatioAtMost(1.15)),
    target(Scenario::ReplicationSync, Metric::Throughput, Bound::RatioAtLeast(0.6)),
    target(Scenario::ReplicationFar, Metric::Throughput, Bound::RatioAtLeast(0.9)),
    target(Scenario::ReplicationCatchUp, Metric::Bandwidth, Bound::RatioAtLeast(0.5)),
    target(Scenario::ReplicationCatchUp, Metric::P99, Bound::RatioAtMost(2.0)),
    target(Scenario::StoreAppend, Metric::Throughput, Bound::RatioAtLeast(0.6)),
    target(Scenario::StoreSync, Metric::Throughput, Bound::RatioAtLeast(0.8)),
    target(Scenario::StoreNats, Metric::Throughput, Bound::RatioAtLeast(5.0)),
    target(Scenario::StorePop, Metric::Throughput, Bound::RatioAtLeast(3.0)),
    target(Scenario::StoreScan, Metric::Bandwidth, Bound::RatioAtLeast(0.7)),
    target(Scenario::StoreTail, Metric::P999, Bound::RatioAtMost(3.0)),
    target(Scenario::StoreRecovery, Metric::StartUp, Bound::ValueAtMost(2000.0)),
    target(Scenario::StoreQueues, Metric::AnonymousMemory, Bound::ValueAtMost(300.0)),
    target(Scenario::StoreQueues, Metric::CpuPerMessage, Bound::RatioAtMost(1.3)),
    target(Scenario::StoreTimers, Metric::LatenessP99, Bound::ValueAtMost(10.0)),
    target(Scenario::StoreDrain, Metric::Drained, Bound::ValueAtMost(10.0)),
    target(Scenario::StoreReplay, Metric::RecordsPerCpuSecond, Bound::ValueAtLeast(1_000_000.0)),
];

const fn target(scenario: Scenario, metric: Metric, bound: Bound) -> Target {
    Target { scenario, metric, bound }
}

/// Whether a figure is told by how much ours is more, not how many times: the latency of a hop.
pub(crate) fn is_difference(scenario: Scenario, metric: Metric) -> bool {
    scenario == Scenario::ClusterHop && LATENCIES.contains(&metric)
}

/// The bound of one figure, where it has one.
pub(crate) fn bound_of(scenario: Scenario, metric: Metric) -> Option<Bound> {
    TARGETS.iter().find(|target| target.scenario == scenario && target.metric == metric).map(|target| target.bound)
}
