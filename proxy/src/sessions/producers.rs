//! Which producers can be asked for the outcome of a topic's transactions.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use types::TopicName;

use super::Session;

/// Most producers remembered for a topic, of each of the two kinds.
pub(super) const PER_TOPIC_MAX: usize = 1024;

/// Producers by topic.
#[derive(Debug, Default)]
pub(super) struct Producers {
    /// Held for the time of a search.
    by_topic: Mutex<BTreeMap<TopicName, OfTopic>>,
}

#[derive(Debug, Default)]
struct OfTopic {
    /// Have sent transactional messages to it, so they have a checker.
    transactional: Vec<Weak<Session>>,
    /// Said that they send to it.
    declared: Vec<Weak<Session>>,
    /// Whose turn it is.
    turn: usize,
}

impl Producers {
    pub(super) fn note_transaction(&self, session: &Arc<Session>, topic: &TopicName) {
        let mut by_topic = self.by_topic.lock();
        match by_topic.get_mut(topic) {
            Some(of_topic) => note(&mut of_topic.transactional, session),
            None => note(&mut by_topic.entry(topic.clone()).or_default().transactional, session),
        }
    }

    pub(super) fn note_topics(&self, session: &Arc<Session>, topics: &[TopicName]) {
        let mut by_topic = self.by_topic.lock();
        for topic in topics {
            note(&mut by_topic.entry(topic.clone()).or_default().declared, session);
        }
    }

    /// Who may be asked, in the order in which to try: those with transactions first, each kind from its turn on.
    pub(super) fn candidates(&self, topic: &TopicName) -> Vec<Arc<Session>> {
        let mut by_topic = self.by_topic.lock();
        let Some(of_topic) = by_topic.get_mut(topic) else { return Vec::new() };
        of_topic.turn = of_topic.turn.wrapping_add(1);
        let turn = of_topic.turn;
        let from_turn = |known: &[Weak<Session>]| {
            let live = known.iter().filter_map(Weak::upgrade).filter(|session| session.is_reachable());
            let mut live: Vec<_> = live.collect();
            let first = turn.checked_rem(live.len()).unwrap_or(0);
            live.rotate_left(first);
            live
        };
        let mut candidates = from_turn(&of_topic.transactional);
        candidates.extend(from_turn(&of_topic.declared));
        candidates
    }

    /// The topics that have somebody who can be asked.
    pub(super) fn topics(&self) -> Vec<TopicName> {
        let is_reachable = |known: &Weak<Session>| known.upgrade().is_some_and(|session| session.is_reachable());
        let by_topic = self.by_topic.lock();
        let asked = by_topic.iter().filter(|(_, of)| of.transactional.iter().chain(&of.declared).any(is_reachable));
        asked.map(|(topic, _)| topic.clone()).collect()
    }

    pub(super) fn forget_the_gone(&self) {
        self.by_topic.lock().retain(|_, of_topic| {
            of_topic.transactional.retain(|session| session.strong_count() > 0);
            of_topic.declared.retain(|session| session.strong_count() > 0);
            !(of_topic.transactional.is_empty() && of_topic.declared.is_empty())
        });
    }
}

fn note(known: &mut Vec<Weak<Session>>, session: &Arc<Session>) {
    if known.iter().any(|other| other.as_ptr() == Arc::as_ptr(session)) {
        return;
    }
    if known.len() >= PER_TOPIC_MAX {
        known.retain(|other| other.strong_count() > 0);
    }
    if known.len() < PER_TOPIC_MAX {
        known.push(Arc::downgrade(session));
    }
}
