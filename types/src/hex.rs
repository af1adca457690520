//! Bytes as text.

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Adds two upper-case hexadecimal digits for each byte.
pub fn push_upper(text: &mut String, bytes: &[u8]) {
    let mut digits = std::mem::take(text).into_bytes();
    for byte in bytes {
        digits.extend_from_slice(&[byte >> 4, byte & 0xf].map(|digit| DIGITS[usize::from(digit)]));
    }
    *text = String::from_utf8(digits).expect("a text and digits");
}

/// The bytes that pairs of hexadecimal digits stand for; `None` for anything else.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_two_digits() {
        let mut text = String::from("x");
        push_upper(&mut text, &[0x00, 0x0a, 0xf5]);
        assert_eq!(text, "x000AF5");
    }

    #[test]
    fn pairs_of_digits_are_bytes_again() {
        assert_eq!(decode("000Af5"), Some(vec![0x00, 0x0a, 0xf5]));
        assert_eq!(decode(""), Some(Vec::new()));
        for bad in ["0", "0g", "é", "+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
