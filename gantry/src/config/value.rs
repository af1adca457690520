//! Text of a setting to its value. Each parser answers what it expected when the text is something else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// What a parser expected instead, as the end of "expected …".
pub(crate) type Expected = &'static str;

/// A path; any text but none.
pub(crate) fn path(text: &str) -> Result<PathBuf, Expected> {
    if text.is_empty() { Err("a path") } else { Ok(PathBuf::from(text)) }
}

/// An address to listen on; `localhost` is 127.0.0.1.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Expected> {
    const EXPECTED: Expected = "an IP address and a port, such as 127.0.0.1:8081";
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| EXPECTED)?;
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| EXPECTED)
}

/// An IP address to listen on.
pub(crate) fn ip(text: &str) -> Result<IpAddr, Expected> {
    text.parse().map_err(|_| "an IP address, such as 127.0.0.1")
}

/// A host and a port that clients are told.
pub(crate) fn endpoint(text: &str) -> Result<(String, u16), Expected> {
    const EXPECTED: Expected = "a host and a port, such as mq.example.org:8081";
    let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_blank = host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/');
    match port.parse() {
        Ok(port) if port > 0 && !is_blank => Ok((host.to_owned(), port)),
        _ => Err(EXPECTED),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(text: &str) -> Result<bool, Expected> {
    text.parse().map_err(|_| "true or false")
}

/// A whole number.
pub(crate) fn count(text: &str) -> Result<u64, Expected> {
    text.parse().map_err(|_| "a whole number")
}

/// Bytes: a whole number, or one followed by `KiB`, `MiB` or `GiB`.
pub(crate) fn size(text: &str) -> Result<u64, Expected> {
    const EXPECTED: Expected = "a number of bytes, such as 4194304 or 4MiB";
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    with_unit(text, &UNITS).ok_or(EXPECTED)
}

/// A length of time: a whole number followed by `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, Expected> {
    const EXPECTED: Expected = "a number with a unit, such as 500ms, 30s, 5m or 1h";
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    with_unit(text, &UNITS).map(Duration::from_millis).ok_or(EXPECTED)
}

/// A collector's URL; TLS to it is not built in.
pub(crate) fn collector(text: &str) -> Result<String, Expected> {
    const EXPECTED: Expected = "a URL such as http://127.0.0.1:4317 (https is not supported)";
    let authority = text.strip_prefix("http://").ok_or(EXPECTED)?;
    if authority.is_empty() || authority.contains(char::is_whitespace) {
        return Err(EXPECTED);
    }
    Ok(text.to_owned())
}

/// The number before the first unit that fits, times the unit's worth.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, worth) = units.iter().find_map(|(unit, worth)| Some((text.strip_suffix(unit)?, *worth)))?;
    // `parse` takes a leading plus sign, which is no part of a size.
    let is_number = number.starts_with(|c: char| c.is_ascii_digit());
    is_number.then(|| number.parse::<u64>().ok()?.checked_mul(worth)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_and_durations_have_units() {
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert_eq!(size("17"), Ok(17));
        assert!(size("4MB").is_err());
        assert!(size("-1").is_err());
        assert!(size("18446744073709551615GiB").is_err());
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("30").is_err());
    }

    #[test]
    fn addresses_need_host_and_port() {
        assert_eq!(address("localhost:1"), Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
        assert!(address("[::1]:8081").is_ok());
        assert!(address("8081").is_err());
        assert!(address("127.0.0.1:99999").is_err());
        assert_eq!(endpoint("mq:8081"), Ok(("mq".to_owned(), 8081)));
        assert_eq!(endpoint("[::1]:8081"), Ok(("::1".to_owned(), 8081)));
        assert!(endpoint("http://mq:8081").is_err());
        assert!(endpoint("mq").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = (address(&text), endpoint(&text), size(&text), duration(&text), collector(&text));
        }
    }
}
