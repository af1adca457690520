//! The recall handle: names a delayed message so that its producer can take it back.
//!
//! URL-safe base64 with padding of `v1 <topic> <broker> <time> <unique key>`. Source: Apache `RecallMessageHandle`.
//! The time is the one at which the message is due; Apache writes `TIMER_OUT_MS + 1`, which lies in the same wheel slot.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use types::broker::RecallError;
use types::{Timestamp, TopicName};

/// A recall handle's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// The topic that the message goes to.
    pub topic: String,
    /// The broker that keeps it.
    pub broker: String,
    /// When it is due.
    pub due: Timestamp,
    /// Its unique key.
    pub unique_key: String,
}

const VERSION: &str = "v1";
/// Longest handle looked at, in bytes: the fields' limits leave room to spare.
const HANDLE_BYTES_MAX: usize = 4096;

/// A 64-bit name of a message for the timer's entries (FNV-1a; part of the snapshot's format).
#[must_use]
pub fn identity(topic: &str, unique_key: &str) -> u64 {
    const SEED: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = topic.bytes().chain([0]).chain(unique_key.bytes());
    bytes.fold(SEED, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

impl Handle {
    /// The handle's text.
    #[must_use]
    pub fn encode(topic: &TopicName, broker: &str, due: Timestamp, unique_key: &str) -> String {
        URL_SAFE.encode(format!("{VERSION} {topic} {broker} {due} {unique_key}"))
    }

    /// Reads a handle's text.
    ///
    /// # Errors
    /// [`RecallError::InvalidHandle`].
    pub fn decode(text: &str) -> Result<Self, RecallError> {
        let invalid = |reason| RecallError::InvalidHandle { reason };
        if text.len() > HANDLE_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let bytes = URL_SAFE.decode(text).map_err(|_| invalid("it is not base64"))?;
        let plain = String::from_utf8(bytes).map_err(|_| invalid("it is not a text"))?;
        let mut fields = plain.splitn(5, ' ');
        let mut next = || fields.next().ok_or(invalid("it has fewer than five fields"));
        if next()? != VERSION {
            return Err(invalid("its version is not v1"));
        }
        let (topic, broker) = (next()?.to_owned(), next()?.to_owned());
        let due = next()?.parse().map(Timestamp).map_err(|_| invalid("its time is not a number"))?;
        Ok(Self { topic, broker, due, unique_key: next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_apaches() {
        let topic = TopicName::new("DelayTopic").expect("valid");
        let due = Timestamp(1_767_323_045_000);
        let text = Handle::encode(&topic, "broker-a", due, "01AABBCCDDEEFF04D205C5D0A500000007");
        assert_eq!(
            text,
            "djEgRGVsYXlUb3BpYyBicm9rZXItYSAxNzY3MzIzMDQ1MDAwIDAxQUFCQkNDRERFRUZGMDREMjA1QzVEMEE1MDAwMDAwMDc="
        );
        let handle = Handle::decode(&text).expect("own text");
        assert_eq!((handle.topic.as_str(), handle.due), ("DelayTopic", due));
        assert_eq!(handle.unique_key, "01AABBCCDDEEFF04D205C5D0A500000007");
    }

    #[test]
    fn broken_texts_say_what_is_wrong() {
        let reason = |text: &str| match Handle::decode(text) {
            Err(RecallError::InvalidHandle { reason }) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason("!"), "it is not base64");
        assert_eq!(reason(&URL_SAFE.encode("v2 t b 1 k")), "its version is not v1");
        assert_eq!(reason(&URL_SAFE.encode("v1 t b x k")), "its time is not a number");
        assert_eq!(reason(&URL_SAFE.encode("v1 t b")), "it has fewer than five fields");
    }
}
