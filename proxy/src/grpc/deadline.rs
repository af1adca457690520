//! How long a client waits for a call: the header `grpc-timeout`.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The answer leaves this long before the client's deadline, or it crosses the client's cancellation on its way
/// (Rust's deadline equals its polling time, pitfall 18).
pub(super) const RESERVE: Duration = Duration::from_millis(300);
/// How long a refused receive is held back: some SDKs ask again after 20 ms, for ever (pitfall 32).
pub(super) const REFUSAL_DELAY: Duration = Duration::from_millis(300);

/// How long a long poll may wait: as long as the client wants, within the server's limit, and no longer than its deadline
/// allows. A deadline that is almost over makes it a look without a wait, never an error (pitfall 19).
pub(super) fn polling_time(asked: Option<Duration>, limit: Duration, headers: &MetadataMap) -> Duration {
    let asked = asked.unwrap_or(limit).min(limit);
    remaining(headers).map_or(asked, |remaining| asked.min(remaining.saturating_sub(RESERVE)))
}

/// How long a refusal is held back, which is not beyond the deadline either.
pub(super) fn refusal_delay(headers: &MetadataMap) -> Duration {
    remaining(headers).map_or(REFUSAL_DELAY, |remaining| REFUSAL_DELAY.min(remaining.saturating_sub(RESERVE)))
}

/// What the client gave the call, counted from its start. Source: gRPC over HTTP/2, `Timeout`.
fn remaining(headers: &MetadataMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn headers(timeout: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert("grpc-timeout", timeout.parse().expect("valid"));
        headers
    }

    fn polling_ms(asked_ms: Option<u64>, timeout: &str) -> u128 {
        polling_time(asked_ms.map(Duration::from_millis), LIMIT, &headers(timeout)).as_millis()
    }

    #[test]
    fn timeouts_of_every_unit_are_read() {
        for (text, ms) in [("1H", 3_600_000), ("2M", 120_000), ("3S", 3000), ("4m", 4), ("5000u", 5), ("6000000n", 6)] {
            assert_eq!(remaining(&headers(text)), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["S", "", "123456789S", "-1S", "1x", "1é"] {
            let parsed = text.parse().ok().and_then(|value| {
                let mut headers = MetadataMap::new();
                headers.insert("grpc-timeout", value);
                remaining(&headers)
            });
            assert_eq!(parsed, None, "{text:?}");
        }
    }

    #[test]
    fn pitfall_18_the_poll_ends_before_the_deadline() {
        assert_eq!(polling_ms(Some(15_000), "15000m"), 14_700);
        assert_eq!(polling_ms(Some(40_000), "40S"), 20_000, "the server's limit comes first");
        assert_eq!(polling_ms(None, "10S"), 9_700);
    }

    #[test]
    fn pitfall_19_short_polls_are_honoured() {
        assert_eq!(polling_ms(Some(1000), "4S"), 1000);
        assert_eq!(polling_ms(Some(1000), "200m"), 0);
        assert_eq!(polling_time(None, LIMIT, &MetadataMap::new()), LIMIT, "no deadline is no bound");
    }

    #[test]
    fn refusals_are_held_back_within_the_deadline() {
        assert_eq!(refusal_delay(&headers("3S")), REFUSAL_DELAY);
        assert_eq!(refusal_delay(&headers("400m")), Duration::from_millis(100));
    }
}
