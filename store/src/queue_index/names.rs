//! A small number for each queue, in the order in which their first records came.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use types::QueueId;

/// A queue's number; stable as long as the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueNumber(pub(crate) u32);

impl QueueNumber {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Topics and queues, and their numbers. Topics are plain text here: the log may hold names, such as those of
/// retry topics, that clients may not give.
#[derive(Default)]
pub(crate) struct Names {
    topics: HashMap<Arc<str>, BTreeMap<QueueId, QueueNumber>, FixedState>,
    queues: Vec<(Arc<str>, QueueId)>,
}

impl Names {
    pub(crate) fn find(&self, topic: &str, queue: QueueId) -> Option<QueueNumber> {
        self.topics.get(topic)?.get(&queue).copied()
    }

    /// The queue's number; a new queue gets the next one.
    pub(crate) fn intern(&mut self, topic: &str, queue: QueueId) -> QueueNumber {
        if let Some(number) = self.find(topic, queue) {
            return number;
        }
        let number = QueueNumber(u32::try_from(self.queues.len()).expect("a log has fewer than 2^32 queues"));
        let name = match self.topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        self.topics.entry(Arc::clone(&name)).or_default().insert(queue, number);
        self.queues.push((name, queue));
        number
    }

    /// All queues in the order of their numbers.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, QueueId)> {
        self.queues.iter().map(|(topic, queue)| (&**topic, *queue))
    }
}
