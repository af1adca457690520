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

/// Reads what people write: RFC 3339 with an offset, or milliseconds since 1970.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    if let Ok(ms) = text.parse() {
        return Ok(Timestamp(ms));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Timestamp(time.as_millisecond())).map_err(|_| {
        "expected a time with its offset, such as 2026-11-25T08:00:00Z, or milliseconds since 1970".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_and_never_refused() {
        assert_eq!(text(Timestamp(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        assert_eq!(text(Timestamp(i64::MAX)), "9223372036854775807");
    }

    #[test]
    fn times_are_read_in_both_forms() {
        for form in ["1700000000123", "2023-11-14T22:13:20.123Z", "2023-11-15T00:13:20.123+02:00"] {
            assert_eq!(parse(form), Ok(Timestamp(1_700_000_000_123)), "{form}");
        }
        assert!(parse("yesterday").is_err_and(|text| text.contains("2026-11-25T08:00:00Z")));
    }
}
