//! Bytes as text.

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Adds two upper-case hexadecimal digits for each byte.
pub fn push_upper(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.extend([byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
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
}
