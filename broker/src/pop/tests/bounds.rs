//! What happens at the bounds, and small claims that need no model.

use types::{Filter, QueueId, QueueOffset, ReceiptHandle, Timestamp};

use super::world::{Around, Queues, durable, owner, pop};
use crate::pop::{
    BLOCKED_MAX, PopEnd, PopMachine, PopQueues, PopRequest, RENEW_TOTAL_MAX, SCAN_ENTRIES_MAX, UNFINISHED_MAX,
};

const QUEUE: QueueId = QueueId(0);

fn queue_of(messages: usize, group_hash: impl Fn(usize) -> u32) -> Queues {
    let mut queues = Queues::new(1);
    for number in 0..messages {
        queues.append(QUEUE, group_hash(number), 0);
    }
    queues
}

#[test]
fn nothing_new_is_leased_beyond_the_unfinished_bound() {
    let view = queue_of(UNFINISHED_MAX + 100, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let mut handles: Vec<ReceiptHandle> = Vec::new();
    loop {
        let leased = pop(&mut machine, &view, 32, &mut events);
        if leased.is_empty() {
            break;
        }
        handles.extend(leased.iter().map(|leased| leased.handle(&"b".into())));
    }
    assert_eq!(handles.len(), UNFINISHED_MAX);
    assert_eq!(machine.poll_visible(), None);

    machine.ack(&owner(), &handles[..1], &mut events);
    assert_eq!(machine.poll_visible(), Some((owner(), QUEUE)), "waiting receivers hear that there is room again");
    assert_eq!(pop(&mut machine, &view, 32, &mut events).len(), 1);
    machine.release(&owner(), &handles[1..2], &mut events);
    assert_eq!(pop(&mut machine, &view, 32, &mut events).len(), 1, "what was leased before is leased again");
}

#[test]
fn look_ahead_past_blocked_groups_is_bounded() {
    let view = queue_of(BLOCKED_MAX + 100, |number| if number == BLOCKED_MAX + 50 { 2 } else { 1 });
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let head = pop(&mut machine, &view, 32, &mut events);
    assert_eq!(head.len(), 1);
    assert_eq!(pop(&mut machine, &view, 32, &mut events).len(), 0);
    assert_eq!(machine.progress(&owner().group)[0].next, QueueOffset(1 + BLOCKED_MAX as u64));

    let mut finished = head;
    for turn in 0.. {
        let handles: Vec<_> = finished.iter().map(|leased| leased.handle(&"b".into())).collect();
        machine.ack(&owner(), &handles, &mut events);
        finished = pop(&mut machine, &view, 32, &mut events);
        if finished.iter().any(|leased| leased.entry.group_hash == 2) {
            assert_eq!(turn, 49, "each finished message lets one more be looked at");
            return;
        }
        assert_eq!(finished.len(), 1, "the head alone");
    }
}

#[test]
fn a_filter_that_wants_nothing_is_cut_short_and_goes_on() {
    let view = queue_of(SCAN_ENTRIES_MAX + 10, |_| 0);
    let (mut machine, mut events, mut leased) = (PopMachine::new(), Vec::new(), Vec::new());
    let (owner, client) = (owner(), "client".into());
    let request = PopRequest {
        owner: &owner,
        queues: PopQueues::Any(1),
        messages_max: 32,
        invisible: RENEW_TOTAL_MAX,
        client: &client,
        auto_renew: false,
        filter: &Filter::tags(["a"]).expect("a tag"),
        attempt_id: None,
        is_fifo: false,
    };
    assert_eq!(machine.pop(&request, &view, Timestamp(1), &mut events, &mut leased), PopEnd::ScanLimit);
    assert_eq!(machine.committed(&owner, QUEUE), Some(QueueOffset(SCAN_ENTRIES_MAX as u64)));
    assert_eq!(machine.pop(&request, &view, Timestamp(1), &mut events, &mut leased), PopEnd::Done);
    assert_eq!(machine.committed(&owner, QUEUE), Some(QueueOffset(SCAN_ENTRIES_MAX as u64 + 10)));
    assert!(leased.is_empty() && machine.next_deadline().is_none());
}

#[test]
fn a_thousand_pops_in_a_millisecond_do_not_drive_the_pop_time() {
    let view = queue_of(1000, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    for _ in 0..1000 {
        assert_eq!(pop(&mut machine, &view, 1, &mut events)[0].popped_at, Timestamp(1_000_000));
    }
}

#[test]
fn a_client_that_goes_frees_its_leases_of_all_queues() {
    let view = queue_of(3, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    assert_eq!(pop(&mut machine, &view, 3, &mut events).len(), 3);
    machine.client_gone("another", &Around::new(2, RENEW_TOTAL_MAX), &mut events);
    assert_eq!(machine.poll_visible(), None);
    machine.client_gone("client", &Around::new(2, RENEW_TOTAL_MAX), &mut events);
    assert_eq!(machine.poll_visible(), Some((owner(), QUEUE)));
    let again = pop(&mut machine, &view, 3, &mut events);
    assert_eq!(again.iter().map(|leased| leased.attempt).collect::<Vec<_>>(), [2, 2, 2]);
    machine.client_gone("client", &Around::new(2, RENEW_TOTAL_MAX), &mut events);
    assert_eq!(std::iter::from_fn(|| machine.poll_dead_letter()).count(), 3);
}

#[test]
fn forgotten_groups_leave_nothing_and_their_numbers_are_used_again() {
    let view = queue_of(3, |_| 7);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let before = durable(&machine);
    let handle = pop(&mut machine, &view, 3, &mut events)[0].handle(&"b".into());
    machine.forget_group(&owner().group, &mut events);
    assert_eq!(durable(&machine), before);
    assert_eq!(machine.next_deadline(), None);
    assert!(machine.ack(&owner(), &[handle], &mut events)[0].is_err());
    assert_eq!(pop(&mut machine, &view, 3, &mut events).len(), 1);
    machine.forget_topic(&owner().topic, &mut events);
    assert_eq!(durable(&machine), before);
}

#[test]
fn what_was_given_up_is_told_again_after_recovery_until_it_is_stored() {
    let view = queue_of(1, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    pop(&mut machine, &view, 1, &mut events);
    machine.expire(Timestamp(2_000_000), &Around::new(1, RENEW_TOTAL_MAX), &mut events);
    let given_up = machine.poll_dead_letter().expect("its only attempt failed");
    assert_eq!(machine.poll_dead_letter(), None);

    let mut restored = PopMachine::restore(&durable(&machine)).expect("a snapshot");
    restored.recovered(Timestamp(2_000_000));
    assert_eq!(restored.poll_dead_letter(), Some(given_up.clone()));
    assert!(restored.finish(&given_up.owner, given_up.queue, given_up.offset));
    assert!(!restored.finish(&given_up.owner, given_up.queue, given_up.offset));
    restored.recovered(Timestamp(2_000_000));
    assert_eq!(restored.poll_dead_letter(), None);
    assert_eq!(restored.committed(&owner(), QUEUE), Some(QueueOffset(1)));
}
