//! Messages that were appended and may be handed out once they are written, or once the disk or slaves have them.

use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::FixedState;
use store::Appended;
use types::{PhysicalOffset, QueueId, QueueOffset, TopicName};

/// New messages by the order of the log. Where they may be handed out at once it is empty after each round; else it holds what the
/// disk or slaves have not confirmed: of slaves at most `BEHIND_BYTES_MAX` of the log, as they are not waited for beyond that.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// Whether they may be handed out as soon as they are written.
    is_at_once: bool,
    queue: VecDeque<Arrival>,
    /// Whether the newest arrival is of this round. Only then another message of its queue joins it: those of earlier rounds reach
    /// the disk before, and would wait for it as long as messages keep coming.
    is_round_open: bool,
    /// Else, the first offset of each queue that may not be handed out yet. Never iterated.
    hidden: HashMap<TopicName, BTreeMap<QueueId, QueueOffset>, FixedState>,
}

#[derive(Debug)]
struct Arrival {
    topic: TopicName,
    queue: QueueId,
    /// The queue's offset behind it.
    next: QueueOffset,
    /// The log's position behind it.
    end: PhysicalOffset,
}

impl Arrivals {
    pub(crate) fn new(is_at_once: bool) -> Self {
        Self { is_at_once, queue: VecDeque::new(), is_round_open: false, hidden: HashMap::default() }
    }

    /// Messages were appended to a client's topic.
    pub(crate) fn push(&mut self, topic: &TopicName, queue: QueueId, appended: &Appended) {
        let (next, end) = (appended.next(), appended.end);
        if !self.is_at_once {
            let queues = self.hidden.entry(topic.clone()).or_default();
            queues.entry(queue).or_insert(appended.queue_offset);
        }
        match self.queue.back_mut().filter(|_| self.is_round_open) {
            Some(last) if last.queue == queue && last.topic == *topic => (last.next, last.end) = (next, end),
            _ => self.queue.push_back(Arrival { topic: topic.clone(), queue, next, end }),
        }
        self.is_round_open = true;
    }

    /// The oldest arrival that may be handed out now; call until `None` at the end of each round.
    pub(crate) fn next(
        &mut self,
        visible_to: PhysicalOffset,
        end_of: impl Fn(&TopicName, QueueId) -> QueueOffset,
    ) -> Option<(TopicName, QueueId)> {
        self.is_round_open = false;
        if self.queue.front()?.end > visible_to {
            return None;
        }
        let Arrival { topic, queue, next, .. } = self.queue.pop_front()?;
        if !self.is_at_once {
            let is_all = next >= end_of(&topic, queue);
            self.show(&topic, queue, next, is_all);
        }
        Some((topic, queue))
    }

    fn show(&mut self, topic: &TopicName, queue: QueueId, next: QueueOffset, is_all: bool) {
        let Some(queues) = self.hidden.get_mut(topic) else { return };
        if is_all {
            queues.remove(&queue);
        } else {
            queues.insert(queue, next);
        }
        if queues.is_empty() {
            self.hidden.remove(topic);
        }
    }

    /// The end of what may be handed out of a queue that ends at `end`.
    pub(crate) fn visible_end(&self, topic: &TopicName, queue: QueueId, end: QueueOffset) -> QueueOffset {
        if self.hidden.is_empty() {
            return end;
        }
        let hidden = self.hidden.get(topic).and_then(|queues| queues.get(&queue));
        hidden.copied().unwrap_or(end).min(end)
    }

    /// The position at which the next arrival may be handed out.
    pub(crate) fn next_visible(&self) -> Option<PhysicalOffset> {
        self.queue.front().map(|first| first.end)
    }

    /// Forgets all: the store failed.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use types::Timestamp;

    use super::*;

    fn appended(offset: u64, at: u64) -> Appended {
        Appended {
            queue_offset: QueueOffset(offset),
            physical_offsets: [PhysicalOffset(at)].into(),
            stored_at: Timestamp(0),
            end: PhysicalOffset(at + 10),
        }
    }

    #[test]
    fn nothing_is_shown_before_the_disk_has_it() {
        let mut arrivals = Arrivals::new(false);
        let (topic, other, queue) =
            (TopicName::new("t").expect("valid"), TopicName::new("u").expect("valid"), QueueId(0));
        arrivals.push(&topic, queue, &appended(5, 0));
        arrivals.push(&other, queue, &appended(0, 10));
        arrivals.push(&topic, queue, &appended(6, 20));
        let end_of = |_: &TopicName, _: QueueId| QueueOffset(7);
        assert_eq!(arrivals.visible_end(&topic, queue, QueueOffset(7)), QueueOffset(5));
        assert_eq!(arrivals.visible_end(&topic, QueueId(1), QueueOffset(3)), QueueOffset(3));
        assert_eq!(arrivals.next(PhysicalOffset(9), end_of), None);
        assert_eq!(arrivals.next(PhysicalOffset(10), end_of), Some((topic.clone(), queue)));
        assert_eq!(arrivals.visible_end(&topic, queue, QueueOffset(7)), QueueOffset(6));
        assert_eq!(arrivals.next_visible(), Some(PhysicalOffset(20)));
        while arrivals.next(PhysicalOffset(30), end_of).is_some() {}
        assert_eq!(arrivals.visible_end(&topic, queue, QueueOffset(7)), QueueOffset(7));
    }

    #[test]
    fn what_the_disk_has_does_not_wait_for_what_comes_after_it() {
        let mut arrivals = Arrivals::new(false);
        let (topic, queue) = (TopicName::new("t").expect("valid"), QueueId(0));
        let end_of = |_: &TopicName, _: QueueId| QueueOffset(7);
        arrivals.push(&topic, queue, &appended(5, 0));
        assert_eq!(arrivals.next(PhysicalOffset(0), end_of), None);
        arrivals.push(&topic, queue, &appended(6, 10));
        assert_eq!(arrivals.next(PhysicalOffset(10), end_of), Some((topic.clone(), queue)));
        assert_eq!(arrivals.visible_end(&topic, queue, QueueOffset(7)), QueueOffset(6));
        assert_eq!(arrivals.next_visible(), Some(PhysicalOffset(20)));
    }

    #[test]
    fn neighbours_of_one_queue_are_one_arrival() {
        let mut arrivals = Arrivals::new(true);
        let topic = TopicName::new("t").expect("valid");
        for offset in 0..3 {
            arrivals.push(&topic, QueueId(0), &appended(offset, offset * 10));
        }
        let end_of = |_: &TopicName, _: QueueId| QueueOffset(3);
        assert_eq!(arrivals.next(PhysicalOffset(30), end_of), Some((topic, QueueId(0))));
        assert_eq!(arrivals.next(PhysicalOffset(30), end_of), None);
    }
}
