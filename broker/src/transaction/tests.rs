//! Tests of the transaction machine.

use proptest::prelude::*;

use super::*;

const SCHEDULE: Schedule =
    Schedule { check_after: Duration::from_millis(6), check_interval: Duration::from_millis(30), checks_max: 2 };

fn topic() -> TopicName {
    TopicName::new("orders").expect("valid")
}

fn position(number: u64) -> TransactionPosition {
    TransactionPosition { queue_offset: QueueOffset(number), physical_offset: PhysicalOffset(number * 100) }
}

fn with_halves(numbers: impl IntoIterator<Item = u64>) -> Transactions {
    let mut transactions = Transactions::default();
    for number in numbers {
        transactions.stored(position(number), 100, topic(), Timestamp(6));
    }
    transactions
}

fn end(transactions: &mut Transactions, number: u64, resolution: Resolution) -> Result<End, TransactionError> {
    transactions.end(&topic(), position(number), resolution)
}

#[test]
fn an_outcome_may_be_repeated_but_not_changed() {
    let mut transactions = with_halves([1, 2]);
    assert!(matches!(end(&mut transactions, 1, Resolution::Commit), Ok(End::Commit(_))));
    transactions.ended(position(1).physical_offset, Outcome::Committed);
    assert_eq!(end(&mut transactions, 1, Resolution::Commit), Ok(End::Nothing));
    let refused = end(&mut transactions, 1, Resolution::Rollback);
    assert_eq!(refused, Err(TransactionError::AlreadyEnded { is_committed: true }));

    assert!(matches!(end(&mut transactions, 2, Resolution::Rollback), Ok(End::RollBack(_))));
    transactions.op_stored(op_body(QueueOffset(2)).as_bytes());
    assert_eq!(end(&mut transactions, 2, Resolution::Rollback), Ok(End::Nothing));
    let refused = end(&mut transactions, 2, Resolution::Commit);
    assert_eq!(refused, Err(TransactionError::AlreadyEnded { is_committed: false }));
}

#[test]
fn a_reserved_outcome_lets_others_wait() {
    let mut transactions = with_halves([1]);
    assert!(matches!(end(&mut transactions, 1, Resolution::Commit), Ok(End::Commit(_))));
    assert_eq!(end(&mut transactions, 1, Resolution::Rollback), Ok(End::Later));
    assert_eq!(transactions.poll_overdue(&SCHEDULE, Timestamp(6), true), None);
    transactions.release(position(1).physical_offset);
    assert!(matches!(end(&mut transactions, 1, Resolution::Rollback), Ok(End::RollBack(_))));
}

#[test]
fn only_the_named_half_of_the_named_topic_is_found() {
    let mut transactions = with_halves([1]);
    let other = TopicName::new("payments").expect("valid");
    let wrong_place = TransactionPosition { queue_offset: QueueOffset(7), ..position(1) };
    assert!(matches!(end(&mut transactions, 2, Resolution::Commit), Err(TransactionError::NotFound { .. })));
    let of_other = transactions.end(&other, position(1), Resolution::Commit);
    assert!(matches!(of_other, Err(TransactionError::NotFound { .. })));
    let elsewhere = transactions.end(&topic(), wrong_place, Resolution::Commit);
    assert!(matches!(elsewhere, Err(TransactionError::NotFound { .. })));
}

#[test]
fn producers_are_asked_so_often_then_the_message_is_parked() {
    let mut transactions = with_halves([1]);
    assert_eq!(transactions.poll_overdue(&SCHEDULE, Timestamp(5), true), None);
    for (now, times) in [(6, 0), (36, 1)] {
        let Some(Overdue::Check(half)) = transactions.poll_overdue(&SCHEDULE, Timestamp(now), true) else {
            panic!("not asked")
        };
        assert_eq!((half.position, half.times), (position(1), times));
        transactions.checked(Checked { offset: PhysicalOffset(100), next_at: Timestamp(now + 30) });
    }
    assert!(matches!(transactions.poll_overdue(&SCHEDULE, Timestamp(66), false), Some(Overdue::Park(_))));
    transactions.ended(PhysicalOffset(100), Outcome::Parked);
    assert_eq!(transactions.next_deadline(), None);
    assert!(matches!(end(&mut transactions, 1, Resolution::Commit), Err(TransactionError::NotFound { .. })));
}

#[test]
fn a_check_that_reached_nobody_is_not_counted() {
    let mut transactions = with_halves([1]);
    for now in [6, 36, 66, 96] {
        let overdue = transactions.poll_overdue(&SCHEDULE, Timestamp(now), true);
        assert!(matches!(overdue, Some(Overdue::Check(HalfMessage { times: 0, .. }))));
    }
}

#[test]
fn what_was_due_while_nobody_could_be_asked_is_asked_when_somebody_can() {
    let mut transactions = with_halves([1, 2, 3]);
    for now in [6, 40] {
        assert_eq!(transactions.poll_overdue(&SCHEDULE, Timestamp(now), false), None);
    }
    assert_eq!(transactions.next_deadline(), None);
    let mut bytes = Vec::new();
    transactions.snapshot(&mut bytes);
    let mut restored = Transactions::restore(&mut Input(&bytes)).expect("own snapshot");
    for transactions in [&mut transactions, &mut restored] {
        transactions.ended(position(2).physical_offset, Outcome::RolledBack);
        for number in [1, 3] {
            let overdue = transactions.poll_overdue(&SCHEDULE, Timestamp(41), true);
            assert!(matches!(overdue, Some(Overdue::Check(half)) if half.position == position(number)));
        }
        assert_eq!(transactions.poll_overdue(&SCHEDULE, Timestamp(41), true), None);
        assert_eq!(transactions.next_deadline(), Some(Timestamp(71)));
    }
}

#[test]
fn commits_owe_op_records_until_they_are_stored() {
    let mut transactions = with_halves(0..1000);
    for number in 0..1000 {
        transactions.ended(position(number).physical_offset, Outcome::Committed);
    }
    assert_eq!(transactions.ops_owed(), 1000);
    while let Some(body) = transactions.op_owed() {
        assert!(body.len() <= OP_BODY_BYTES_MAX);
        transactions.op_stored(body.as_bytes());
    }
    assert_eq!(transactions.ops_owed(), 0);
}

#[test]
fn outcomes_are_forgotten_beyond_the_bound() {
    let mut transactions = Transactions::default();
    for number in 0..=Transactions::ENDED_MAX as u64 {
        transactions.stored(position(number), 100, topic(), Timestamp(6));
        transactions.op_stored(op_body(QueueOffset(number)).as_bytes());
    }
    assert!(matches!(end(&mut transactions, 0, Resolution::Rollback), Err(TransactionError::NotFound { .. })));
    assert_eq!(end(&mut transactions, 1, Resolution::Rollback), Ok(End::Nothing));
    assert_eq!(transactions.ended.len(), Transactions::ENDED_MAX);
}

proptest! {
    #[test]
    fn a_snapshot_restores_the_same_state(steps in proptest::collection::vec((0u64..8, 0u8..5), 0..60)) {
        let mut transactions = Transactions::default();
        for (number, step) in steps {
            let offset = position(number).physical_offset;
            match step {
                0 if !transactions.ended.contains_key(&offset) && !transactions.halves.contains_key(&offset) => {
                    transactions.stored(position(number), 100, topic(), Timestamp(6));
                }
                1 => transactions.ended(offset, Outcome::Committed),
                2 => transactions.op_stored(op_body(QueueOffset(number)).as_bytes()),
                3 => transactions.checked(Checked { offset, next_at: Timestamp(50) }),
                _ => transactions.ended(offset, Outcome::Parked),
            }
        }
        let mut bytes = Vec::new();
        transactions.snapshot(&mut bytes);
        let restored = Transactions::restore(&mut Input(&bytes)).expect("own snapshot");
        prop_assert_eq!(restored.checks.clone(), transactions.checks.clone());
        prop_assert_eq!(restored, transactions);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Transactions::restore(&mut Input(&bytes));
        Transactions::default().op_stored(&bytes);
    }
}

#[test]
fn a_half_that_was_stored_again_keeps_its_name() {
    let mut transactions = with_halves([1]);
    transactions.stored_again(position(1), position(7), 120, topic(), Timestamp(90));
    let Ok(End::Commit(half)) = end(&mut transactions, 1, Resolution::Commit) else { panic!("its name is not known") };
    assert_eq!((half.position, half.place, half.record_bytes), (position(1), position(7), 120));
    transactions.release(position(1).physical_offset);
    assert_eq!(
        end(&mut transactions, 7, Resolution::Commit),
        Err(TransactionError::NotFound { position: position(7), topic: topic() })
    );
    // The op record for the place before ends nothing.
    assert_eq!(transactions.op_owed().as_deref(), Some("1,"));
    transactions.op_stored(b"1,");
    assert_eq!((transactions.len(), transactions.ops_owed()), (1, 0));
    transactions.op_stored(b"7,");
    assert!(transactions.is_empty());
    assert_eq!(end(&mut transactions, 1, Resolution::Rollback), Ok(End::Nothing));
}

#[test]
fn a_half_is_found_by_where_it_is_now() {
    let mut transactions = with_halves([1, 2, 3]);
    transactions.stored_again(position(1), position(7), 120, topic(), Timestamp(90));
    let (mut cursor, mut found) = (None, Vec::new());
    assert!(!transactions.find_before(PhysicalOffset(300), &mut cursor, 2, 9, &mut found));
    assert!(transactions.find_before(PhysicalOffset(300), &mut cursor, 2, 9, &mut found));
    assert_eq!(found.iter().map(|half| half.position).collect::<Vec<_>>(), [position(2)]);
    assert!(transactions.is_waiting(&found[0]));
    transactions.ended(position(2).physical_offset, Outcome::Parked);
    assert!(!transactions.is_waiting(&found[0]));
}

#[test]
fn a_half_whose_first_record_has_expired_is_known_by_its_name() {
    let mut transactions = Transactions::default();
    transactions.stored_again(position(1), position(7), 120, topic(), Timestamp(90));
    assert!(matches!(end(&mut transactions, 1, Resolution::Commit), Ok(End::Commit(_))));
    let mut bytes = Vec::new();
    transactions.snapshot(&mut bytes);
    assert_eq!(Transactions::restore(&mut Input(&bytes)).expect("own snapshot"), transactions);
}
