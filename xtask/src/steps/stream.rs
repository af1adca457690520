//! What the SDKs' `stream` examples say: a line a success, as `sdk-examples/go/stream.go` has it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What an example could do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Success<'a> {
    Sent { at: SystemTime, body: &'a str },
    Received { at: SystemTime, bodies: Vec<&'a str> },
    Acked { received_at: SystemTime, at: SystemTime },
}

/// `None`: an SDK's own chatter, or a failure.
pub(super) fn parse(line: &str) -> Option<Success<'_>> {
    let words: Vec<_> = line.split(' ').collect();
    let time = |word: &str| word.parse().ok().map(at);
    match words[..] {
        ["sent", sent, body] => Some(Success::Sent { at: time(sent)?, body }),
        ["received", received, ref bodies @ ..] => {
            Some(Success::Received { at: time(received)?, bodies: bodies.to_vec() })
        }
        ["acked", received, acked, _] => Some(Success::Acked { received_at: time(received)?, at: time(acked)? }),
        _ => None,
    }
}

/// A time as the lines have it, in milliseconds since 1970.
pub(super) fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_has_a_time_and_bodies() {
        assert_eq!(parse("sent 7 1-0"), Some(Success::Sent { at: at(7), body: "1-0" }));
        assert_eq!(parse("received 8 1-0 1-1"), Some(Success::Received { at: at(8), bodies: vec!["1-0", "1-1"] }));
        assert_eq!(parse("acked 8 9 1-0"), Some(Success::Acked { received_at: at(8), at: at(9) }));
        for other in ["", "hello", "sent 7", "sent x 1-0", "1764348000000 sent 7 1-0"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
