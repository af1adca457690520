//! When a message is to be delivered, from its properties.
//!
//! Source: Apache `HookUtils.handleScheduleMessage` and `transformTimerMessage`. Where Apache leaves the relative
//! properties on the message, we replace them by the absolute one, so that the record alone says when.

use std::time::Duration;

use types::properties::names;
use types::{Properties, Timestamp};

/// Apache's `messageDelayLevel`, level 1 first, in seconds.
const LEVEL_SECONDS: [u64; 18] =
    [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
/// The wheel's precision. Source: Apache `timerPrecisionMs`.
const PRECISION_MS: i64 = 1000;

/// The delivery time that a message's properties ask for; `None` when they ask for none. A delay level wins over
/// seconds, those over milliseconds, those over an absolute time.
#[must_use]
pub fn due(properties: &Properties, now: Timestamp) -> Option<Timestamp> {
    let (mut level, mut seconds, mut millis, mut absolute) = (None, None, None, None);
    for (name, value) in properties.iter() {
        let slot = match name {
            names::DELAY_LEVEL => &mut level,
            names::TIMER_DELAY_SECONDS => &mut seconds,
            names::TIMER_DELAY_MS => &mut millis,
            names::TIMER_DELIVER_MS => &mut absolute,
            _ => continue,
        };
        *slot = value.parse::<i64>().ok();
    }
    let after = |duration| Some(now.plus(duration));
    match (level.and_then(level_delay), seconds, millis, absolute) {
        (Some(delay), ..) => after(delay),
        (None, Some(seconds), ..) => after(Duration::from_secs(seconds.max(0).unsigned_abs())),
        (None, None, Some(millis), _) => after(Duration::from_millis(millis.max(0).unsigned_abs())),
        (None, None, None, absolute) => absolute.map(Timestamp),
    }
}

/// The delay of a level; levels beyond the last are the last, level 0 and below is none.
pub(crate) fn level_delay(level: i64) -> Option<Duration> {
    let index = usize::try_from(level.checked_sub(1)?).ok()?;
    LEVEL_SECONDS.get(index).or(LEVEL_SECONDS.last()).map(|seconds| Duration::from_secs(*seconds))
}

/// Writes the delivery time in the forms that we (`TIMER_DELIVER_MS`) and Apache's wheel (`TIMER_OUT_MS`) read.
pub fn set(properties: &mut Properties, due: Timestamp) {
    for relative in [names::DELAY_LEVEL, names::TIMER_DELAY_SECONDS, names::TIMER_DELAY_MS] {
        properties.remove(relative);
    }
    properties.set_own(names::TIMER_DELIVER_MS, &due.to_string());
    properties.set_own(names::TIMER_OUT_MS, &out_ms(due).to_string());
}

/// Lets Apache's wheel have the message in no slot before `slot`.
pub(crate) fn not_before(properties: &mut Properties, slot: Timestamp) {
    if properties.get_i64(names::TIMER_OUT_MS).is_some_and(|out_ms| out_ms < slot.0) {
        properties.set_own(names::TIMER_OUT_MS, &slot.to_string());
    }
}

/// The wheel's slot that a time lies in.
pub(crate) fn slot_of(time: Timestamp) -> Timestamp {
    Timestamp(time.0 - time.0.rem_euclid(PRECISION_MS))
}

/// The slot of Apache's wheel in which a message is that is due then.
pub(crate) fn apaches_slot(due: Timestamp) -> Timestamp {
    Timestamp(out_ms(due))
}

/// Apache's slot time: whole seconds are moved one back, because a slot is delivered when it is strictly past.
fn out_ms(due: Timestamp) -> i64 {
    match due.0.rem_euclid(PRECISION_MS) {
        0 => due.0 - PRECISION_MS,
        rest => due.0 - rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn due_of(pairs: &[(&'static str, &str)]) -> Option<Timestamp> {
        let mut properties = Properties::new();
        for (name, value) in pairs {
            properties.set_own(name, value);
        }
        due(&properties, NOW)
    }

    #[test]
    fn level_wins_over_seconds_over_milliseconds_over_time() {
        let all = [
            (names::TIMER_DELIVER_MS, "5"),
            (names::TIMER_DELAY_MS, "7"),
            (names::TIMER_DELAY_SECONDS, "2"),
            (names::DELAY_LEVEL, "3"),
        ];
        assert_eq!(due_of(&all[..0]), None);
        assert_eq!(due_of(&all[..1]), Some(Timestamp(5)));
        assert_eq!(due_of(&all[..2]), Some(Timestamp(1_000_007)));
        assert_eq!(due_of(&all[..3]), Some(Timestamp(1_002_000)));
        assert_eq!(due_of(&all), Some(Timestamp(1_010_000)));
    }

    #[test]
    fn levels_beyond_the_last_are_the_last_and_zero_is_none() {
        assert_eq!(due_of(&[(names::DELAY_LEVEL, "99")]), Some(Timestamp(8_200_000)));
        assert_eq!(due_of(&[(names::DELAY_LEVEL, "0")]), None);
        assert_eq!(due_of(&[(names::DELAY_LEVEL, "x")]), None);
    }

    #[test]
    fn the_slot_is_apaches() {
        let mut properties = Properties::new();
        properties.set_own(names::DELAY_LEVEL, "1");
        set(&mut properties, Timestamp(12_000));
        assert_eq!(properties.get(names::TIMER_OUT_MS), Some("11000"));
        assert_eq!(properties.get(names::DELAY_LEVEL), None);
        set(&mut properties, Timestamp(12_345));
        assert_eq!(properties.get(names::TIMER_OUT_MS), Some("12000"));
        assert_eq!(properties.get_i64(names::TIMER_DELIVER_MS), Some(12_345));
    }
}
