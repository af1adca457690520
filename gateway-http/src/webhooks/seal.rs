//! What is stored of a webhook is sealed: whoever reads the topic learns no secret, and whoever writes to it makes no webhook.
//!
//! | bytes    | field                                                     |
//! |----------|-----------------------------------------------------------|
//! | 0..1     | the form's version, 1                                     |
//! | 1..13    | nonce, random                                             |
//! | 13..n-16 | AES-256-GCM of the text, with [`CONTEXT`] as further data |
//! | n-16..n  | its tag                                                   |

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"gantry webhook 1";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Most keys of a file.
const KEYS_MAX: usize = 8;

/// The keys of a gateway: the first seals, each opens, so that one takes the place of another while gateways run.
pub struct Keys(Vec<RandomizedNonceKey>);

impl Keys {
    /// Reads a key file: a key a line, each 32 bytes in Base64.
    ///
    /// # Errors
    /// What is wrong with which line; nothing of the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !(1..=KEYS_MAX).contains(&lines.len()) {
            return Err(format!("{} keys, allowed are 1 to {KEYS_MAX}, one a line", lines.len()));
        }
        let key = |(index, line): (usize, &&str)| {
            let bytes = STANDARD.decode(line).ok().filter(|bytes| bytes.len() == KEY_BYTES);
            let key = bytes.and_then(|bytes| RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok());
            key.ok_or_else(|| format!("key {} is not {KEY_BYTES} bytes in Base64: openssl rand -base64 32", index + 1))
        };
        lines.iter().enumerate().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The text of a new key file.
    ///
    /// # Panics
    /// The system has no randomness.
    #[must_use]
    pub fn generate() -> String {
        let mut key = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut key).expect("the system has randomness");
        format!("{}\n", STANDARD.encode(key))
    }

    /// Seals a text.
    ///
    /// # Panics
    /// The text has more than 64 GiB, or the system has no randomness.
    pub(super) fn seal(&self, text: &[u8]) -> Vec<u8> {
        let key = self.0.first().expect("there is a first key");
        let mut sealed = text.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(CONTEXT), &mut sealed).expect("a short text is sealed");
        [&[VERSION], nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Opens what one of the keys has sealed.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *version != VERSION {
            return None;
        }
        self.0.iter().find_map(|key| {
            let mut text = sealed.to_vec();
            let nonce = Nonce::from(nonce);
            let bytes = key.open_in_place(nonce, Aad::from(CONTEXT), &mut text).ok()?.len();
            text.truncate(bytes);
            Some(text)
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_owner_opens_what_is_sealed() {
        let (first, second) = (Keys::generate(), Keys::generate());
        let (old, other) = (Keys::parse(&first).expect("valid"), Keys::parse(&second).expect("valid"));
        let sealed = old.seal(b"secret");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_ne!(sealed, old.seal(b"secret"), "each with a nonce of its own");
        assert_eq!(old.open(&sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(other.open(&sealed), None);
        let rotating = Keys::parse(&format!("{second}{first}")).expect("valid");
        assert_eq!(rotating.open(&sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(other.open(&rotating.seal(b"secret")).as_deref(), Some(b"secret".as_slice()));
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let keys = Keys::parse(&Keys::generate()).expect("valid");
        let sealed = keys.seal(b"secret");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(keys.open(&changed), None, "{index}");
            assert_eq!(keys.open(&sealed[..index]), None, "{index}");
        }
    }

    #[test]
    fn a_bad_key_file_is_named_by_its_line() {
        assert_eq!(Keys::parse("\n").expect_err("none"), "0 keys, allowed are 1 to 8, one a line");
        let error = Keys::parse(&format!("{}hunter2\n", Keys::generate())).expect_err("bad");
        assert!(error.starts_with("key 2 is not 32 bytes") && !error.contains("hunter2"), "{error}");
    }
}
