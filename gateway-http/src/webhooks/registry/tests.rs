use proptest::prelude::*;

use super::super::subscription::tests::webhook;
use super::*;

const AGE: Duration = Duration::from_secs(60);
/// How long the log keeps a record.
const KEPT: Duration = Duration::from_secs(180);
const TICK: Duration = Duration::from_secs(15);

fn record(id: &str, revision: u64, tie: u64, is_live: bool) -> Record {
    let webhook = is_live.then(webhook);
    Record { id: id.to_owned(), revision, tie, changed_at_ms: 0, webhook, disabled_because: None }
}

/// What of the webhooks matters.
fn shown(registry: &Registry) -> Vec<(String, u64, u64)> {
    registry.live().map(|entry| (entry.record.id.clone(), entry.record.revision, entry.record.tie)).collect()
}

#[test]
fn the_greater_revision_wins_and_a_tombstone_ends_it() {
    let mut registry = Registry::default();
    assert!(registry.apply(record("a", 2, 1, true), Timestamp(10)));
    assert!(!registry.apply(record("a", 1, 9, true), Timestamp(5)));
    assert!(registry.apply(record("a", 2, 2, true), Timestamp(11)), "two changes at once");
    assert_eq!(shown(&registry), [("a".to_owned(), 2, 2)]);
    assert!(registry.apply(record("a", 3, 0, false), Timestamp(12)));
    assert!(registry.get("a").is_none() && shown(&registry).is_empty());
}

#[test]
fn live_records_are_written_again_in_time_and_tombstones_when_they_are_overrun() {
    let mut registry = Registry::default();
    registry.apply(record("a", 1, 1, true), Timestamp(0));
    registry.apply(record("b", 2, 1, false), Timestamp(0));
    let late = Timestamp(0).plus(AGE);
    let due = |registry: &Registry| registry.due(late, AGE).iter().map(|record| record.id.clone()).collect::<Vec<_>>();
    assert_eq!(due(&registry), ["a"]);
    registry.apply(record("a", 1, 1, true), late);
    assert!(due(&registry).is_empty());
    registry.apply(record("b", 1, 1, true), Timestamp(1));
    assert_eq!(due(&registry), ["b"], "a slow gateway has written what was deleted");
    registry.forget(late, AGE);
    registry.apply(record("b", 2, 1, false), late);
    assert!(due(&registry).is_empty() && registry.get("b").is_none());
}

/// The topic and gateways that read and write it, each when it comes to it.
struct World {
    log: Vec<(Record, Timestamp)>,
    now: Timestamp,
    gateways: Vec<(Registry, usize)>,
    ties: u64,
}

impl World {
    fn new() -> Self {
        let gateways = (0..3).map(|_| (Registry::default(), 0)).collect();
        Self { log: Vec::new(), now: Timestamp(0), gateways, ties: 0 }
    }

    fn catch_up(&mut self, gateway: usize) {
        let (registry, read) = &mut self.gateways[gateway];
        for (record, stored_at) in &self.log[*read..] {
            registry.apply(record.clone(), *stored_at);
        }
        *read = self.log.len();
    }

    /// A gateway changes a webhook as it knows it, which may be an old one.
    fn change(&mut self, gateway: usize, id: &str, is_live: bool) {
        let known = self.gateways[gateway].0.entries.get(id).map_or(0, |entry| entry.record.revision);
        self.ties += 1;
        self.log.push((record(id, known + 1, self.ties, is_live), self.now));
    }

    fn write_again(&mut self, gateway: usize) {
        for record in self.gateways[gateway].0.due(self.now, AGE) {
            self.log.push((record.as_ref().clone(), self.now));
        }
        self.gateways[gateway].0.forget(self.now, KEPT);
    }

    fn tick(&mut self) {
        self.now = self.now.plus(TICK);
        for gateway in 0..self.gateways.len() {
            self.catch_up(gateway);
            self.write_again(gateway);
        }
    }

    /// What a gateway finds that starts now.
    fn fresh(&self) -> Registry {
        let mut registry = Registry::default();
        for (record, stored_at) in self.log.iter().filter(|(_, at)| self.now.since(*at) < KEPT) {
            registry.apply(record.clone(), *stored_at);
        }
        registry
    }
}

proptest! {
    #[test]
    fn a_gateway_that_starts_knows_what_the_others_know_whatever_has_expired(
        steps in prop::collection::vec((0usize..6, 0usize..3, 0usize..3), 0..60)
    ) {
        let mut world = World::new();
        for (step, gateway, id) in steps {
            let id = ["a", "b", "c"][id];
            match step {
                0 | 1 => world.change(gateway, id, true),
                2 => world.change(gateway, id, false),
                3 => world.catch_up(gateway),
                4 => world.write_again(gateway),
                _ => world.tick(),
            }
        }
        for _ in 0..40 {
            world.tick();
            let fresh = shown(&world.fresh());
            for gateway in 0..3 {
                world.catch_up(gateway);
                prop_assert_eq!(&shown(&world.gateways[gateway].0), &fresh);
            }
        }
    }
}
