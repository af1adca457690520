//! What was popped from an Apache broker and neither acknowledged nor given back, by its records of pops and acks.
//!
//! Source: Apache `PopMessageProcessor`, `PopReviveService`; bodies of `PopCheckPoint`, `AckMsg`, `BatchAckMsg`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use record::Record;
use serde::Deserialize;
use types::Timestamp;
use types::properties::names;

use super::json;

/// Most messages of one pop: its ack bits are a 32-bit number.
const POP_MESSAGES_MAX: u64 = 32;

/// A group, a topic and a queue of it, as Apache's records and files name them.
pub(super) type QueueOfGroup = (String, String, u32);

/// One message's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// When it was popped.
    pub(super) popped_at: Timestamp,
    /// For how long.
    pub(super) invisible: Duration,
}

/// All pops that are open, by the records read so far; about 100 bytes a message.
#[derive(Debug, Default)]
pub(super) struct Pops(BTreeMap<PopKey, Pop>);

/// A pop: group, topic, queue, first offset, time.
type PopKey = (String, String, i64, i64, i64);

#[derive(Debug)]
struct Pop {
    invisible: Duration,
    unacked: BTreeSet<u64>,
}

/// The body of a revive record, of all three kinds.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "c")]
    group: String,
    #[serde(rename = "t")]
    topic: String,
    #[serde(rename = "q")]
    queue: i64,
    #[serde(rename = "so")]
    first: i64,
    #[serde(rename = "pt")]
    popped_at: i64,
    /// Of a checkpoint: for how long, in milliseconds; how many messages, and their distances from the first, if they do not
    /// follow each other.
    #[serde(rename = "it", default)]
    invisible_ms: i64,
    #[serde(rename = "n", default)]
    messages: i64,
    #[serde(rename = "d", default)]
    distances: Option<Vec<u64>>,
    /// Of acks.
    #[serde(rename = "ao", default)]
    acked: Option<u64>,
    #[serde(rename = "aol", default)]
    acked_all: Option<Vec<u64>>,
}

impl Pops {
    /// Takes a pop or its acks.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        let Ok(body) = json::parse::<Body>(record.body) else { return };
        if record.property(names::TAGS) == Some("ck") {
            // It comes twice, from the wheel and then in its topic: acks in between count.
            self.0.entry(body.key()).or_insert_with(|| Pop {
                invisible: Duration::from_millis(u64::try_from(body.invisible_ms).unwrap_or(0)),
                unacked: body.offsets(),
            });
        } else if let Some(pop) = self.0.get_mut(&body.key()) {
            for offset in body.acked.into_iter().chain(body.acked_all.into_iter().flatten()) {
                pop.unacked.remove(&offset);
            }
        }
    }

    /// The broker has looked at this pop: what was not acknowledged is in the retry topic.
    pub(super) fn revived(&mut self, record: &Record<'_>) {
        if let (Some("ck"), Ok(body)) = (record.property(names::TAGS), json::parse::<Body>(record.body)) {
            self.0.remove(&body.key());
        }
    }

    /// How many messages are open; one that was popped again counts again.
    pub(super) fn messages(&self) -> u64 {
        self.0.values().map(|pop| pop.unacked.len() as u64).sum()
    }

    /// The open messages by queue and offset, each with its newest lease.
    pub(super) fn by_queue(self) -> BTreeMap<QueueOfGroup, BTreeMap<u64, Lease>> {
        let mut queues: BTreeMap<QueueOfGroup, BTreeMap<u64, Lease>> = BTreeMap::new();
        for ((group, topic, queue, _, popped_at), pop) in self.0 {
            let Ok(queue) = u32::try_from(queue) else { continue };
            let lease = Lease { popped_at: Timestamp(popped_at), invisible: pop.invisible };
            let leases = queues.entry((group, topic, queue)).or_default();
            for offset in pop.unacked {
                let newest = leases.entry(offset).or_insert(lease);
                if newest.popped_at < lease.popped_at {
                    *newest = lease;
                }
            }
        }
        queues.retain(|_, leases| !leases.is_empty());
        queues
    }
}

impl Body {
    fn key(&self) -> PopKey {
        (self.group.clone(), self.topic.clone(), self.queue, self.first, self.popped_at)
    }

    /// The queue offsets of the messages.
    fn offsets(&self) -> BTreeSet<u64> {
        let first = u64::try_from(self.first).unwrap_or(0);
        let count = u64::try_from(self.messages).unwrap_or(0).min(POP_MESSAGES_MAX);
        match self.distances.as_deref() {
            Some(distances @ [_, ..]) => distances.iter().map(|distance| first.saturating_add(*distance)).collect(),
            _ => (first..first.saturating_add(count)).collect(),
        }
    }
}
