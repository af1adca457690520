//! Times as people write and read them.

use types::Timestamp;

/// A time as people read it, in UTC; one that no calendar has as the number that it is.
pub(crate) fn text(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.to_string(), |time| format!("{time:.3}"))
}

/// The hour of the day where this machine stands; in Greenwich, for a time that no calendar has.
pub(crate) fn local_hour(time: Timestamp) -> u8 {
    let local = jiff::Timestamp::from_millisecond(time.0).map(|time| time.to_zoned(jiff::tz::TimeZone::system()));
    local.map_or_else(|_| broker::retention::utc_hour(time), |time| time.hour().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_and_never_refused() {
        assert_eq!(text(Timestamp(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(text(Timestamp(i64::MAX)), "9223372036854775807");
    }
}
