//! Bodies that say whose they are and show any change: the key, a line end, then bytes that follow from the key.

use crate::plan;

/// Longest body.
const BYTES_MAX: usize = 4096;

/// The body of the message `key`.
pub(crate) fn of(key: &str) -> Vec<u8> {
    let mut random = plan::random(0, key);
    let filler_bytes = random.usize(..BYTES_MAX - key.len());
    let mut body = format!("{key}\n").into_bytes();
    body.extend(std::iter::repeat_with(|| random.u8(..)).take(filler_bytes));
    body
}

/// The key in a body, and whether the rest is what belongs to it.
pub(crate) fn read(body: &[u8]) -> (String, bool) {
    let end = body.iter().position(|byte| *byte == b'\n').unwrap_or(body.len().min(BYTES_MAX));
    let key = String::from_utf8_lossy(&body[..end]).into_owned();
    let is_intact = key.len() < BYTES_MAX && of(&key) == body;
    (key, is_intact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_body_is_seen() {
        let mut body = of("n0-12");
        assert_eq!(read(&body), ("n0-12".to_owned(), true));
        *body.last_mut().expect("never empty") ^= 1;
        assert_eq!(read(&body), ("n0-12".to_owned(), false));
        body.pop();
        assert!(!read(&body).1);
        assert!(!read(b"").1);
    }
}
