use proptest::prelude::*;

use super::super::subscription::tests::webhook;
use super::*;

const AGE: Duration = Duration::from_secs(60);
/// How long the log keeps a record.
const KEPT: Duration = Duration::from_secs(180);
/// Longest time for which a gateway works without having read the topic: longer than after what records are written again, or it would
/// never write what is gone.
const UNREAD_MAX: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_secs(15);

fn record(id: &str, revision: u64, tie: u64, is_live: bool) -> Record {
    let wanted = is_live.then(|| Wanted::Webhook(NewWebhook { group: group(id).to_owned(), ..webhook() }));
    Record { id: id.to_owned(), since: None, revision, tie, changed_at_ms: 0, wanted, disabled_because: None }
}

/// What its owner wants for the webhook with this id: `a` and `b` want the same group.
fn group(id: &str) -> &str {
    if id == "b" { "a" } else { id }
}

/// What of the webhooks matters.
fn shown(registry: &Registry) -> Vec<(String, u64, u64)> {
    let one = |entry: &Entry| (entry.record.id.clone(), entry.record.revision, entry.record.tie);
    registry.live().into_iter().map(one).collect()
}

#[test]
fn the_greater_revision_wins_and_a_tombstone_ends_it() {
    let mut registry = Registry::default();
    let mut apply = |revision, tie, is_live, at| {
        registry.apply(record("a", revision, tie, is_live), QueueOffset(at), Timestamp(at.cast_signed()))
    };
    assert!(apply(2, 1, true, 10));
    assert!(!apply(1, 9, true, 5));
    assert!(apply(2, 2, true, 11), "two changes at once");
    assert!(apply(3, 0, false, 12));
    assert!(registry.get("a").is_none() && shown(&registry).is_empty());
}

#[test]
fn a_stored_record_says_by_its_members_what_it_is() {
    let read = |wanted: &str| {
        let text = format!(r#"{{"id": "a", "revision": 1, "tie": 1, "changedAtMs": 0, "webhook": {wanted}}}"#);
        serde_json::from_str::<Record>(&text).map(|record| record.wanted).map_err(drop)
    };
    let (webhook, secrets) = (webhook(), r#""secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]"#);
    assert_eq!(read(&serde_json::to_string(&webhook).expect("plain data")), Ok(Some(Wanted::Webhook(webhook))));
    let check_url = format!(r#"{{"topic": "orders", "url": "https://example.org/in", {secrets}}}"#);
    assert!(matches!(read(&check_url), Ok(Some(Wanted::CheckUrl(_)))));
    assert_eq!(read("null"), Ok(None), "a tombstone");
    assert_eq!(read(r#"{"of": "a newer version"}"#), Err(()));
}

#[test]
fn live_records_are_written_again_in_time_and_tombstones_when_they_are_overrun() {
    let mut registry = Registry::default();
    let offset = QueueOffset(0);
    registry.apply(record("a", 1, 1, true), offset, Timestamp(0));
    registry.apply(record("c", 2, 1, false), offset, Timestamp(0));
    let late = Timestamp(0).plus(AGE);
    let due = |registry: &Registry| registry.due(late, AGE).iter().map(|record| record.id.clone()).collect::<Vec<_>>();
    assert_eq!(due(&registry), ["a"]);
    registry.apply(record("a", 1, 1, true), offset, late);
    assert!(due(&registry).is_empty());
    registry.apply(record("c", 1, 1, true), offset, Timestamp(1));
    assert_eq!(due(&registry), ["c"], "a slow gateway has written what was deleted");
    registry.forget(late, AGE);
    registry.apply(record("c", 2, 1, false), offset, late);
    assert!(due(&registry).is_empty() && registry.get("c").is_none());
}

#[test]
fn of_two_webhooks_of_a_group_the_first_in_the_topic_has_it_in_whatever_order_they_come() {
    let records = || [(record("b", 1, 1, true), QueueOffset(7)), (record("a", 1, 1, true), QueueOffset(8))];
    let [first, second] = records();
    let [later, sooner] = records();
    for order in [[first, second], [sooner, later]] {
        let mut registry = Registry::default();
        for (record, offset) in order {
            registry.apply(record, offset, Timestamp(0));
        }
        assert_eq!(shown(&registry), [("b".to_owned(), 1, 1)]);
        assert!(registry.get("b").is_some() && registry.get("a").is_none());
        let rivals: Vec<_> = registry.rivals().iter().map(|record| record.id.clone()).collect();
        assert_eq!(rivals, ["a"]);
        // Written again, it stands behind the other one.
        let again = registry.get("b").expect("it has the group").record.as_ref().clone();
        let mut fresh = Registry::default();
        fresh.apply(record("a", 1, 1, true), QueueOffset(8), Timestamp(0));
        fresh.apply(again, QueueOffset(9), Timestamp(1));
        assert_eq!(shown(&fresh), [("b".to_owned(), 1, 1)], "who knows its second record only");
    }
}

/// The topic and gateways that read and write it, each when it comes to it.
struct World {
    log: Vec<(Record, Timestamp)>,
    now: Timestamp,
    gateways: Vec<Gateway>,
    ties: u64,
}

#[derive(Default)]
struct Gateway {
    registry: Registry,
    /// Records that it has read.
    read: usize,
    read_at: Timestamp,
}

impl World {
    fn new() -> Self {
        let gateways = (0..3).map(|_| Gateway::default()).collect();
        Self { log: Vec::new(), now: Timestamp(0), gateways, ties: 0 }
    }

    fn catch_up(&mut self, gateway: usize) {
        let Gateway { registry, read, read_at } = &mut self.gateways[gateway];
        for (index, (record, stored_at)) in self.log.iter().enumerate().skip(*read) {
            registry.apply(record.clone(), QueueOffset(index as u64), *stored_at);
        }
        (*read, *read_at) = (self.log.len(), self.now);
    }

    fn write(&mut self, of: &Record, is_live: bool) {
        self.ties += 1;
        let wanted = record(&of.id, 0, 0, is_live).wanted;
        let changed = Record { revision: of.revision + 1, tie: self.ties, wanted, ..of.clone() };
        self.log.push((changed, self.now));
    }

    /// A gateway makes, changes or deletes a webhook as it knows it, which may be an old one.
    fn change(&mut self, gateway: usize, id: &str, is_live: bool) {
        let registry = &self.gateways[gateway].registry;
        let of = match (registry.entries.get(id), registry.holder(Claim::Group(group(id)))) {
            (_, Some(holder)) if holder.record.id != id => return,
            (Some(known), _) => known.record.as_ref().clone(),
            (None, _) if is_live => record(id, 0, 0, false),
            (None, _) => return,
        };
        self.write(&of, is_live);
    }

    /// What a gateway does as soon as it has read the topic.
    fn keep(&mut self, gateway: usize) {
        for record in self.gateways[gateway].registry.due(self.now, AGE) {
            self.log.push((record.as_ref().clone(), self.now));
        }
        self.gateways[gateway].registry.forget(self.now, KEPT);
        for rival in self.gateways[gateway].registry.rivals() {
            self.write(&rival, false);
        }
    }

    /// Time passes, in which gateways read nothing unless they have read nothing for long.
    fn pass(&mut self) {
        self.now = self.now.plus(TICK);
        for gateway in 0..self.gateways.len() {
            if self.now.since(self.gateways[gateway].read_at) > UNREAD_MAX {
                self.catch_up(gateway);
            }
        }
    }

    /// Time passes, and all gateways do what they have to.
    fn tick(&mut self) {
        self.now = self.now.plus(TICK);
        for gateway in 0..self.gateways.len() {
            self.catch_up(gateway);
            self.keep(gateway);
        }
    }

    /// What a gateway finds that starts now.
    fn fresh(&self) -> Registry {
        let mut registry = Registry::default();
        for (index, (record, stored_at)) in self.log.iter().enumerate() {
            if self.now.since(*stored_at) < KEPT {
                registry.apply(record.clone(), QueueOffset(index as u64), *stored_at);
            }
        }
        registry
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Change { gateway: usize, id: &'static str, is_live: bool },
    CatchUp(usize),
    Keep(usize),
    Pass,
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gateway = || 0_usize..3;
    let change = (gateway(), prop::sample::select(vec!["a", "b", "c"]), prop::bool::weighted(0.6));
    let step = prop_oneof![
        3 => change.prop_map(|(gateway, id, is_live)| Step::Change { gateway, id, is_live }),
        3 => gateway().prop_map(Step::CatchUp),
        2 => gateway().prop_map(Step::Keep),
        4 => Just(Step::Pass),
        1 => Just(Step::Tick),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn a_gateway_that_starts_knows_what_the_others_know_whatever_has_expired(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Change { gateway, id, is_live } => world.change(gateway, id, is_live),
                Step::CatchUp(gateway) => world.catch_up(gateway),
                Step::Keep(gateway) => world.keep(gateway),
                Step::Pass => world.pass(),
                Step::Tick => world.tick(),
            }
        }
        for round in 0..40 {
            world.tick();
            let fresh = world.fresh();
            for gateway in 0..3 {
                world.catch_up(gateway);
                prop_assert_eq!(&shown(&world.gateways[gateway].registry), &shown(&fresh));
            }
            prop_assert!(round == 0 || fresh.rivals().is_empty(), "{:?}", fresh.rivals());
        }
    }
}
