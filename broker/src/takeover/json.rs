//! Apache's dialect of JSON: maps by number are written with bare keys, `{0:5,1:7}`.
//!
//! Source: fastjson's writer, as `ConsumerOffsetManager.encode` uses it; measured with 5.3.3 and 5.5.0.

use serde::de::DeserializeOwned;

/// Reads a value, with bare or quoted keys. The text says what is wrong and where.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(&quote_keys(bytes)).map_err(|error| error.to_string())
}

/// Puts quotes around numbers that stand before a colon; what is JSON already stays as it is.
fn quote_keys(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut rest = input;
    while let [first, ..] = rest {
        let (length, is_key) = match first {
            b'"' => (string_bytes(rest), false),
            b'-' | b'0'..=b'9' => number(rest),
            _ => (1, false),
        };
        let (token, behind) = rest.split_at(length);
        let quote: &[u8] = if is_key { b"\"" } else { b"" };
        out.extend_from_slice(quote);
        out.extend_from_slice(token);
        out.extend_from_slice(quote);
        rest = behind;
    }
    out
}

/// Bytes of the string that `input` begins with, its quotes included; all of it when it does not end.
fn string_bytes(input: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = input.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(input.len(), |end| end + 2)
}

/// Bytes of the number that `input` begins with, and whether a colon follows.
fn number(input: &[u8]) -> (usize, bool) {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let length = input.iter().position(|byte| !is_part(byte)).unwrap_or(input.len());
    let next = input.iter().skip(length).find(|byte| !byte.is_ascii_whitespace());
    (length, next == Some(&b':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn bare_keys_are_read_like_quoted_ones() {
        let apache = b"{\n\t\"offsetTable\":{\"t@g\":{0:5,1 : 7,-1:-2},\"a:\\\"1:\":{\"3\":[1,2]}}\n}";
        let expected = json!({"offsetTable": {"t@g": {"0": 5, "1": 7, "-1": -2}, "a:\"1:": {"3": [1, 2]}}});
        assert_eq!(parse::<Value>(apache), Ok(expected));
    }

    #[test]
    fn what_is_no_json_says_where() {
        let error = parse::<Value>(b"{0:").expect_err("it ends");
        assert!(error.contains("line 1"), "{error}");
    }

    proptest! {
        #[test]
        fn json_stays_as_it_is(
            map in proptest::collection::btree_map(".{0,8}", proptest::collection::vec(-1e9f64..1e9, 0..4), 0..6)
        ) {
            let text = serde_json::to_vec(&map).expect("a map of lists");
            prop_assert_eq!(quote_keys(&text), text);
        }

        #[test]
        fn any_input_is_read_or_refused(bytes: Vec<u8>) {
            let _ = parse::<Value>(&bytes);
        }

        #[test]
        fn texts_close_to_json_are_read_or_refused(text in "[-0-9:,{}\\[\\]\"\\\\a \n]{0,60}") {
            let _ = parse::<Value>(text.as_bytes());
        }
    }
}
