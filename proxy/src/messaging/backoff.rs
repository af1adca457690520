//! Back-off policies as clients are told them, each in the form that the client understands.
//!
//! Source: facts/grpc.md §10.2, pitfall 2 and the matrix of §18; facts/reference.md.

use std::time::Duration;

use types::{GroupConfig, RetryPolicy};

/// What a consumer's client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Understands {
    /// Both forms.
    Both,
    /// The list only: Python.
    Customized,
    /// The formula only: Node, which without it sends a refused message to the dead-letter topic at once.
    Exponential,
}

/// A producer's waits between its attempts. Source: Apache `grpcClientProducer*`.
#[must_use]
pub fn of_producer() -> (u32, RetryPolicy) {
    const ATTEMPTS_MAX: u32 = 3;
    let retry =
        RetryPolicy::Exponential { initial: Duration::from_millis(10), max: Duration::from_secs(1), multiplier: 2 };
    (ATTEMPTS_MAX, retry)
}

/// A group's waits, in a form that the client understands: never empty, in whole seconds.
#[must_use]
pub fn of_consumer(group: &GroupConfig, understands: Understands) -> RetryPolicy {
    let policy = full_list(&group.retry);
    match (policy, understands) {
        (policy @ RetryPolicy::Customized { .. }, Understands::Both | Understands::Customized)
        | (policy @ RetryPolicy::Exponential { .. }, Understands::Both | Understands::Exponential) => policy,
        (RetryPolicy::Customized { next }, Understands::Exponential) => as_formula(&next),
        (policy @ RetryPolicy::Exponential { .. }, Understands::Customized) => as_list(&policy, group.attempts_max),
    }
}

/// The default list as clients know it: it has two entries more at its front, which brokers skip when they wait on
/// their own behalf (Apache `CustomizedRetryPolicy.nextDelayDuration`). An empty list is the default one.
fn full_list(policy: &RetryPolicy) -> RetryPolicy {
    let default = RetryPolicy::default();
    match policy {
        RetryPolicy::Customized { next } if next.is_empty() || *policy == default => {
            let RetryPolicy::Customized { next } = default else { return default };
            let front = [1, 5].map(Duration::from_secs);
            RetryPolicy::Customized { next: front.into_iter().chain(next).collect() }
        }
        RetryPolicy::Customized { next } => {
            RetryPolicy::Customized { next: next.iter().copied().map(whole_seconds).collect() }
        }
        RetryPolicy::Exponential { initial, max, multiplier } => RetryPolicy::Exponential {
            initial: whole_seconds(*initial),
            max: whole_seconds(*max),
            multiplier: (*multiplier).max(1),
        },
    }
}

/// Clients drop what is below a second, and a wait of nothing is a tight loop.
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(Duration::from_secs(1))
}

/// Doubling from the list's first entry to its last.
fn as_formula(next: &[Duration]) -> RetryPolicy {
    let first = next.first().copied().unwrap_or(Duration::from_secs(1));
    let last = next.last().copied().unwrap_or(first);
    RetryPolicy::Exponential { initial: first, max: last.max(first), multiplier: 2 }
}

/// The formula's first waits; clients repeat the last.
fn as_list(policy: &RetryPolicy, attempts_max: u32) -> RetryPolicy {
    const ENTRIES_MAX: u32 = 32;
    let entries = attempts_max.saturating_sub(1).clamp(1, ENTRIES_MAX);
    RetryPolicy::Customized { next: (1..=entries).map(|attempt| policy.delay_after(attempt)).collect() }
}

#[cfg(test)]
mod tests {
    use types::GroupName;

    use super::*;

    fn group(retry: RetryPolicy) -> GroupConfig {
        GroupConfig { retry, ..GroupConfig::new(GroupName::new("g").expect("valid")) }
    }

    fn list(policy: RetryPolicy) -> Vec<u64> {
        match policy {
            RetryPolicy::Customized { next } => next.iter().map(Duration::as_secs).collect(),
            RetryPolicy::Exponential { .. } => panic!("expected a list"),
        }
    }

    #[test]
    fn the_default_list_is_the_one_that_apache_sends() {
        let list = list(of_consumer(&group(RetryPolicy::default()), Understands::Both));
        assert_eq!(list.len(), 18);
        assert_eq!(list[..4], [1, 5, 10, 30]);
        assert_eq!(list[17], 7200);
    }

    #[test]
    fn pitfall_02_each_client_gets_a_policy_that_it_understands() {
        let exponential = RetryPolicy::Exponential {
            initial: Duration::from_millis(4500),
            max: Duration::from_secs(60),
            multiplier: 2,
        };
        let python = list(of_consumer(&group(exponential.clone()), Understands::Customized));
        assert_eq!(python[..5], [5, 10, 20, 40, 60]);
        assert_eq!(python.len(), 16);
        let node = of_consumer(&group(RetryPolicy::default()), Understands::Exponential);
        assert_eq!(
            node,
            RetryPolicy::Exponential { initial: Duration::from_secs(1), max: Duration::from_secs(7200), multiplier: 2 }
        );
        let empty = of_consumer(&group(RetryPolicy::Customized { next: vec![] }), Understands::Both);
        assert!(!list(empty).is_empty());
        assert!(matches!(of_producer().1, RetryPolicy::Exponential { .. }));
    }
}
