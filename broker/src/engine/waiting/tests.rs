//! Tests of the waiting receivers.

use std::time::Duration;

use tokio::sync::oneshot;
use types::QueueOffset;
use types::broker::{LeaseOwner, Unavailable};

use super::*;
use crate::command::PopReply;
use crate::pop::{Leased, PopQueues};

type Answer<T, E> = oneshot::Receiver<Result<T, E>>;

fn topic() -> TopicName {
    TopicName::new("t").expect("valid")
}

fn at(ms: u64) -> Moment {
    Moment(Duration::from_millis(ms))
}

fn pop(group: &str, filter: Filter, until: u64) -> (PopCommand, Answer<Vec<Leased>, PopError>) {
    let (reply, answer) = oneshot::channel();
    let owner = LeaseOwner { group: GroupName::new(group).expect("valid"), topic: topic() };
    let command = PopCommand {
        owner,
        queues: PopQueues::Any(8),
        messages_max: 1,
        invisible: Duration::ZERO,
        client: "c".into(),
        auto_renew: false,
        filter: Arc::new(filter),
        attempt_id: None,
        is_fifo: false,
        begins_at_first: false,
        until: at(until),
        reply: PopReply::Leases(reply),
    };
    (command, answer)
}

fn pull(until: u64) -> (PullCommand, Answer<PulledEntries, PullError>) {
    let (reply, answer) = oneshot::channel();
    let (queue, offset, until) = (QueueId(0), QueueOffset(0), at(until));
    (PullCommand { topic: topic(), queue, offset, messages_max: 1, until, reply }, answer)
}

fn nothing(_: &PullCommand) -> PulledEntries {
    PulledEntries { entries: Vec::new(), min: QueueOffset(0), end: QueueOffset(0) }
}

fn first_until(waiting: &mut Waiting, line: &LineName) -> Option<Moment> {
    waiting.first_of(line).map(|(_, pop)| pop.until)
}

#[test]
fn a_line_is_served_in_order_and_passes_over_who_is_gone() {
    let mut waiting = Waiting::default();
    let answers: Vec<_> = (0..4)
        .map(|n| {
            let (command, answer) = pop("g", Filter::All, 100 + n);
            waiting.push_pop(command, None);
            answer
        })
        .collect();
    let lines = waiting.lines("t", Some(QueueId(3)), None);
    assert_eq!(lines.len(), 1);
    let (id, first) = waiting.first_of(&lines[0]).expect("waits");
    assert_eq!(first.until, at(100));
    waiting.put_pop(id, lines[0].clone(), first);
    drop(answers.into_iter().take(2).collect::<Vec<_>>());
    assert_eq!(first_until(&mut waiting, &lines[0]), None);
    assert!(waiting.is_empty());
    assert_eq!(waiting.next_deadline(), None);
}

#[test]
fn only_lines_that_a_message_concerns_are_named() {
    let mut waiting = Waiting::default();
    let tags = Filter::tags(["a"]).expect("tags");
    let all: Vec<_> = [
        (pop("g", Filter::All, 1), None),
        (pop("g", tags, 1), None),
        (pop("g", Filter::All, 1), Some(QueueId(5))),
        (pop("h", Filter::All, 1), None),
    ]
    .into_iter()
    .map(|((command, answer), queue)| {
        waiting.push_pop(command, queue);
        answer
    })
    .collect();
    let group = GroupName::new("g").expect("valid");
    assert_eq!(waiting.lines("t", Some(QueueId(5)), None).len(), 4);
    assert_eq!(waiting.lines("t", Some(QueueId(5)), Some(&group)).len(), 3);
    assert_eq!(waiting.lines("t", Some(QueueId(4)), Some(&group)).len(), 2);
    assert_eq!(waiting.lines("t", None, Some(&group)).len(), 3, "a retry is for whoever asks for the topic");
    drop(all);
}

#[test]
fn those_whose_time_is_over_get_nothing_and_the_others_wait_on() {
    let mut waiting = Waiting::default();
    let ((early, mut early_answer), (late, mut late_answer)) = (pop("g", Filter::All, 10), pop("g", Filter::All, 20));
    let (pulled, mut pulled_answer) = pull(10);
    waiting.push_pop(early, None);
    waiting.push_pop(late, None);
    waiting.push_pull(pulled);
    waiting.expire(at(10), nothing);
    assert!(matches!(early_answer.try_recv(), Ok(Ok(leased)) if leased.is_empty()));
    assert!(matches!(pulled_answer.try_recv(), Ok(Ok(found)) if found.entries.is_empty()));
    assert!(late_answer.try_recv().is_err());
    assert_eq!((waiting.len(), waiting.next_deadline()), (1, Some(at(20))));
    waiting.dismiss(Some(&PopError::Unavailable(Unavailable::Stopping)), nothing);
    assert!(matches!(late_answer.try_recv(), Ok(Err(PopError::Unavailable(Unavailable::Stopping)))));
    assert!(waiting.is_empty());
}

#[test]
fn who_is_gone_makes_room_at_the_bound() {
    let mut waiting = Waiting::default();
    let (kept, _answer) = pop("g", Filter::All, 1);
    waiting.push_pop(kept, None);
    for _ in 1..WAITING_MAX {
        waiting.push_pull(pull(1).0);
    }
    assert_eq!(waiting.len(), WAITING_MAX);
    assert!(!waiting.is_full());
    assert_eq!(waiting.len(), 1);
}
