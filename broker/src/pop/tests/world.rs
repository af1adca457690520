//! What tests put around a machine: queues in memory, living clients, a journal.

use std::collections::BTreeSet;
use std::time::Duration;

use types::broker::{ClientId, LeaseOwner};
use types::{Filter, GroupName, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};

use crate::pop::{
    GroupLimits, Leased, Origin, PopEvent, PopMachine, PopQueues, PopRequest, QueueEntry, QueueView, Surroundings,
    Unfinished,
};

/// The queues of the one topic, and the group's retry queue for it.
#[derive(Default)]
pub(super) struct Queues {
    queues: Vec<(u64, Vec<QueueEntry>)>,
    retry: (u64, Vec<QueueEntry>),
    /// What lies before is about to expire.
    stays_from: u64,
}

impl Queues {
    pub(super) fn new(count: usize) -> Self {
        Self { queues: (0..count).map(|_| (0, Vec::new())).collect(), ..Self::default() }
    }

    /// What lies before `stays_from` in a topic that has one queue is about to expire.
    pub(super) fn announce(&mut self, queue: QueueId, stays_from: u64) {
        assert_eq!((queue, self.queues.len()), (QueueId(0), 1));
        self.stays_from = stays_from;
    }

    pub(super) fn append(&mut self, queue: QueueId, group_hash: u32, tag_hash: i64) -> QueueOffset {
        append(&mut self.queues[queue.0 as usize].1, group_hash, tag_hash)
    }

    /// Puts something into the retry queue.
    pub(super) fn append_retry(&mut self, tag_hash: i64) -> QueueOffset {
        append(&mut self.retry.1, 0, tag_hash)
    }

    pub(super) fn retries(&self) -> &[QueueEntry] {
        &self.retry.1
    }

    fn of(&self, topic: &TopicName, queue: QueueId) -> &(u64, Vec<QueueEntry>) {
        if topic.is_retry() { &self.retry } else { &self.queues[queue.0 as usize] }
    }

    pub(super) fn trim(&mut self, queue: QueueId, first: u64) {
        let (min, entries) = &mut self.queues[queue.0 as usize];
        *min = first.min(entries.len() as u64).max(*min);
    }

    pub(super) fn entries(&self, queue: QueueId) -> &[QueueEntry] {
        &self.queues[queue.0 as usize].1
    }
}

fn append(entries: &mut Vec<QueueEntry>, group_hash: u32, tag_hash: i64) -> QueueOffset {
    let offset = QueueOffset(entries.len() as u64);
    let physical_offset = PhysicalOffset(offset.0 * 100);
    entries.push(QueueEntry { offset, physical_offset, size: 100, tag_hash, group_hash });
    offset
}

impl QueueView for Queues {
    fn range(&self, topic: &TopicName, queue: QueueId) -> (QueueOffset, QueueOffset) {
        let (min, entries) = self.of(topic, queue);
        (QueueOffset(*min), QueueOffset(entries.len() as u64))
    }

    fn stays_from(&self, _: &TopicName, _: QueueId) -> QueueOffset {
        QueueOffset(self.stays_from)
    }

    fn read(&self, topic: &TopicName, queue: QueueId, from: QueueOffset, max: usize, out: &mut Vec<QueueEntry>) {
        let (min, entries) = self.of(topic, queue);
        if from.0 >= *min {
            let rest = usize::try_from(from.0).ok().and_then(|from| entries.get(from..));
            out.extend(rest.unwrap_or_default().iter().take(max));
        }
    }
}

/// Who lives, and the group's limits.
pub(super) struct Around {
    pub(super) alive: BTreeSet<String>,
    pub(super) limits: GroupLimits,
}

impl Around {
    pub(super) fn new(attempts_max: u32, consume_timeout: Duration) -> Self {
        Self { alive: BTreeSet::new(), limits: GroupLimits { attempts_max, consume_timeout } }
    }
}

impl Surroundings for Around {
    fn is_alive(&self, client: &str) -> bool {
        self.alive.contains(client)
    }

    fn limits(&self, _: &GroupName) -> Option<GroupLimits> {
        Some(self.limits)
    }
}

/// What the log holds of the machine: its events, and the records of copies.
#[derive(Clone, Debug)]
pub(super) enum Logged {
    Event(PopEvent),
    DeadLetter(LeaseOwner, QueueId, QueueOffset),
    Moved(LeaseOwner, Origin, QueueOffset),
}

/// Stores the copy of an entry as the engine does; `None` when it may not be moved.
pub(super) fn make_move(machine: &mut PopMachine, view: &mut Queues, entry: &Unfinished) -> Option<Logged> {
    let planned = machine.plan_move(entry)?;
    let (_, entries) = view.of(&entry.owner.topic, entry.queue);
    let tag_hash = entries[usize::try_from(entry.offset.0).expect("small")].tag_hash;
    let copy = view.append_retry(tag_hash);
    assert!(machine.moved(&planned.retry, planned.origin, copy));
    Some(Logged::Moved(planned.retry, planned.origin, copy))
}

/// A machine made from a log alone, through the events' byte form.
pub(super) fn replay(log: &[Logged]) -> PopMachine {
    let mut machine = PopMachine::new();
    for logged in log {
        match logged {
            Logged::Event(event) => {
                let mut bytes = Vec::new();
                event.encode(&mut bytes);
                let mut input = bytes.as_slice();
                let decoded = PopEvent::decode(&mut input).expect("an encoded event");
                assert!(input.is_empty() && decoded == *event);
                machine.apply(&decoded).expect("an event of this log");
            }
            Logged::DeadLetter(owner, queue, offset) => assert!(machine.finish(owner, *queue, *offset)),
            Logged::Moved(retry, origin, copy) => assert!(machine.moved(retry, *origin, *copy)),
        }
    }
    machine
}

pub(super) fn durable(machine: &PopMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    machine.snapshot(&mut bytes);
    bytes
}

pub(super) fn owner() -> LeaseOwner {
    LeaseOwner { group: GroupName::new("group").expect("valid"), topic: TopicName::new("topic").expect("valid") }
}

/// Pops with the most ordinary conditions.
pub(super) fn pop(machine: &mut PopMachine, view: &Queues, max: u32, events: &mut Vec<PopEvent>) -> Vec<Leased> {
    let (owner, client): (_, ClientId) = (owner(), "client".into());
    let request = PopRequest {
        owner: &owner,
        queues: PopQueues::One(QueueId(0)),
        messages_max: max,
        invisible: Duration::from_secs(60),
        client: &client,
        auto_renew: false,
        filter: &Filter::All,
        attempt_id: None,
        is_fifo: false,
        begins_at_first: false,
    };
    let mut leased = Vec::new();
    machine.pop(&request, view, Timestamp(1_000_000), events, &mut leased);
    leased
}
