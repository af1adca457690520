//! The transaction machine: half messages, their outcomes, and when their producers are to be asked.
//!
//! A plain value: records of the half topic put entries in; a committed copy, a record of the op topic or a parked copy ends
//! them. Not here: reading records and making copies (`copy`).
//! Source of topics and rules: Apache `TransactionalMessageServiceImpl`, `EndTransactionProcessor`; two differ: an outcome is
//! decided once (Apache commits again when asked again), and a check is counted by an event (Apache appends the half anew).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use types::broker::{Resolution, TransactionError, TransactionPosition};
use types::{PhysicalOffset, QueueOffset, Timestamp, TopicName};

use crate::codec::{Input, Malformed, put_bool, put_text, put_time, put_u64};

mod undecided;

pub use undecided::Undecided;

/// Keeps half messages, in its queue 0. Source: Apache `TopicValidator.RMQ_SYS_TRANS_HALF_TOPIC`.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Names ended half messages by their queue offsets. Source: Apache `TopicValidator.RMQ_SYS_TRANS_OP_HALF_TOPIC`.
pub const OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Keeps half messages that nobody decided. Source: Apache `TopicValidator.RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC`.
pub const PARK_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Tag of op records. Source: Apache `TransactionalMessageUtil.REMOVE_TAG`.
pub const OP_TAG: &str = "d";
/// Longest body of one op record, in bytes. Source: Apache `transactionOpMsgMaxSize`.
pub const OP_BODY_BYTES_MAX: usize = 4096;

/// When producers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// After the half message was stored, unless the message says otherwise. Source: Apache `transactionTimeOut`.
    pub check_after: Duration,
    /// After they were asked before. Source: Apache `transactionCheckInterval`.
    pub check_interval: Duration,
    /// So often; then the message is parked. Source: Apache `transactionCheckMax`.
    pub checks_max: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { check_after: Duration::from_secs(6), check_interval: Duration::from_secs(30), checks_max: 15 }
    }
}

/// Half messages and recent outcomes; about 350 bytes a half message, 100 an outcome.
///
/// Bounded by [`Transactions::HALVES_MAX`], beyond which the engine refuses half messages, and
/// [`Transactions::ENDED_MAX`], beyond which the oldest outcome is forgotten: repeating it then finds nothing.
///
/// Invariant: `by_queue_offset` and `checks` with `unasked` hold exactly one entry for each of `halves`, `order` one for each of `ended`;
/// `by_queue_offset` and `ops_owed` know a half message by its newest place, all others by its first.
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    halves: BTreeMap<PhysicalOffset, Half>,
    by_queue_offset: BTreeMap<QueueOffset, PhysicalOffset>,
    checks: BTreeSet<(Timestamp, PhysicalOffset)>,
    /// Checks that were due while nobody could be asked. Memory only: after a restart they are due as before.
    unasked: BTreeSet<(Timestamp, PhysicalOffset)>,
    ended: BTreeMap<PhysicalOffset, Ended>,
    order: VecDeque<PhysicalOffset>,
    /// Ended, but no op record says so yet.
    ops_owed: BTreeSet<QueueOffset>,
    /// Reserved outcomes: their copies are being made. Memory only: after a restart they are undecided again.
    ending: BTreeSet<PhysicalOffset>,
}

/// A half message that waits for its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Half {
    /// With the physical offset that it is kept under where it was first stored, which names it for ever.
    queue_offset: QueueOffset,
    /// Where it is now: retention appends it again.
    place: TransactionPosition,
    record_bytes: u32,
    /// The topic that it is for.
    topic: TopicName,
    /// How often the producer was asked.
    times: u32,
    check_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    queue_offset: QueueOffset,
    outcome: Outcome,
}

/// What became of a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Delivered.
    Committed,
    /// Dropped.
    RolledBack,
    /// Put aside, because nobody decided.
    Parked,
}

/// A half message, for those who make its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfMessage {
    /// Where it was first stored: its name.
    pub position: TransactionPosition,
    /// Where it is now.
    pub place: TransactionPosition,
    /// Its record's size.
    pub record_bytes: u32,
    /// The topic that it is for.
    pub topic: TopicName,
    /// How often its producer was asked.
    pub times: u32,
}

/// What to do about a request to end a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Append the copy. The outcome is reserved.
    Commit(HalfMessage),
    /// Append the op record.
    RollBack(HalfMessage),
    /// Nothing: it is as asked for already, or not decided.
    Nothing,
    /// Its outcome is just being stored: ask again when that is done.
    Later,
}

/// What to do about a half message that is undecided for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// Ask its producer.
    Check(HalfMessage),
    /// Append the parked copy. The outcome is reserved.
    Park(HalfMessage),
}

/// A producer was asked, as it is journaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// About this half message.
    pub offset: PhysicalOffset,
    /// When it will be asked next.
    pub next_at: Timestamp,
}

mod carry;
mod snapshot;

impl Transactions {
    /// Most half messages that may wait for their outcome: 35 MB.
    pub const HALVES_MAX: usize = 100_000;
    /// Most outcomes that are remembered: 10 MB.
    pub const ENDED_MAX: usize = 100_000;

    /// How many half messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.halves.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.halves.is_empty()
    }

    /// Whether no other half message may wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.halves.len() >= Self::HALVES_MAX
    }

    /// A record of the half topic was stored; its producer is to be asked at `check_at`.
    pub fn stored(&mut self, position: TransactionPosition, record_bytes: u32, topic: TopicName, check_at: Timestamp) {
        let TransactionPosition { queue_offset, physical_offset } = position;
        let half = Half { queue_offset, place: position, record_bytes, topic, times: 0, check_at };
        self.halves.insert(physical_offset, half);
        self.by_queue_offset.insert(queue_offset, physical_offset);
        self.checks.insert((check_at, physical_offset));
    }

    /// An outcome was stored. The first counts; for commits and parked copies an op record is owed.
    pub fn ended(&mut self, offset: PhysicalOffset, outcome: Outcome) {
        let Some(half) = self.halves.remove(&offset) else { return };
        self.ending.remove(&offset);
        self.by_queue_offset.remove(&half.place.queue_offset);
        self.checks.remove(&(half.check_at, offset));
        self.unasked.remove(&(half.check_at, offset));
        if outcome != Outcome::RolledBack {
            self.ops_owed.insert(half.place.queue_offset);
        }
        self.remember(offset, Ended { queue_offset: half.queue_offset, outcome });
    }

    fn remember(&mut self, offset: PhysicalOffset, ended: Ended) {
        if self.order.len() == Self::ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ended.remove(&oldest);
        }
        self.ended.insert(offset, ended);
        self.order.push_back(offset);
    }

    /// A record of the op topic was stored: those it names are ended. Undecided ones were rolled back.
    pub fn op_stored(&mut self, body: &[u8]) {
        for queue_offset in op_offsets(body) {
            match self.by_queue_offset.get(&queue_offset).copied() {
                Some(offset) => self.ended(offset, Outcome::RolledBack),
                None => drop(self.ops_owed.remove(&queue_offset)),
            }
        }
    }

    /// The body of the op record that is owed, as much as one may hold; `None` when none is.
    #[must_use]
    pub fn op_owed(&self) -> Option<String> {
        let mut body = String::new();
        for offset in &self.ops_owed {
            let offset = op_body(*offset);
            if body.len() + offset.len() > OP_BODY_BYTES_MAX {
                break;
            }
            body.push_str(&offset);
        }
        (!body.is_empty()).then_some(body)
    }

    /// How many ended half messages no op record names yet.
    #[must_use]
    pub fn ops_owed(&self) -> usize {
        self.ops_owed.len()
    }

    /// What a producer's decision changes. A commit is reserved on return: store it or [`Transactions::release`] it.
    ///
    /// # Errors
    /// [`TransactionError::NotFound`], [`TransactionError::AlreadyEnded`].
    pub fn end(
        &mut self,
        topic: &TopicName,
        position: TransactionPosition,
        resolution: Resolution,
    ) -> Result<End, TransactionError> {
        let offset = position.physical_offset;
        let not_found = || TransactionError::NotFound { topic: topic.clone(), position };
        let Some(half) = self.halves.get(&offset) else {
            let ended = self.ended.get(&offset).filter(|ended| ended.queue_offset == position.queue_offset);
            return match (ended.map(|ended| ended.outcome), resolution) {
                (None | Some(Outcome::Parked), _) => Err(not_found()),
                (Some(_), Resolution::Unknown)
                | (Some(Outcome::Committed), Resolution::Commit)
                | (Some(Outcome::RolledBack), Resolution::Rollback) => Ok(End::Nothing),
                (Some(outcome), _) => {
                    Err(TransactionError::AlreadyEnded { is_committed: outcome == Outcome::Committed })
                }
            };
        };
        if half.queue_offset != position.queue_offset || half.topic != *topic {
            return Err(not_found());
        }
        let message = half.message(offset);
        Ok(match resolution {
            Resolution::Unknown => End::Nothing,
            _ if self.ending.contains(&offset) => End::Later,
            Resolution::Rollback => End::RollBack(message),
            Resolution::Commit => {
                self.ending.insert(offset);
                End::Commit(message)
            }
        })
    }

    /// Gives a reservation back: its copy could not be stored.
    pub fn release(&mut self, offset: PhysicalOffset) {
        self.ending.remove(&offset);
    }

    /// When the next producer is to be asked.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.checks.first().map(|(at, _)| *at)
    }

    /// A half message that is overdue at `now`; call until `None`. Its next check is `check_interval` from now
    /// and not counted yet, see [`Transactions::checked`]; a message to be parked is reserved. While nobody `can_ask`, those whose
    /// producers are to be asked wait as they are, until somebody can.
    pub fn poll_overdue(&mut self, schedule: &Schedule, now: Timestamp, can_ask: bool) -> Option<Overdue> {
        if can_ask {
            self.checks.append(&mut self.unasked);
        }
        loop {
            let &(at, offset) = self.checks.first()?;
            if at > now {
                return None;
            }
            if !can_ask && self.halves.get(&offset).is_some_and(|half| half.times < schedule.checks_max) {
                self.checks.remove(&(at, offset));
                self.unasked.insert((at, offset));
                continue;
            }
            self.set_check(offset, now.plus(schedule.check_interval.max(Duration::from_millis(1))));
            if self.ending.contains(&offset) {
                continue;
            }
            let half = self.halves.get(&offset).expect("each check belongs to a half message");
            let message = half.message(offset);
            if half.times < schedule.checks_max {
                return Some(Overdue::Check(message));
            }
            self.ending.insert(offset);
            return Some(Overdue::Park(message));
        }
    }

    /// The producer was asked: one check more.
    pub fn checked(&mut self, event: Checked) {
        if let Some(half) = self.halves.get_mut(&event.offset) {
            half.times += 1;
            self.set_check(event.offset, event.next_at);
        }
    }

    fn set_check(&mut self, offset: PhysicalOffset, at: Timestamp) {
        if let Some(half) = self.halves.get_mut(&offset) {
            self.checks.remove(&(half.check_at, offset));
            self.unasked.remove(&(half.check_at, offset));
            half.check_at = at;
            self.checks.insert((at, offset));
        }
    }
}

impl Half {
    fn message(&self, physical_offset: PhysicalOffset) -> HalfMessage {
        HalfMessage {
            position: TransactionPosition { queue_offset: self.queue_offset, physical_offset },
            place: self.place,
            record_bytes: self.record_bytes,
            topic: self.topic.clone(),
            times: self.times,
        }
    }
}

/// The body of an op record for one half message. Source: Apache `TransactionalMessageServiceImpl.deletePrepareMessage`.
#[must_use]
pub fn op_body(queue_offset: QueueOffset) -> String {
    format!("{queue_offset},")
}

/// The queue offsets that an op record names; 4.x writes one without a comma.
fn op_offsets(body: &[u8]) -> impl Iterator<Item = QueueOffset> {
    let numbers = body.split(|byte| *byte == b',').filter_map(|number| std::str::from_utf8(number).ok());
    numbers.filter_map(|number| number.trim().parse().ok().map(QueueOffset))
}

#[cfg(test)]
mod tests;
