//! Figures as text.

use std::fmt::Write;

use crate::measurement::Measurement;
use crate::verdict::{Outcome, Verdict};

/// Stands where there is no baseline.
const ABSENT: &str = "–";

/// One run in a line, for progress.
pub(crate) fn line(measurement: &Measurement) -> String {
    let figures = measurement.0.iter().map(|(metric, value)| format!("{} {}", metric.label(), figure(*value)));
    figures.collect::<Vec<_>>().join("; ")
}

/// A scenario as a table.
pub(crate) fn table(outcome: &Outcome) -> String {
    if let Some(reason) = &outcome.skipped {
        return format!("{}: SKIPPED, {reason}\n", outcome.scenario);
    }
    let mut text = format!(
        "{}: medians of the last {} of {} runs\n{:<26}{:>12}{:>8}{:>12}{:>8}{:>9}  {:<11}{}\n",
        outcome.scenario,
        outcome.pairs.len(),
        outcome.pairs_run,
        "",
        "gantry",
        "spread",
        outcome.scenario.baseline().unwrap_or(""),
        "spread",
        "ratio",
        "target",
        "verdict"
    );
    for row in &outcome.rows {
        let verdict = match row.verdict {
            Verdict::Shown => "",
            Verdict::Met => "met",
            Verdict::Missed => "MISSED",
            Verdict::NotJudged => "not judged",
        };
        let line = writeln!(
            text,
            "{:<26}{:>12}{:>8}{:>12}{:>8}{:>9}  {:<11}{}",
            row.metric.label(),
            figure(row.gantry),
            percent(row.gantry_spread),
            figure(row.baseline),
            percent(row.baseline_spread),
            row.difference.map_or_else(|| ratio(row.ratio), |difference| format!("{difference:+.0}")),
            row.target.as_deref().unwrap_or(""),
            verdict
        );
        line.expect("writing to a string cannot fail");
    }
    text
}

/// A number with about three digits that say something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => ABSENT.to_owned(),
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A share, such as a spread.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        percent if percent.is_nan() => ABSENT.to_owned(),
        // Wider than its column, and as unsteady.
        1000.0.. => ">999 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

fn ratio(ratio: f64) -> String {
    if ratio.is_nan() { ABSENT.to_owned() } else { format!("{ratio:.2}×") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Metric;
    use crate::scenario::Scenario;
    use crate::verdict::Pair;

    #[test]
    fn table_shows_both_sides_and_the_verdict() {
        let side = |value| Measurement([(Metric::Throughput, value)].into());
        let pair = Pair { gantry: side(30_000.0), baseline: side(40_000.0) };
        let table = table(&Outcome::of(Scenario::Receive, 2, vec![pair]));
        for part in ["receive + ack", "last 1 of 2 runs", "no-op", "30000", "40000", "0.75×", "≥ 0.5×", "met"] {
            assert!(table.contains(part), "{part:?} is not in\n{table}");
        }
    }

    #[test]
    fn a_bounded_difference_is_shown_instead_of_the_ratio() {
        let side = |value| Measurement([(Metric::P50, value)].into());
        let pair = Pair { gantry: side(340.0), baseline: side(200.0) };
        let table = table(&Outcome::of(Scenario::ClusterHop, 1, vec![pair]));
        assert!(table.contains("+140") && table.contains("≤ +150") && !table.contains('×'), "{table}");
    }

    #[test]
    fn what_was_skipped_says_why() {
        let table = table(&Outcome::skipped(Scenario::StoreNats, "go is missing".into()));
        assert!(table.contains("SKIPPED, go is missing"), "{table}");
    }

    #[test]
    fn what_has_no_baseline_has_no_ratio() {
        let gantry = Measurement([(Metric::Drained, 8.5)].into());
        let pair = Pair { gantry, baseline: Measurement::default() };
        let table = table(&Outcome::of(Scenario::StoreDrain, 1, vec![pair]));
        assert!(table.contains("8.50") && table.contains('–') && !table.contains("NaN"), "{table}");
    }
}
