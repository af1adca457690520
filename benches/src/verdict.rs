//! From interleaved pairs of runs to a verdict: pure arithmetic.

use serde::Serialize;

use crate::measurement::{Measurement, Metric, median, spread};
use crate::scenario::Scenario;
use crate::targets::{self, Bound};

/// A run of ours and the baseline's next to it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pair {
    /// Ours.
    pub(crate) gantry: Measurement,
    /// The baseline's; empty where there is none.
    pub(crate) baseline: Measurement,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It has no target.
    Shown,
    /// Its target is met.
    Met,
    /// Its target is missed.
    Missed,
    /// The baseline's runs differ too much from each other to say, or the runs were too short for it.
    NotJudged,
}

/// One figure over all pairs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Which.
    pub(crate) metric: Metric,
    /// Median of our runs.
    pub(crate) gantry: f64,
    /// Median of the baseline's runs; not a number without a baseline.
    pub(crate) baseline: f64,
    /// Median of the paired ratios.
    pub(crate) ratio: f64,
    /// Median of the paired differences, where that is what is looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) difference: Option<f64>,
    /// Spread of our runs.
    pub(crate) gantry_spread: f64,
    /// Spread of the baseline's runs.
    pub(crate) baseline_spread: f64,
    /// The target, in words.
    pub(crate) target: Option<String>,
    /// What became of it.
    pub(crate) verdict: Verdict,
}

/// A scenario's figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Which.
    pub(crate) scenario: Scenario,
    /// Pairs that were run until the baseline's spread over the last ones allowed a verdict.
    pub(crate) pairs_run: usize,
    /// Its figures.
    pub(crate) rows: Vec<Row>,
    /// The pairs that are judged.
    pub(crate) pairs: Vec<Pair>,
    /// Why nothing was run, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<String>,
}

impl Outcome {
    /// Judges `pairs`, the last of `pairs_run`.
    pub(crate) fn of(scenario: Scenario, pairs_run: usize, pairs: Vec<Pair>) -> Self {
        let metrics = pairs.first().map(|pair| pair.gantry.0.keys().copied().collect::<Vec<_>>()).unwrap_or_default();
        let rows = metrics.into_iter().map(|metric| row(scenario, metric, &pairs)).collect();
        Self { scenario, pairs_run, rows, pairs, skipped: None }
    }

    /// That of a scenario whose baseline cannot be had here.
    pub(crate) fn skipped(scenario: Scenario, reason: String) -> Self {
        Self { scenario, pairs_run: 0, rows: Vec::new(), pairs: Vec::new(), skipped: Some(reason) }
    }

    /// The same figures of runs that are too short to say anything about a target.
    pub(crate) fn unjudged(mut self) -> Self {
        for row in &mut self.rows {
            row.verdict = row.target.as_ref().map_or(Verdict::Shown, |_| Verdict::NotJudged);
        }
        self
    }

    /// Figures with this verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }
}

/// Whether the baseline's runs agree well enough for every verdict of the scenario.
pub(crate) fn is_steady(scenario: Scenario, pairs: &[Pair]) -> bool {
    let mut judged = targets::TARGETS.iter().filter(|target| target.scenario == scenario && target.bound.is_relative());
    judged.all(|target| is_metric_steady(target.metric, pairs))
}

/// Whether the baseline's runs agree well enough for a verdict on this figure.
///
/// A tail latency is taken as steady when the median latency is: tails spread on a quiet machine too, and the median of the
/// paired ratios is made for that.
fn is_metric_steady(metric: Metric, pairs: &[Pair]) -> bool {
    let metric = if matches!(metric, Metric::P99 | Metric::P999) { Metric::P50 } else { metric };
    spread(&values(pairs, metric).1) <= targets::BASELINE_SPREAD_MAX
}

fn row(scenario: Scenario, metric: Metric, pairs: &[Pair]) -> Row {
    let (gantry, baseline) = values(pairs, metric);
    let ratios: Vec<f64> = gantry.iter().zip(&baseline).map(|(gantry, baseline)| gantry / baseline).collect();
    let differences: Vec<f64> = gantry.iter().zip(&baseline).map(|(gantry, baseline)| gantry - baseline).collect();
    let (value, ratio, difference) = (median(&gantry), median(&ratios), median(&differences));
    let bound = targets::bound_of(scenario, metric);
    let verdict = match bound {
        None => Verdict::Shown,
        Some(bound) if bound.is_relative() && !is_metric_steady(metric, pairs) => Verdict::NotJudged,
        Some(bound) if bound.is_kept(value, ratio, difference) => Verdict::Met,
        Some(_) => Verdict::Missed,
    };
    Row {
        metric,
        gantry: value,
        baseline: median(&baseline),
        ratio,
        difference: targets::is_difference(scenario, metric).then_some(difference),
        gantry_spread: spread(&gantry),
        baseline_spread: spread(&baseline),
        target: bound.as_ref().map(Bound::to_string),
        verdict,
    }
}

/// Our values and the baseline's, pair by pair; a figure that a run lacks is `NaN` and so meets no target.
fn values(pairs: &[Pair], metric: Metric) -> (Vec<f64>, Vec<f64>) {
    let value = |measurement: &Measurement| measurement.0.get(&metric).copied().unwrap_or(f64::NAN);
    pairs.iter().map(|pair| (value(&pair.gantry), value(&pair.baseline))).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(metric: Metric, gantry: f64, baseline: f64) -> Pair {
        let measurement = |value| Measurement([(metric, value)].into());
        Pair { gantry: measurement(gantry), baseline: measurement(baseline) }
    }

    fn verdict(scenario: Scenario, metric: Metric, pairs: &[(f64, f64)]) -> Verdict {
        let pairs = pairs.iter().map(|(gantry, baseline)| pair(metric, *gantry, *baseline)).collect();
        Outcome::of(scenario, 1, pairs).rows[0].verdict
    }

    #[test]
    fn ratios_are_paired_before_the_median() {
        let pairs = vec![pair(Metric::P50, 20.0, 10.0), pair(Metric::P50, 33.0, 11.0), pair(Metric::P50, 10.0, 10.0)];
        let outcome = Outcome::of(Scenario::Latency, 1, pairs);
        assert_eq!((outcome.rows[0].ratio, outcome.rows[0].gantry), (2.0, 20.0));
    }

    #[test]
    fn bounds_decide() {
        let met = [(2.0, 1.0), (2.0, 1.0), (9.0, 1.0)];
        assert_eq!(verdict(Scenario::Latency, Metric::P50, &met), Verdict::Met);
        let missed = [(2.1, 1.0), (2.1, 1.0), (1.0, 1.0)];
        assert_eq!(verdict(Scenario::Latency, Metric::P50, &missed), Verdict::Missed);
        assert_eq!(verdict(Scenario::Receive, Metric::Throughput, &[(0.5, 1.0)]), Verdict::Met);
        assert_eq!(verdict(Scenario::Receive, Metric::Throughput, &[(0.49, 1.0)]), Verdict::Missed);
        assert_eq!(verdict(Scenario::StartUp, Metric::StartUp, &[(301.0, 900.0)]), Verdict::Missed);
    }

    #[test]
    fn an_unsteady_baseline_is_not_judged() {
        let unsteady = [(1.0, 1.0), (1.0, 1.2)];
        assert_eq!(verdict(Scenario::Latency, Metric::P50, &unsteady), Verdict::NotJudged);
        assert_eq!(verdict(Scenario::StartUp, Metric::StartUp, &unsteady), Verdict::Met);
    }

    #[test]
    fn figures_without_a_baseline_are_judged_by_value() {
        assert_eq!(verdict(Scenario::StoreRecovery, Metric::StartUp, &[(1900.0, f64::NAN)]), Verdict::Met);
        assert_eq!(verdict(Scenario::StoreRecovery, Metric::StartUp, &[(2100.0, f64::NAN)]), Verdict::Missed);
    }

    #[test]
    fn a_tail_is_judged_when_the_median_is_steady() {
        let run = |p50, p999| Measurement([(Metric::P50, p50), (Metric::P999, p999)].into());
        let pair = |p50, tail| Pair { gantry: run(9.0, 3.0 * tail), baseline: run(p50, tail) };
        let verdict = |pairs: &[Pair]| Outcome::of(Scenario::StoreTail, 2, pairs.to_vec()).rows[1].verdict;
        assert_eq!(verdict(&[pair(10.0, 100.0), pair(11.0, 900.0)]), Verdict::Met);
        assert_eq!(verdict(&[pair(10.0, 100.0), pair(15.0, 100.0)]), Verdict::NotJudged);
    }

    #[test]
    fn quick_runs_are_never_judged() {
        let outcome = Outcome::of(Scenario::StartUp, 1, vec![pair(Metric::StartUp, 1.0, 1.0)]).unjudged();
        assert_eq!(outcome.rows[0].verdict, Verdict::NotJudged);
    }

    #[test]
    fn differences_are_paired_before_the_median() {
        let met = [(250.0, 100.0), (900.0, 101.0), (240.0, 100.0)];
        assert_eq!(verdict(Scenario::ClusterHop, Metric::P50, &met), Verdict::Met);
        let missed = [(251.0, 100.0), (252.0, 101.0), (240.0, 100.0)];
        assert_eq!(verdict(Scenario::ClusterHop, Metric::P50, &missed), Verdict::Missed);
        let unsteady = [(150.0, 100.0), (150.0, 140.0)];
        assert_eq!(verdict(Scenario::ClusterHop, Metric::P50, &unsteady), Verdict::NotJudged);
    }

    #[test]
    fn missing_figures_miss_their_target() {
        assert_eq!(verdict(Scenario::StartUp, Metric::StartUp, &[(f64::NAN, 1.0)]), Verdict::Missed);
    }
}
