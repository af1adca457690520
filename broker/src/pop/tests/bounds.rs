//! What happens at the bounds, and small claims that need no model.

use std::time::Duration;

use types::broker::ChangeInvisible;
use types::{Filter, QueueId, QueueOffset, ReceiptHandle, Timestamp};

use super::world::{Around, Queues, durable, make_move, owner, pop};
use crate::pop::{
    BLOCKED_MAX, Cursor, Look, PopEnd, PopMachine, PopQueues, PopRequest, RENEW_TOTAL_MAX, RETRIES_MAX,
    SCAN_ENTRIES_MAX, SPAN_MAX, UNFINISHED_MAX,
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
fn what_is_about_to_expire_is_held_back_until_it_has_or_stays_after_all() {
    let mut view = queue_of(6, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let first = pop(&mut machine, &view, 1, &mut events);
    view.announce(QUEUE, 4);
    assert!(pop(&mut machine, &view, 32, &mut events).is_empty());
    let handles = [first[0].handle(&"b".into())];
    machine.release(&owner(), &handles, &mut events);
    assert_eq!(pop(&mut machine, &view, 32, &mut events).len(), 1, "what was leased before is leased again");
    while machine.poll_visible().is_some() {}
    machine.expiry_ended();
    assert_eq!(machine.poll_visible(), Some((owner(), QUEUE)), "who waits looks again");
    view.announce(QUEUE, 0);
    let offsets = |leased: Vec<crate::pop::Leased>| leased.iter().map(|one| one.entry.offset.0).collect::<Vec<_>>();
    assert_eq!(offsets(pop(&mut machine, &view, 1, &mut events)), [1]);
    view.announce(QUEUE, 4);
    view.trim(QUEUE, 4);
    assert_eq!(offsets(pop(&mut machine, &view, 32, &mut events)), [4, 5]);
}

/// Moves all that is unfinished in the topic's queue.
fn move_all(machine: &mut PopMachine, view: &mut Queues) {
    let mut cursor = Cursor::default();
    loop {
        match machine.look(&mut cursor) {
            Look::Entry(entry, _) if entry.owner == owner() => drop(make_move(machine, view, &entry).expect("moved")),
            Look::Entry(..) => cursor.skip_queue(),
            Look::NextQueue => {}
            Look::End => return,
        }
    }
}

#[test]
fn a_full_retry_queue_lets_nothing_new_be_leased_and_takes_nothing_more() {
    let mut view = queue_of(RETRIES_MAX + 100, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let mut first = None;
    for _ in 0..RETRIES_MAX / 50 {
        let leased = pop(&mut machine, &view, 50, &mut events);
        first.get_or_insert_with(|| leased[0].handle(&"b".into()));
        move_all(&mut machine, &mut view);
        events.clear();
    }
    let leased = |machine: &mut PopMachine, events: &mut _| pop(machine, &view, 50, events).len();
    assert_eq!(leased(&mut machine, &mut events), 0, "nothing new");
    while machine.poll_visible().is_some() {}

    let first = [first.expect("popped")];
    assert_eq!(machine.ack(&owner(), &first, &mut events), [Ok(())], "a handle from before the move");
    assert!(machine.poll_visible().is_some(), "waiting receivers hear that there is room again");
    assert_eq!(leased(&mut machine, &mut events), 50);
    assert_eq!(leased(&mut machine, &mut events), 50, "only moves make it full");
}

#[test]
fn the_first_of_a_long_span_is_moved_and_progress_goes_on() {
    let span = usize::try_from(SPAN_MAX).expect("fits");
    let mut view = queue_of(span + 100, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let pinned = pop(&mut machine, &view, 1, &mut events)[0].handle(&"b".into());
    let mut next = 1;
    while next <= span {
        assert!(!machine.has_moves(), "at {next}");
        let leased = pop(&mut machine, &view, 50.min(u32::try_from(span + 1 - next).expect("small")), &mut events);
        next += leased.len();
        let handles: Vec<_> = leased.iter().map(|leased| leased.handle(&"b".into())).collect();
        machine.ack(&owner(), &handles, &mut events);
        events.clear();
    }
    assert_eq!(machine.committed(&owner(), QUEUE), Some(QueueOffset(0)));
    let entry = machine.poll_move(Timestamp(1_000_000)).expect("it holds the progress back");
    assert_eq!((entry.offset, machine.has_moves()), (QueueOffset(0), false));
    make_move(&mut machine, &mut view, &entry).expect("moved");
    assert_eq!(machine.committed(&owner(), QUEUE), Some(QueueOffset(next as u64)));
    assert_eq!(machine.ack(&owner(), &[pinned], &mut events), [Ok(())], "its lease went on");
}

#[test]
fn moves_that_were_not_made_are_asked_for_again_after_recovery() {
    let view = queue_of(2, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let leased = pop(&mut machine, &view, 2, &mut events);
    let (now, long) = (Timestamp(1_000_000), std::time::Duration::from_secs(100));
    for leased in leased {
        let handle = leased.handle(&"b".into());
        machine.change_invisible(&owner(), &handle, long.into(), now, &mut events).expect("good");
    }
    let first = machine.poll_move(now).expect("it waits long");
    machine.move_later(&first);
    let mut restored = PopMachine::restore(&durable(&machine)).expect("a snapshot");
    restored.recovered(now);
    for machine in [&mut machine, &mut restored] {
        let asked: Vec<_> = std::iter::from_fn(|| machine.poll_move(now)).map(|entry| entry.offset).collect();
        assert_eq!(asked, [QueueOffset(0), QueueOffset(1)]);
    }
    restored.recovered(now.plus(long));
    assert_eq!(restored.poll_move(now.plus(long)), None, "it is about to be delivered");
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
        begins_at_first: false,
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
fn forgotten_topics_take_their_retry_queues_along() {
    let mut view = queue_of(3, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let before = durable(&machine);
    let handle = pop(&mut machine, &view, 3, &mut events)[0].handle(&"b".into());
    move_all(&mut machine, &mut view);
    let retries = machine.retries_of_topic(&owner().topic);
    assert_eq!(retries, machine.retries_of_group(&owner().group));
    assert!(machine.is_consumed(&retries[0]));
    machine.forget_topic(&owner().topic, &mut events);
    assert!(!machine.is_consumed(&retries[0]));
    assert_eq!((durable(&machine), machine.next_deadline()), (before, None));
    assert!(machine.ack(&owner(), &[handle], &mut events)[0].is_err());
}

#[test]
fn one_pop_in_five_begins_with_the_retry_queue() {
    let mut view = queue_of(100, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let handles: Vec<_> =
        pop(&mut machine, &view, 10, &mut events).iter().map(|leased| leased.handle(&"b".into())).collect();
    move_all(&mut machine, &mut view);
    machine.release(&owner(), &handles, &mut events);
    let sources: Vec<_> = (0..10).map(|_| pop(&mut machine, &view, 1, &mut events)[0].source as u8).collect();
    assert_eq!(sources, [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    assert_eq!(pop(&mut machine, &view, 100, &mut events).len(), 82 + 8, "the others take it last");
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

/// Else the version before could not go on with a directory in which nothing needs the newer form.
#[test]
fn the_older_form_is_written_while_nothing_is_suspended() {
    const WITHOUT_SUSPENDED: u8 = 2;
    const WITH_SUSPENDED: u8 = 3;
    let view = queue_of(1, |_| 0);
    let (mut machine, mut events) = (PopMachine::new(), Vec::new());
    let mut handle = pop(&mut machine, &view, 1, &mut events)[0].handle(&"b".into());
    assert_eq!(durable(&machine)[0], WITHOUT_SUSPENDED);
    for (suspend, form) in [(true, WITH_SUSPENDED), (false, WITHOUT_SUSPENDED)] {
        let change = ChangeInvisible { invisible: Duration::from_secs(9), suspend };
        let changed = machine.change_invisible(&owner(), &handle, change, Timestamp(2_000_000), &mut events);
        handle = changed.expect("good");
        assert_eq!(durable(&machine)[0], form);
        let restored = PopMachine::restore(&durable(&machine)).expect("known");
        assert_eq!(durable(&restored), durable(&machine));
    }
}
