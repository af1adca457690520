//! Brokers that failed or were slow lately, so that sends take another one for a while. A plain value: it is told the time.
//!
//! The last call decides. Source: Apache `MQFaultStrategy`, `LatencyFaultToleranceImpl`, whose times these are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use env::clock::Moment;

/// How long a broker is passed over that did not answer, or took no connection.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// The same, of one that took at least so long to answer, in milliseconds of both; a faster one is not passed over.
const AFTER_LATENCY_MS: [(u64, u64); 4] = [(5000, 10_000), (3000, 6000), (1800, 5000), (550, 2000)];

/// By broker; one whose last call went well has no entry.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<Arc<str>, Fault>);

#[derive(Clone, Copy, Debug)]
struct Fault {
    until: Moment,
    has_failed: bool,
}

impl Faults {
    /// A call has failed, at `now`.
    pub(super) fn failed(&mut self, broker: &Arc<str>, now: Moment) {
        self.0.insert(broker.clone(), Fault { until: now.plus(AFTER_FAILURE), has_failed: true });
    }

    /// A call was answered, at `now`.
    pub(super) fn answered(&mut self, broker: &Arc<str>, latency: Duration, now: Moment) {
        let slow = AFTER_LATENCY_MS.iter().find(|(least, _)| latency >= Duration::from_millis(*least));
        match slow {
            Some((_, passed_over)) => {
                let until = now.plus(Duration::from_millis(*passed_over));
                self.0.insert(broker.clone(), Fault { until, has_failed: false });
            }
            None if self.0.is_empty() => {}
            None => drop(self.0.remove(broker)),
        }
    }

    /// Whether another broker should be sent to, if there is one.
    pub(super) fn is_unsound(&self, broker: &str, now: Moment) -> bool {
        self.0.get(broker).is_some_and(|fault| now < fault.until)
    }

    /// Whether it did not answer at all lately.
    pub(super) fn has_failed(&self, broker: &str, now: Moment) -> bool {
        self.0.get(broker).is_some_and(|fault| fault.has_failed && now < fault.until)
    }

    /// Forgets brokers that are not there any more.
    pub(super) fn retain(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|broker, _| is_known(broker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_passed_over_for_as_long_as_its_last_call_says() {
        let (mut faults, broker) = (Faults::default(), Arc::from("a"));
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert!(!faults.is_unsound("a", at(0)));
        faults.failed(&broker, at(0));
        assert!(faults.is_unsound("a", at(9)) && faults.has_failed("a", at(9)));
        assert!(!faults.is_unsound("a", at(10)) && !faults.is_unsound("b", at(9)));
        faults.answered(&broker, Duration::from_millis(549), at(9));
        assert!(!faults.is_unsound("a", at(9)));
        faults.answered(&broker, Duration::from_millis(2000), at(9));
        assert!(faults.is_unsound("a", at(13)) && !faults.has_failed("a", at(13)) && !faults.is_unsound("a", at(14)));
        faults.retain(|broker| broker == "b");
        assert!(!faults.is_unsound("a", at(13)));
    }
}
