//! Signatures as Standard Webhooks 1.0 has them. Source: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::views::ShownSecret;

const SYMMETRIC: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";
/// Bytes of a symmetric secret. Source: the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of an ed25519 seed, and of the public key that may follow it.
const SEED_BYTES: usize = 32;

/// What signs.
pub(super) enum Secret {
    /// HMAC-SHA256, `v1`.
    Symmetric(Box<hmac::Key>),
    /// ed25519, `v1a`.
    Asymmetric(Box<Ed25519KeyPair>),
}

impl Secret {
    /// Reads a secret.
    ///
    /// # Errors
    /// What was expected; nothing of the text.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "whsec_ and 24 to 64 bytes in Base64, or whsk_ and an ed25519 key of 32 or 64 bytes in Base64";
        if let Some(text) = text.strip_prefix(SYMMETRIC) {
            let bytes =
                STANDARD.decode(text).ok().filter(|bytes| SECRET_BYTES.contains(&bytes.len())).ok_or(EXPECTED)?;
            return Ok(Self::Symmetric(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes))));
        }
        let bytes = text.strip_prefix(PRIVATE).and_then(|text| STANDARD.decode(text).ok()).ok_or(EXPECTED)?;
        let (seed, public) = bytes.split_at_checked(SEED_BYTES).ok_or(EXPECTED)?;
        let pair = match public {
            [] => Ed25519KeyPair::from_seed_unchecked(seed),
            _ => Ed25519KeyPair::from_seed_and_public_key(seed, public),
        };
        Ok(Self::Asymmetric(Box::new(pair.map_err(|_| EXPECTED)?)))
    }

    /// What may be shown of it.
    pub(super) fn shown(&self) -> ShownSecret {
        match self {
            Self::Symmetric(_) => ShownSecret { version: "v1", public_key: None },
            Self::Asymmetric(pair) => {
                let public = STANDARD.encode(pair.public_key());
                ShownSecret { version: "v1a", public_key: Some(format!("{PUBLIC}{public}")) }
            }
        }
    }

    fn sign(&self, signed: &[u8]) -> String {
        match self {
            Self::Symmetric(key) => format!("v1,{}", STANDARD.encode(hmac::sign(key, signed))),
            Self::Asymmetric(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(signed))),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown().version)
    }
}

/// The value of `webhook-signature`: one signature a secret, of id, time in seconds since 1970 and body.
pub(super) fn header(secrets: &[Secret], id: &str, at_seconds: i64, body: &[u8]) -> String {
    let signed = [id.as_bytes(), b".", at_seconds.to_string().as_bytes(), b".", body].concat();
    secrets.iter().map(|secret| secret.sign(&signed)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_signature_is_that_of_the_public_libraries() {
        // Source: the test of standardwebhooks 1.1.0 for Python, and its `sign` for this time.
        let secrets = [Secret::parse(SECRET).expect("valid")];
        let header = header(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn both_secrets_sign_while_they_are_rotated() {
        let private = format!("whsk_{}", STANDARD.encode([7; 32]));
        let secrets = [SECRET, &private].map(|text| Secret::parse(text).expect("valid"));
        let header = header(&secrets, "id", 5, b"body");
        let (first, second) = header.split_once(' ').expect("two");
        assert!(first.starts_with("v1,") && second.starts_with("v1a,"), "{header}");
        let shown = secrets[1].shown().public_key.expect("shown");
        let public = STANDARD.decode(shown.strip_prefix("whpk_").expect("its prefix")).expect("Base64");
        let signature = STANDARD.decode(&second["v1a,".len()..]).expect("Base64");
        let public = UnparsedPublicKey::new(&ED25519, public);
        assert!(public.verify(b"id.5.body", &signature).is_ok());
        assert!(public.verify(b"id.6.body", &signature).is_err());
    }

    #[test]
    fn a_private_key_may_carry_its_public_one() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed");
        let with_public = [&[7; 32], pair.public_key().as_ref()].concat();
        assert!(Secret::parse(&format!("whsk_{}", STANDARD.encode(&with_public))).is_ok());
        let mut other = with_public;
        other[40] ^= 1;
        assert!(Secret::parse(&format!("whsk_{}", STANDARD.encode(&other))).is_err());
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let short = format!("whsec_{}", STANDARD.encode([1; 23]));
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        for bad in ["", "hunter2", "whsec_", "whsec_!", "whsk_", "whsk_AAAA", &short, &long] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
    }
}
