//! The timer machine without files. With them: `broker/src/timer/spill/tests.rs`.

use proptest::prelude::*;

use super::*;
use crate::timer::change::Change;

const AT: fn(i64) -> Timestamp = Timestamp;

fn due(due: i64, offset: u64) -> Due {
    Due { due: AT(due), offset: PhysicalOffset(offset), record_bytes: 100 }
}

fn stored(due: i64, offset: u64) -> Change {
    Change::Stored(Waits { due: AT(due), offset: PhysicalOffset(offset), record_bytes: 100, identity: offset })
}

fn timer(entries: &[(i64, u64)]) -> Timer {
    let mut timer = Timer::default();
    for (due, offset) in entries {
        timer.change(stored(*due, *offset));
    }
    timer
}

#[test]
fn messages_come_when_due_and_in_stored_order() {
    let mut timer = timer(&[(20, 1), (10, 3), (10, 2)]);
    assert_eq!(timer.next_deadline(), Some(AT(10)));
    assert_eq!(timer.reserve_due(AT(9)), None);
    assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 2)));
    assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 3)));
    assert_eq!(timer.reserve_due(AT(10)), None);
    assert_eq!(timer.len(), 3);
    for _ in 0..2 {
        timer.change(Change::Finished(AT(10), PhysicalOffset(2)));
        assert_eq!(timer.len(), 2);
    }
}

/// Who goes on from there must not leave out what was not delivered.
#[test]
fn the_earliest_is_not_delivered_yet() {
    let mut timer = timer(&[(20, 1), (10, 2)]);
    assert_eq!(Timer::default().earliest(), None);
    assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 2)));
    assert_eq!(timer.earliest(), Some(AT(10)), "its copy is being made");
    timer.change(Change::Finished(AT(10), PhysicalOffset(2)));
    assert_eq!(timer.earliest(), Some(AT(20)));
    timer.spill(PhysicalOffset(9));
    assert_eq!(timer.earliest(), Some(AT(20)), "it is in a file");
}

#[test]
fn a_released_reservation_is_due_again() {
    let mut timer = timer(&[(10, 1)]);
    assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 1)));
    timer.release(AT(10), PhysicalOffset(1));
    assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 1)));
}

#[test]
fn only_what_still_waits_is_found() {
    let mut timer = timer(&[(10, 1), (10, 2)]);
    assert_eq!(timer.find(AT(10), 2), Some(PhysicalOffset(2)));
    assert_eq!(timer.find(AT(11), 2), None);
    assert_eq!(timer.reserve_due(AT(10)), Some(due(10, 1)));
    assert_eq!(timer.find(AT(10), 1), None);
}

#[test]
fn what_lies_before_a_position_is_found_step_by_step() {
    let mut timer = timer(&[(10, 5), (20, 1), (30, 9), (40, 2)]);
    assert!(timer.reserve_due(AT(10)).is_some());
    let (mut cursor, mut found) = (None, Vec::new());
    assert!(!timer.find_before(PhysicalOffset(6), &mut cursor, 2, 9, &mut found));
    assert!(timer.find_before(PhysicalOffset(6), &mut cursor, 2, 9, &mut found));
    assert_eq!(found, [due(20, 1), due(40, 2)]);
    assert_eq!(timer.delivering_before(PhysicalOffset(6)).collect::<Vec<_>>(), [(AT(10), PhysicalOffset(5))]);
    assert!(timer.is_waiting(AT(20), PhysicalOffset(1)) && !timer.is_waiting(AT(10), PhysicalOffset(5)));
}

proptest! {
    #[test]
    fn a_snapshot_restores_the_same_state(
        entries in proptest::collection::vec((0i64..50, 0u64..1000), 0..40),
        now in 0i64..50,
    ) {
        let mut timer = timer(&entries);
        timer.reserve_due(AT(now));
        let mut bytes = Vec::new();
        timer.snapshot(&mut bytes);
        prop_assert_eq!(Timer::restore(&mut Input(&bytes), true, Bounds::default()).expect("own snapshot"), timer);
    }

    #[test]
    fn nothing_is_reserved_before_its_time(
        entries in proptest::collection::vec((0i64..50, 0u64..1000), 0..40),
        now in 0i64..50,
    ) {
        let mut timer = timer(&entries);
        while let Some(message) = timer.reserve_due(AT(now)) {
            prop_assert!(message.due <= AT(now));
        }
        prop_assert!(timer.next_deadline().is_none_or(|next| next > AT(now)));
    }
}

#[test]
fn what_waits_in_files_costs_neither_memory_nor_a_longer_snapshot() {
    let bounds = Bounds { young_max: 8_192, ..Bounds::default() };
    let mut timer = Timer::new(bounds);
    let mut costs = Vec::new();
    for n in 1..=400_000u64 {
        timer.change(stored((n * 7_919 % 1_000_000) as i64 + 1_000_000_000, n * 300));
        if timer.wants_files() {
            let at = PhysicalOffset(n * 300 + 1);
            timer.let_go(at);
            timer.seal(at);
            timer.filed(at);
        }
        if n % 100_000 == 0 {
            let mut snapshot = Vec::new();
            timer.snapshot(&mut snapshot);
            costs.push((timer.held().count(), snapshot.len()));
        }
    }
    assert_eq!(timer.len(), 400_000);
    let snapshot_bytes_max = bounds.young_max * 28 + 400_000 / bounds.young_max * 60;
    let is_bounded = |(held, bytes): &(usize, usize)| *held < bounds.young_max && *bytes < snapshot_bytes_max;
    assert!(costs.iter().all(is_bounded), "{costs:?}, limits are {} and {snapshot_bytes_max}", bounds.young_max);
}
