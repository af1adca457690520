//! Figures as text.

use std::fmt::Write;

use crate::measurement::Measurement;
use crate::verdict::{Outcome, Verdict};

/// One run in a line, for progress.
pub(crate) fn line(measurement: &Measurement) -> String {
    let figures = measurement.0.iter().map(|(metric, value)| format!("{} {}", metric.label(), figure(*value)));
    figures.collect::<Vec<_>>().join("; ")
}

/// A scenario as a table.
pub(crate) fn table(outcome: &Outcome) -> String {
    let mut text = format!(
        "{}: medians of the last {} of {} pairs\n{:<26}{:>12}{:>8}{:>12}{:>8}{:>9}  {:<9}{}\n",
        outcome.scenario,
        outcome.pairs.len(),
        outcome.pairs_run,
        "",
        "gantry",
        "spread",
        "no-op",
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
            Verdict::NotJudged => "not judged: no-op spread",
        };
        let line = writeln!(
            text,
            "{:<26}{:>12}{:>8}{:>12}{:>8}{:>9}  {:<9}{}",
            row.metric.label(),
            figure(row.gantry),
            percent(row.gantry_spread),
            figure(row.noop),
            percent(row.noop_spread),
            format!("{:.2}×", row.ratio),
            row.target.as_deref().unwrap_or(""),
            verdict
        );
        line.expect("writing to a string cannot fail");
    }
    text
}

/// A number with about three digits that say something.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
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
        let pair = Pair { gantry: side(30_000.0), noop: side(40_000.0) };
        let table = table(&Outcome::of(Scenario::Receive, 2, vec![pair]));
        for part in ["receive + ack", "last 1 of 2 pairs", "30000", "40000", "0.75×", "≥ 0.5×", "met"] {
            assert!(table.contains(part), "{part:?} is not in\n{table}");
        }
    }
}
