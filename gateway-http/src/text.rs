//! Times and lengths of time as people write them.

use std::time::Duration;

use types::Timestamp;

use crate::problem::Problem;

/// Reads RFC 3339 with an offset, or milliseconds since 1970.
///
/// # Errors
/// What was expected.
pub fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(ms) = text.parse() {
        return Ok(Timestamp(ms));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Timestamp(time.as_millisecond())).map_err(|_| {
        "expected a time with its offset, such as 2026-11-25T08:00:00Z, or milliseconds since 1970".to_owned()
    })
}

/// Reads a whole number followed by `ms`, `s`, `m`, `h` or `d`; only zero may stand alone.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit_ms) = UNITS.iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)))?;
    // `parse` takes a sign.
    let number: u64 = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    number.checked_mul(*unit_ms).map(Duration::from_millis)
}

/// Reads a field that holds a length of time.
///
/// # Errors
/// The field's name, the text and what was expected.
pub(crate) fn length(field: &str, text: &str) -> Result<Duration, Problem> {
    let expected = "expected a whole number with its unit, such as 500ms, 30s, 5m, 2h or 1d";
    duration(text).ok_or_else(|| Problem::invalid(format!("{field} is {text:?}, {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        for form in ["1700000000123", "2023-11-14T22:13:20.123Z", "2023-11-15T00:13:20.123+02:00"] {
            assert_eq!(time(form), Ok(Timestamp(1_700_000_000_123)), "{form}");
        }
        assert!(time("yesterday").is_err_and(|text| text.contains("2026-11-25T08:00:00Z")));
    }

    #[test]
    fn lengths_need_a_unit() {
        let ms = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(
            [ms("0"), ms("500ms"), ms("30s"), ms("5m"), ms("2h"), ms("1d")].map(Option::unwrap),
            [0, 500, 30_000, 300_000, 7_200_000, 86_400_000]
        );
        for bad in ["", "s", "30", "-1s", "+1s", "1 s", "1.5s", "1w", "99999999999999999999s", "9999999999999999d"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }
}
