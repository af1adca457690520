//! The offset machine: what groups committed on queues that they read by pull.
//!
//! A plain value. Pop has its own progress (`pop`); here is only what a client said in so many words.

use std::collections::BTreeMap;

use types::{GroupName, QueueId, QueueOffset, TopicName};

use crate::codec::{Input, Malformed, put_text, put_u64};

/// Committed offsets by group, topic and queue; about 100 bytes an entry.
///
/// Bounded by [`Offsets::ENTRIES_MAX`]: beyond it a commit on a new queue is refused, known ones go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    by_group: BTreeMap<GroupName, BTreeMap<(TopicName, QueueId), QueueOffset>>,
    entries: usize,
}

/// A commit, as it is journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Whose progress.
    pub group: GroupName,
    /// Of this topic.
    pub topic: TopicName,
    /// Of this queue.
    pub queue: QueueId,
    /// The first message that is not consumed.
    pub offset: QueueOffset,
}

impl Offsets {
    /// Most entries kept: 100,000 queues of ten groups.
    pub const ENTRIES_MAX: usize = 1_000_000;

    /// What the group committed last; `None` when it never did.
    #[must_use]
    pub fn get(&self, group: &GroupName, topic: &TopicName, queue: QueueId) -> Option<QueueOffset> {
        self.by_group.get(group)?.get(&(topic.clone(), queue)).copied()
    }

    /// Whether a commit of this group on this queue can be kept.
    #[must_use]
    pub fn has_room(&self, group: &GroupName, topic: &TopicName, queue: QueueId) -> bool {
        self.entries < Self::ENTRIES_MAX || self.get(group, topic, queue).is_some()
    }

    /// Whether any group committed on a topic.
    #[must_use]
    pub fn has_topic(&self, topic: &TopicName) -> bool {
        let first = (topic.clone(), QueueId(0));
        self.by_group.values().any(|offsets| offsets.range(&first..).next().is_some_and(|((of, _), _)| of == topic))
    }

    /// All commits of a group, by topic and queue.
    pub fn of_group(&self, group: &GroupName) -> impl Iterator<Item = (&TopicName, QueueId, QueueOffset)> {
        let of_group = self.by_group.get(group).into_iter().flatten();
        of_group.map(|((topic, queue), offset)| (topic, *queue, *offset))
    }

    /// All commits, by group, topic and queue.
    pub fn iter(&self) -> impl Iterator<Item = Committed> {
        self.by_group.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(|((topic, queue), offset)| Committed {
                group: group.clone(),
                topic: topic.clone(),
                queue: *queue,
                offset: *offset,
            })
        })
    }

    /// Takes a commit; smaller than before is allowed.
    pub fn apply(&mut self, commit: &Committed) {
        let key = (commit.topic.clone(), commit.queue);
        if self.by_group.entry(commit.group.clone()).or_default().insert(key, commit.offset).is_none() {
            self.entries += 1;
        }
    }

    /// Drops all that a deleted group committed.
    pub fn forget_group(&mut self, group: &GroupName) {
        self.entries -= self.by_group.remove(group).map_or(0, |offsets| offsets.len());
    }

    /// Drops all that was committed on a deleted topic.
    pub fn forget_topic(&mut self, topic: &TopicName) {
        if !self.has_topic(topic) {
            return;
        }
        for offsets in self.by_group.values_mut() {
            offsets.retain(|(of, _), _| of != topic);
        }
        self.by_group.retain(|_, offsets| !offsets.is_empty());
        self.entries = self.by_group.values().map(BTreeMap::len).sum();
    }

    /// Writes the whole state.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        put_u64(out, self.entries as u64);
        self.iter().for_each(|commit| commit.encode(out));
    }

    /// Reads what [`Offsets::snapshot`] wrote.
    pub(crate) fn restore(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut offsets = Self::default();
        for _ in 0..input.count()? {
            offsets.apply(&Committed::decode(input)?);
        }
        Ok(offsets)
    }
}

impl Committed {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, self.group.as_str());
        put_text(out, self.topic.as_str());
        put_u64(out, self.queue.0.into());
        put_u64(out, self.offset.0);
    }

    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(Self { group: input.group()?, topic: input.topic()?, queue: input.queue()?, offset: input.queue_offset()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(group: &str, topic: &str, queue: u32, offset: u64) -> Committed {
        Committed {
            group: GroupName::new(group).expect("valid"),
            topic: TopicName::new(topic).expect("valid"),
            queue: QueueId(queue),
            offset: QueueOffset(offset),
        }
    }

    #[test]
    fn the_last_commit_counts_even_if_smaller() {
        let mut offsets = Offsets::default();
        let (first, second) = (commit("g", "t", 1, 9), commit("g", "t", 1, 4));
        offsets.apply(&first);
        offsets.apply(&second);
        assert_eq!(offsets.get(&first.group, &first.topic, QueueId(1)), Some(QueueOffset(4)));
        assert_eq!(offsets.get(&first.group, &first.topic, QueueId(0)), None);
        assert_eq!(offsets.entries, 1);
    }

    #[test]
    fn forgetting_takes_only_what_was_named() {
        let mut offsets = Offsets::default();
        for commit in [commit("g", "t", 0, 1), commit("g", "u", 0, 2), commit("h", "t", 0, 3)] {
            offsets.apply(&commit);
        }
        let topic = TopicName::new("t").expect("valid");
        assert!(offsets.has_topic(&topic) && !offsets.has_topic(&TopicName::new("s").expect("valid")));
        offsets.forget_topic(&topic);
        assert!(!offsets.has_topic(&topic));
        assert_eq!(offsets.of_group(&GroupName::new("g").expect("valid")).count(), 1);
        offsets.forget_group(&GroupName::new("g").expect("valid"));
        assert_eq!(offsets, Offsets::default());
    }

    #[test]
    fn a_snapshot_restores_the_same_state() {
        let mut offsets = Offsets::default();
        offsets.apply(&commit("g", "t", 0, u64::MAX));
        offsets.apply(&commit("g", "u", 7, 0));
        let mut bytes = Vec::new();
        offsets.snapshot(&mut bytes);
        assert_eq!(Offsets::restore(&mut Input(&bytes)), Ok(offsets));
    }
}
