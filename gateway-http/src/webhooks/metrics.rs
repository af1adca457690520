//! The numbers of webhooks: names and meanings in one place. Labels are a fixed few, whatever webhooks there are.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::client::Outcome;
use super::views::OutcomeView;

/// See the module's head.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    calls: IntCounterVec,
    pub(super) dead_letters: IntCounter,
    pub(super) webhooks: IntGauge,
    pub(super) breakers_open: IntGauge,
}

impl Metrics {
    /// Numbers that `registry` shows.
    ///
    /// # Errors
    /// It has them already.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let calls = Opts::new("gantry_webhook_calls_total", "Calls of webhooks by this gateway, by what they came to");
        let metrics = Self {
            calls: IntCounterVec::new(calls, &["outcome"])?,
            dead_letters: IntCounter::new(
                "gantry_webhook_dead_letters_total",
                "Messages that webhooks of this gateway have given up",
            )?,
            webhooks: IntGauge::new("gantry_webhooks", "Webhooks that are enabled")?,
            breakers_open: IntGauge::new(
                "gantry_webhook_breakers_open",
                "Webhooks that this gateway leaves alone because too many calls failed",
            )?,
        };
        registry.register(Box::new(metrics.calls.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        registry.register(Box::new(metrics.webhooks.clone()))?;
        registry.register(Box::new(metrics.breakers_open.clone()))?;
        Ok(metrics)
    }

    /// Counts a call.
    pub(super) fn called(&self, outcome: Outcome) {
        let label = match OutcomeView::from(outcome) {
            OutcomeView::Delivered => "delivered",
            OutcomeView::Failed => "failed",
            OutcomeView::Throttled => "throttled",
            OutcomeView::Gone => "gone",
        };
        self.calls.with_label_values(&[label]).inc();
    }
}

impl From<Outcome> for OutcomeView {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Delivered,
            Outcome::Failed => Self::Failed,
            Outcome::Throttled { .. } => Self::Throttled,
            Outcome::Gone => Self::Gone,
        }
    }
}
