//! The rules as a table, and what must hold whatever comes in.

use env::disk::Space;
use proptest::prelude::*;
use types::PhysicalOffset;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const NONE: Past = Past { is_held: false, state_bytes: 0, is_asked: false };
/// 1,000 bytes a segment.
const BYTES: u64 = 1_000;

/// Segments whose newest records were stored so many hours after the beginning of time, on a disk of 100,000 bytes.
fn survey(newest_hours: &[i64], used_percent: u64) -> Survey {
    let segment = |(number, hour): (usize, &i64)| OldSegment {
        end: PhysicalOffset((number as u64 + 1) * BYTES),
        bytes: BYTES,
        newest_at: Timestamp(hour * HOUR_MS),
    };
    let total_bytes = 100 * BYTES;
    Survey {
        segments: newest_hours.iter().enumerate().map(segment).collect(),
        log_bytes: newest_hours.len() as u64 * BYTES,
        space: Some(Space { total_bytes, free_bytes: total_bytes - used_percent * BYTES }),
    }
}

fn judge(newest_hours: &[i64], used_percent: u64, past: Past, hour: i64) -> (usize, Why, Option<u8>) {
    // A second later, so that what was stored just at the bound is over.
    let now = Timestamp(hour * HOUR_MS + 1_000);
    let Verdict { segments, why, full_percent, .. } =
        Settings::default().judge(&survey(newest_hours, used_percent), past, now);
    (segments, why, full_percent)
}

#[test]
fn the_rules() {
    let held = Past { is_held: true, ..NONE };
    let asked = Past { is_asked: true, ..NONE };
    let heavy = Past { state_bytes: 1_001, ..NONE };
    for (newest, used, past, hour, expected, rule) in [
        (&[0, 1, 2, 30][..], 10, NONE, 76, (3, Why::Age, None), "72 hours and it is four o'clock"),
        (&[0, 1, 2, 30], 10, NONE, 75, (0, Why::Age, None), "it is three"),
        (&[0, 1, 2, 30], 10, asked, 75, (3, Why::Age, None), "at any hour when an operator says so"),
        (&[50, 51], 10, asked, 75, (0, Why::Age, None), "only what is over"),
        (&[0, 1, 2, 30], 75, NONE, 75, (0, Why::Age, None), "the disk is at the level"),
        (&[0, 1, 2, 30], 76, NONE, 74, (3, Why::Space, None), "above it at any hour"),
        (&[50, 0, 0], 80, NONE, 75, (0, Why::Space, None), "only from the front"),
        (&[70, 70, 70], 85, NONE, 75, (0, Why::Space, None), "not above the forcing level"),
        (&[70, 70, 70], 87, NONE, 75, (2, Why::Forced, None), "as much as it is above"),
        (&[70, 70, 70], 90, NONE, 75, (3, Why::Forced, None), "all there are"),
        (&[70, 70, 70], 91, NONE, 75, (3, Why::Forced, Some(91)), "sends are refused"),
        (&[], 99, NONE, 75, (0, Why::Space, Some(99)), "nothing of ours is to go"),
        (&[0; 30], 10, NONE, 100, (10, Why::Age, None), "not too many at once"),
        (&[0, 1, 2], 10, held, 76, (3, Why::Age, None), "what held them may be done"),
        (&[0, 1, 2, 30], 10, held, 100, (3, Why::Age, None), "but not longer"),
        (&[70, 70, 70], 87, held, 75, (2, Why::Forced, None), "nor on a full disk"),
        (&[0, 1, 2, 30], 10, heavy, 76, (3, Why::Age, None), "worth the saving of the state"),
        (&[0, 1, 30], 10, heavy, 76, (0, Why::Age, None), "not worth it yet"),
    ] {
        assert_eq!(judge(newest, used, past, hour), expected, "{rule}");
    }
}

#[test]
fn what_cannot_be_carried_holds_a_day_longer() {
    let last_call = |is_held, hour: i64| {
        let past = Past { is_held, ..NONE };
        let verdict = Settings::default().judge(&survey(&[0, 1, 20], 10), past, Timestamp(hour * HOUR_MS + 1_000));
        (verdict.segments, verdict.is_last_call)
    };
    assert_eq!(last_call(false, 100), (3, false));
    assert_eq!(last_call(true, 76), (2, false));
    // The third waits for its own day.
    assert_eq!(last_call(true, 100), (2, true));
}

#[test]
fn an_unknown_disk_is_neither_full_nor_cleaned() {
    let survey = Survey { space: None, ..survey(&[0, 0], 99) };
    let verdict = Settings::default().judge(&survey, NONE, Timestamp(90 * HOUR_MS));
    assert_eq!((verdict.segments, verdict.full_percent), (0, None));
}

#[test]
fn hours_are_shown_as_apache_writes_them() {
    assert_eq!(Hours::of(&[16, 4]).to_string(), "04;16");
    assert_eq!(Hours::of(&std::array::from_fn::<u8, 24, _>(|hour| hour as u8)), Hours::EVERY);
    assert_eq!(utc_hour(Timestamp(-1)), 23);
    assert_eq!(utc_hour(Timestamp(25 * HOUR_MS)), 1);
}

proptest! {
    #[test]
    fn what_is_young_stays_unless_the_disk_is_nearly_full(
        newest in proptest::collection::vec(0i64..200, 0..80),
        used in 0u64..=100,
        hour in 0i64..300,
        is_held: bool,
        state_bytes in 0u64..5_000,
    ) {
        let past = Past { is_held, state_bytes, is_asked: false };
        let now = Timestamp(hour * HOUR_MS + 1_000);
        let verdict = Settings::default().judge(&survey(&newest, used), past, now);
        let Verdict { segments, why, is_last_call, full_percent: full } = verdict;
        prop_assert!(segments <= newest.len().min(SEGMENTS_MAX));
        prop_assert_eq!(full.is_some(), used > 90);
        prop_assert_eq!(why == Why::Forced, used > 85 && !newest.is_empty());
        if why != Why::Forced {
            prop_assert!(newest[..segments].iter().all(|stored| hour - stored >= 72));
        }
        if is_last_call && why != Why::Forced {
            prop_assert!(is_held && newest[..segments].iter().all(|stored| hour - stored >= 96));
        }
    }
}
