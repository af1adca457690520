//! Which broker of a topic knows an idempotency key. A plain value: it is told the time.
//!
//! Keys are kept by brokers, so all sends under a key must come to the same one, through whichever proxy. Its hash over the topic's
//! brokers decides, so that a broker that comes or goes moves no keys between others. For one window after a change the former
//! brokers count: who came later gets no keys yet, and the keys of who is gone are refused, so that none is stored a second time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use env::clock::Moment;
use types::TopicName;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How long a change of a topic's brokers takes to count: as long as brokers know a key, if they are not told another time.
const WINDOW: Duration = Duration::from_secs(600);
/// Topics that are remembered before those are forgotten that no key was sent to for a window.
const TOPICS_KEPT: usize = 1024;

/// By topic and broker; one entry for each topic that keys are sent to.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<TopicName, BTreeMap<Arc<str>, Seen>>);

/// When a broker had queues of a topic.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// `None` of those that were there when the topic was first looked at.
    since: Option<Moment>,
    last: Moment,
}

impl Owners {
    /// The broker that knows the key, whether it is among those `there` now or not; `None` when there is none.
    pub(super) fn owner<'a>(
        &mut self,
        topic: &TopicName,
        key: &str,
        there: impl Iterator<Item = &'a Arc<str>>,
        now: Moment,
    ) -> Option<Arc<str>> {
        if self.0.len() >= TOPICS_KEPT && !self.0.contains_key(topic) {
            self.0.retain(|_, brokers| brokers.values().any(|seen| now.since(seen.last) < WINDOW));
        }
        let brokers = self.0.entry(topic.clone()).or_default();
        brokers.retain(|_, seen| now.since(seen.last) < WINDOW);
        let since = (!brokers.is_empty()).then_some(now);
        for broker in there {
            brokers.entry(broker.clone()).or_insert(Seen { since, last: now }).last = now;
        }
        let is_settled = |seen: &Seen| seen.since.is_none_or(|since| now.since(since) >= WINDOW);
        let are_new = !brokers.values().any(is_settled);
        let owners = brokers.iter().filter(|(_, seen)| are_new || is_settled(seen)).map(|(broker, _)| broker);
        owners.max_by_key(|broker| rank(broker, key)).cloned()
    }
}

/// The highest of a key's ranks is its broker's. Every proxy must come to the same one, of every version.
fn rank(broker: &str, key: &str) -> u64 {
    xxh3_64_with_seed(key.as_bytes(), xxh3_64_with_seed(broker.as_bytes(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    /// Who knows each of a hundred keys.
    fn owners(owners: &mut Owners, there: &[&str], now: Moment) -> Vec<String> {
        let there: Vec<Arc<str>> = there.iter().map(|name| Arc::from(*name)).collect();
        let topic = TopicName::new("t").expect("valid");
        let owner = |key: u32| owners.owner(&topic, &key.to_string(), there.iter(), now).expect("one");
        (0..100).map(owner).map(|owner| owner.to_string()).collect()
    }

    #[test]
    fn all_proxies_come_to_the_same_broker_and_each_has_its_share() {
        let first = owners(&mut Owners::default(), &["a", "b"], at(0));
        assert_eq!(first, owners(&mut Owners::default(), &["b", "a"], at(7)));
        let of_a = first.iter().filter(|owner| *owner == "a").count();
        assert!((30..=70).contains(&of_a), "{of_a}");
    }

    #[test]
    fn who_comes_gets_keys_after_a_window_and_only_takes_some() {
        let mut known = Owners::default();
        let before = owners(&mut known, &["a", "b"], at(0));
        assert_eq!(owners(&mut known, &["a", "b", "c"], at(1)), before);
        assert_eq!(owners(&mut known, &["a", "b", "c"], at(600)), before);
        let after = owners(&mut known, &["a", "b", "c"], at(601));
        assert!(after.iter().any(|owner| owner == "c"));
        assert!(after.iter().zip(&before).all(|(after, before)| after == "c" || after == before));
    }

    #[test]
    fn the_keys_of_who_is_gone_are_its_own_for_a_window() {
        let mut known = Owners::default();
        let before = owners(&mut known, &["a", "b"], at(0));
        assert_eq!(owners(&mut known, &["a"], at(1)), before);
        assert_eq!(owners(&mut known, &["a"], at(599)), before);
        assert!(owners(&mut known, &["a"], at(600)).iter().all(|owner| owner == "a"));
    }

    #[test]
    fn topics_without_keys_for_a_window_are_forgotten() {
        let (mut known, broker) = (Owners::default(), Arc::from("a"));
        for number in 0..=TOPICS_KEPT as u64 {
            let topic = TopicName::new(&format!("t{number}")).expect("valid");
            known.owner(&topic, "k", [&broker].into_iter(), at(number));
        }
        assert!(known.0.len() < TOPICS_KEPT, "{}", known.0.len());
    }
}
