//! Answers on their way: to the write of their round, and on to the disk or to slaves where they are waited for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use env::clock::Moment;
use smallvec::SmallVec;
use types::admin::AdminError;
use types::broker::{Durability, LeaseError, LookupError, RecallError, SendError, TransactionError, Unavailable};
use types::{GroupConfig, PhysicalOffset, QueueOffset, ReceiptHandle, TopicConfig};

use super::replica::{LogEnd, ReplicateError};
use crate::command::{Placed, Reply};

/// Answers that may wait for the disk or for slaves; beyond it the engine refuses more requests that change something.
pub(crate) const ANSWERS_MAX: usize = 65_536;

/// An answer that is true once what it speaks of is written, or on the disk.
#[derive(Debug)]
pub(crate) enum Answer {
    Sent { reply: Reply<(SmallVec<[Placed; 1]>, Durability)>, placed: SmallVec<[Placed; 1]> },
    Acked { reply: Reply<Vec<Result<(), LeaseError>>>, results: Vec<Result<(), LeaseError>> },
    Changed { reply: Reply<Result<ReceiptHandle, LeaseError>>, handle: ReceiptHandle },
    DeadLettered { reply: Reply<Result<(), LeaseError>> },
    Ended { reply: Reply<Result<(), TransactionError>> },
    Recalled { reply: Reply<Result<(), RecallError>> },
    TimersFinished { reply: Reply<Result<usize, Unavailable>>, count: usize },
    OffsetCommitted { reply: Reply<Result<(), LookupError>> },
    TopicMade { reply: Reply<Result<Arc<TopicConfig>, LookupError>>, topic: Arc<TopicConfig> },
    GroupMade { reply: Reply<Result<Arc<GroupConfig>, LookupError>>, group: Arc<GroupConfig> },
    Copied { reply: Reply<Result<QueueOffset, SendError>>, offset: QueueOffset },
    Administered { reply: Reply<Result<(), AdminError>> },
    Replicated { reply: Reply<Result<LogEnd, ReplicateError>>, end: LogEnd },
}

/// How far the log has got, as answers see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    /// It may be acknowledged up to here.
    pub(crate) visible_to: PhysicalOffset,
    /// It is stored here up to here.
    pub(crate) stored_to: PhysicalOffset,
    /// As many brokers have it up to here as are wanted; it may be acknowledged beyond that while slaves are missing.
    pub(crate) confirmed_to: PhysicalOffset,
    /// What senders are told of what may be acknowledged.
    pub(crate) durability: Durability,
}

/// All answers that wait. Bounded by [`ANSWERS_MAX`] and, in time, by `wait`.
#[derive(Debug)]
pub(crate) struct Answers {
    /// How long an answer waits for the disk and for slaves at the longest; `None` when the write is enough.
    wait: Option<Duration>,
    /// Of this round.
    round: Vec<Answer>,
    /// Of earlier rounds, oldest first; their positions and deadlines rise.
    unflushed: VecDeque<Unflushed>,
    unflushed_answers: usize,
}

#[derive(Debug)]
struct Unflushed {
    to: PhysicalOffset,
    deadline: Moment,
    answers: Vec<Answer>,
}

impl Answers {
    /// See [`crate::Options::answer_wait`].
    pub(crate) fn new(wait: Option<Duration>) -> Self {
        Self { wait, round: Vec::new(), unflushed: VecDeque::new(), unflushed_answers: 0 }
    }

    pub(crate) fn push(&mut self, answer: Answer) {
        self.round.push(answer);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.unflushed_answers + self.round.len() >= ANSWERS_MAX
    }

    /// The round is written `now`; its answers go, or wait until the log may be acknowledged up to `to`.
    pub(crate) fn written(&mut self, to: PhysicalOffset, now: Moment) {
        let Some(wait) = self.wait else {
            self.round.drain(..).for_each(|answer| answer.settle(Durability::Written, Duration::ZERO));
            return;
        };
        if self.round.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.round);
        self.unflushed_answers += answers.len();
        self.unflushed.push_back(Unflushed { to, deadline: now.plus(wait), answers });
    }

    /// The events of this round are not in the log: only what was appended as records is true.
    pub(crate) fn fail_events(&mut self, why: &Unavailable) {
        let is_record = |answer: &Answer| matches!(answer, Answer::Sent { .. } | Answer::Copied { .. });
        let (records, events): (Vec<_>, Vec<_>) = self.round.drain(..).partition(is_record);
        self.round = records;
        for answer in events {
            answer.fail(why);
        }
    }

    /// The log has got so far, and it is `now`.
    pub(crate) fn reached(&mut self, reached: Reached, now: Moment) {
        let waited = self.wait.unwrap_or_default();
        while let Some(first) = self.unflushed.front() {
            let is_visible = first.to <= reached.visible_to;
            if !is_visible && first.deadline > now {
                return;
            }
            let Some(first) = self.unflushed.pop_front() else { return };
            self.unflushed_answers -= first.answers.len();
            let durability = match is_visible {
                true if first.to > reached.confirmed_to => Durability::ReplicaMissing,
                true => reached.durability,
                false if first.to <= reached.stored_to => Durability::ReplicaTimedOut,
                false => Durability::FlushTimedOut,
            };
            for answer in first.answers {
                answer.settle(durability, waited);
            }
        }
    }

    /// The store failed: nothing that waits will come true.
    pub(crate) fn fail_all(&mut self, why: &Unavailable) {
        let unflushed = self.unflushed.drain(..).flat_map(|unflushed| unflushed.answers);
        for answer in unflushed.chain(self.round.drain(..)) {
            answer.fail(why);
        }
        self.unflushed_answers = 0;
    }

    /// The position that the oldest answer waits for.
    pub(crate) fn next_flush(&self) -> Option<PhysicalOffset> {
        self.unflushed.front().map(|first| first.to)
    }

    /// When the oldest answer has waited long enough.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.unflushed.front().map(|first| first.deadline)
    }
}

/// Tells a caller; one that is gone does not matter.
pub(crate) fn tell<T>(reply: Reply<T>, value: T) {
    drop(reply.send(value));
}

/// What callers are told whose answer the disk or slaves did not confirm in time.
fn timed_out(waited: Duration) -> Unavailable {
    Unavailable::TimedOut { waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX) }
}

impl Answer {
    /// Says that it is so, after it has `waited`. Only senders can be told of a disk or slave that did not confirm in time; the others try again.
    fn settle(self, durability: Durability, waited: Duration) {
        let is_late = matches!(durability, Durability::FlushTimedOut | Durability::ReplicaTimedOut);
        if is_late && !matches!(self, Self::Sent { .. }) {
            return self.fail(&timed_out(waited));
        }
        match self {
            Self::Sent { reply, placed } => tell(reply, (placed, durability)),
            Self::Acked { reply, results } => tell(reply, results),
            Self::Changed { reply, handle } => tell(reply, Ok(handle)),
            Self::DeadLettered { reply } => tell(reply, Ok(())),
            Self::Ended { reply } => tell(reply, Ok(())),
            Self::Recalled { reply } => tell(reply, Ok(())),
            Self::TimersFinished { reply, count } => tell(reply, Ok(count)),
            Self::OffsetCommitted { reply } => tell(reply, Ok(())),
            Self::TopicMade { reply, topic } => tell(reply, Ok(topic)),
            Self::GroupMade { reply, group } => tell(reply, Ok(group)),
            Self::Copied { reply, offset } => tell(reply, Ok(offset)),
            Self::Administered { reply } => tell(reply, Ok(())),
            Self::Replicated { reply, end } => tell(reply, Ok(end)),
        }
    }

    fn fail(self, why: &Unavailable) {
        let lookup = || LookupError::Unavailable(why.clone());
        match self {
            Self::Sent { reply, mut placed } => {
                for placed in &mut placed {
                    let count = match placed {
                        Placed::Stored(appended) => appended.physical_offsets.len(),
                        Placed::Repeat(_) => 1,
                        Placed::Refused { .. } => continue,
                    };
                    *placed = Placed::Refused { count, why: SendError::Unavailable(why.clone()) };
                }
                tell(reply, (placed, Durability::Written));
            }
            Self::Acked { reply, mut results } => {
                for result in results.iter_mut().filter(|result| result.is_ok()) {
                    *result = Err(why.clone().into());
                }
                tell(reply, results);
            }
            Self::Changed { reply, .. } => tell(reply, Err(why.clone().into())),
            Self::DeadLettered { reply } => tell(reply, Err(why.clone().into())),
            Self::Ended { reply } => tell(reply, Err(why.clone().into())),
            Self::Recalled { reply } => tell(reply, Err(why.clone().into())),
            Self::TimersFinished { reply, .. } => tell(reply, Err(why.clone())),
            Self::OffsetCommitted { reply } => tell(reply, Err(lookup())),
            Self::TopicMade { reply, .. } => tell(reply, Err(lookup())),
            Self::GroupMade { reply, .. } => tell(reply, Err(lookup())),
            Self::Copied { reply, .. } => tell(reply, Err(why.clone().into())),
            Self::Administered { reply } => tell(reply, Err(lookup().into())),
            Self::Replicated { reply, .. } => tell(reply, Err(why.clone().into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::options::FLUSH_TIMEOUT;

    fn ms(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    const LATE: Moment = Moment(FLUSH_TIMEOUT);

    /// Without slaves.
    fn flushed(to: u64) -> Reached {
        Reached { visible_to: AT(to), stored_to: AT(to), confirmed_to: AT(to), durability: Durability::Flushed }
    }

    fn sent(answers: &mut Answers) -> oneshot::Receiver<(SmallVec<[Placed; 1]>, Durability)> {
        let (reply, sent) = oneshot::channel();
        answers.push(Answer::Sent { reply, placed: SmallVec::new() });
        sent
    }

    const AT: fn(u64) -> PhysicalOffset = PhysicalOffset;

    fn ended(answers: &mut Answers) -> oneshot::Receiver<Result<(), TransactionError>> {
        let (reply, answer) = oneshot::channel();
        answers.push(Answer::Ended { reply });
        answer
    }

    #[test]
    fn answers_wait_for_their_position_in_order() {
        let mut answers = Answers::new(Some(FLUSH_TIMEOUT));
        let mut first = ended(&mut answers);
        answers.written(AT(10), ms(0));
        let mut second = ended(&mut answers);
        answers.written(AT(20), ms(1));
        assert_eq!(answers.next_flush(), Some(AT(10)));
        answers.reached(flushed(10), ms(2));
        assert_eq!(first.try_recv(), Ok(Ok(())));
        assert!(second.try_recv().is_err());
        answers.reached(flushed(25), ms(2));
        assert_eq!(second.try_recv(), Ok(Ok(())));
        assert_eq!(answers.next_flush(), None);
    }

    #[test]
    fn a_slow_disk_is_told_in_time() {
        let mut answers = Answers::new(Some(FLUSH_TIMEOUT));
        let mut other = ended(&mut answers);
        let mut sent = sent(&mut answers);
        answers.written(AT(10), ms(0));
        answers.reached(flushed(0), ms(4_999));
        assert!(sent.try_recv().is_err());
        answers.reached(flushed(0), ms(5_000));
        assert_eq!(sent.try_recv().map(|(_, durability)| durability), Ok(Durability::FlushTimedOut));
        assert_eq!(other.try_recv(), Ok(Err(Unavailable::TimedOut { waited_ms: 5_000 }.into())));
    }

    #[test]
    fn senders_are_told_of_slow_and_of_missing_slaves() {
        let mut answers = Answers::new(Some(FLUSH_TIMEOUT));
        let mut told = |reached, now| {
            let mut sent = sent(&mut answers);
            answers.written(AT(10), ms(0));
            answers.reached(reached, now);
            sent.try_recv().ok().map(|(_, durability)| durability)
        };
        let stored = Reached { visible_to: AT(0), durability: Durability::Written, ..flushed(10) };
        assert_eq!(told(stored, ms(0)), None);
        assert_eq!(told(stored, LATE), Some(Durability::ReplicaTimedOut));
        // Also when a slave has come since: it does not have what was taken without it.
        let alone = Reached { visible_to: AT(10), confirmed_to: AT(5), ..stored };
        assert_eq!(told(alone, ms(0)), Some(Durability::ReplicaMissing));
        assert_eq!(told(Reached { confirmed_to: AT(10), ..alone }, ms(0)), Some(Durability::Written));
    }

    #[test]
    fn what_was_appended_is_true_though_the_rounds_events_are_not() {
        let mut answers = Answers::new(None);
        let (reply, mut copied) = oneshot::channel();
        answers.push(Answer::Copied { reply, offset: QueueOffset(7) });
        let (mut sent, mut ended) = (sent(&mut answers), ended(&mut answers));
        answers.fail_events(&Unavailable::Stopping);
        assert_eq!(ended.try_recv(), Ok(Err(Unavailable::Stopping.into())));
        answers.written(AT(10), ms(0));
        assert_eq!(copied.try_recv(), Ok(Ok(QueueOffset(7))));
        assert!(sent.try_recv().is_ok());
    }

    #[test]
    fn a_failed_store_leaves_nobody_waiting() {
        let mut answers = Answers::new(Some(FLUSH_TIMEOUT));
        let mut unflushed = ended(&mut answers);
        answers.written(AT(10), ms(0));
        let mut of_round = ended(&mut answers);
        answers.fail_all(&Unavailable::Stopping);
        assert_eq!(unflushed.try_recv(), Ok(Err(Unavailable::Stopping.into())));
        assert_eq!(of_round.try_recv(), Ok(Err(Unavailable::Stopping.into())));
    }
}
