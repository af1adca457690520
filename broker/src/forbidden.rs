//! Which groups may not read which topics, as operators set it; it lasts until the broker ends. Source: Apache 5.5
//! `SubscriptionGroupManager#updateForbidden`.

use std::collections::BTreeMap;

use types::{GroupName, TopicName};

/// Most pairs that are remembered.
pub(crate) const FORBIDDEN_MAX: usize = 10_000;

/// Pairs of groups and topics, and whether both were seen to be there: a group may be forbidden before it first comes.
#[derive(Debug, Default)]
pub(crate) struct Forbidden(BTreeMap<(GroupName, TopicName), bool>);

/// There is no room.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("groups are forbidden to read topics {FORBIDDEN_MAX} times, which is the limit")]
pub(crate) struct Full;

impl Forbidden {
    /// Forbids it, or allows it again.
    pub(crate) fn set(&mut self, group: &GroupName, topic: &TopicName, is_forbidden: bool) -> Result<(), Full> {
        let pair = (group.clone(), topic.clone());
        if !is_forbidden {
            self.0.remove(&pair);
            return Ok(());
        }
        if self.0.len() >= FORBIDDEN_MAX && !self.0.contains_key(&pair) {
            return Err(Full);
        }
        self.0.entry(pair).or_default();
        Ok(())
    }

    /// Looks which pairs are there, and forgets those that were and are not any more: what comes under their names later is not theirs.
    pub(crate) fn look(&mut self, is_there: impl Fn(&GroupName, &TopicName) -> bool) {
        self.0.retain(|(group, topic), was_there| {
            let is_there = is_there(group, topic);
            let is_gone = *was_there && !is_there;
            *was_there |= is_there;
            !is_gone
        });
    }

    /// Whether a group may not read a topic.
    pub(crate) fn has(&self, group: &GroupName, topic: &TopicName) -> bool {
        // Mostly nothing is forbidden, and nothing is copied then.
        !self.0.is_empty() && self.0.contains_key(&(group.clone(), topic.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_forbidden_and_allowed_up_to_the_bound() {
        let (group, topic) = (GroupName::new("g").expect("valid"), TopicName::new("t").expect("valid"));
        let mut forbidden = Forbidden::default();
        forbidden.set(&group, &topic, true).expect("room");
        assert!(forbidden.has(&group, &topic) && !forbidden.has(&GroupName::new("h").expect("valid"), &topic));
        for n in 1..FORBIDDEN_MAX {
            forbidden.set(&group, &TopicName::new(&format!("t{n}")).expect("valid"), true).expect("room");
        }
        let other = TopicName::new("other").expect("valid");
        assert_eq!(forbidden.set(&group, &other, true), Err(Full));
        assert_eq!(forbidden.set(&group, &topic, true), Ok(()), "it is there already");
        forbidden.set(&group, &topic, false).expect("takes no room");
        assert!(!forbidden.has(&group, &topic));
        assert_eq!(forbidden.set(&group, &other, true), Ok(()));
    }

    #[test]
    fn a_pair_is_forgotten_once_it_was_there_and_is_gone() {
        let (group, topic) = (GroupName::new("g").expect("valid"), TopicName::new("t").expect("valid"));
        let mut forbidden = Forbidden::default();
        forbidden.set(&group, &topic, true).expect("room");
        for (is_there, is_kept) in [(false, true), (true, true), (false, false)] {
            forbidden.look(|_, _| is_there);
            assert_eq!(forbidden.has(&group, &topic), is_kept, "{is_there}");
        }
    }
}
