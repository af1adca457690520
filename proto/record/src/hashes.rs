//! The hashes by which the store's index finds and filters messages, taken in one pass over the properties.

use std::num::NonZeroU32;

use smallvec::SmallVec;
use types::message::java_hash;
use types::properties::{keys, names};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Most keys of one message by which it can be found; further ones are not indexed.
pub const KEYS_MAX: usize = 64;

/// What a record can be found and filtered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Java's hash of the tag, 0 without a tag (and, rarely, with one).
    pub tag: i32,
    /// Hash of the message group, `None` without a group.
    pub group: Option<NonZeroU32>,
    /// [`key_hash`] of the unique key and of each of the producer's keys, in the order of the properties, without repeats
    /// next to each other. Source of what is indexed: Apache `IndexService.buildIndex`.
    pub keys: SmallVec<[u64; 2]>,
}

impl Hashes {
    /// The hashes of a message to `topic` with these properties.
    pub(crate) fn of<'a>(topic: &str, properties: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hashes = Self { tag: 0, group: None, keys: SmallVec::new() };
        for (name, value) in properties {
            match name {
                names::TAGS => hashes.tag = java_hash(value),
                names::MESSAGE_GROUP => hashes.group = Some(group_hash(value)),
                names::UNIQUE_KEY => hashes.add_key(topic, value),
                names::KEYS => keys(value).for_each(|key| hashes.add_key(topic, key)),
                _ => {}
            }
        }
        hashes
    }

    fn add_key(&mut self, topic: &str, key: &str) {
        let hash = key_hash(topic, key);
        if self.keys.len() < KEYS_MAX && self.keys.last() != Some(&hash) {
            self.keys.push(hash);
        }
    }
}

/// The hash of a topic's key: XXH3 of the topic, a zero byte and the key. It is stored in index runs, so it never changes.
/// Two keys may share one: who looks a key up compares the record's own.
#[must_use]
pub fn key_hash(topic: &str, key: &str) -> u64 {
    const TOGETHER_BYTES_MAX: usize = 256;
    // In one piece it is several times faster, and nearly all are short enough.
    if topic.len() + 1 + key.len() <= TOGETHER_BYTES_MAX {
        let mut together = SmallVec::<[u8; TOGETHER_BYTES_MAX]>::new();
        together.extend_from_slice(topic.as_bytes());
        together.push(0);
        together.extend_from_slice(key.as_bytes());
        return xxh3_64(&together);
    }
    let mut hasher = Xxh3::new();
    hasher.update(topic.as_bytes());
    hasher.update(&[0]);
    hasher.update(key.as_bytes());
    hasher.digest()
}

/// Java's hash, with 0 moved to 1: 0 stands for "no group" in the queue index.
fn group_hash(group: &str) -> NonZeroU32 {
    NonZeroU32::new(java_hash(group).cast_unsigned()).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_same_hash_for_ever() {
        // Stored in index runs: these values are part of their format.
        assert_eq!(key_hash("T", "k1"), xxh3_64(b"T\0k1"));
        let long = "k".repeat(300);
        assert_eq!(key_hash("T", &long), xxh3_64(format!("T\0{long}").as_bytes()));
        assert_eq!(key_hash("T", "k1"), 11_190_751_987_984_418_993);
    }

    #[test]
    fn unique_key_and_each_key_are_found() {
        let properties = [(names::KEYS, " a  b a"), (names::UNIQUE_KEY, "u"), (names::TAGS, "x")];
        let hashes = Hashes::of("T", properties.into_iter());
        let keys: Vec<u64> = ["a", "b", "a", "u"].iter().map(|key| key_hash("T", key)).collect();
        assert_eq!(hashes.keys.as_slice(), keys);
        assert_ne!(key_hash("T", "a"), key_hash("U", "a"));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let many: Vec<String> = (0..KEYS_MAX + 5).map(|n| n.to_string()).collect();
        let hashes = Hashes::of("T", [(names::KEYS, many.join(" ").as_str())].into_iter());
        assert_eq!(hashes.keys.len(), KEYS_MAX);
    }
}
