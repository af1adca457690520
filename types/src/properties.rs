//! A message's properties: names and values that travel and are stored with it.

use std::fmt;

/// Ends a name. Source: Apache `MessageDecoder.NAME_VALUE_SEPARATOR`.
const NAME_END: char = '\u{1}';
/// Ends a value. Source: Apache `MessageDecoder.PROPERTY_SEPARATOR`.
const VALUE_END: char = '\u{2}';
/// Separates the keys of a message. Source: Apache `MessageConst.KEY_SEPARATOR`.
const KEY_SEPARATOR: char = ' ';

/// Names that the system gives a meaning to. Source: Apache `MessageConst`.
pub mod names {
    #![allow(missing_docs)]
    pub const BORN_HOST: &str = "__BORNHOST";
    pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
    pub const CHECK_IMMUNITY_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    pub const DELAY_LEVEL: &str = "DELAY";
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";
    /// Our own, and a user property to everybody else: the message is stored at most once under it, see `docs/idempotency.md`.
    pub const IDEMPOTENCY_KEY: &str = "GANTRY_IDEMPOTENCY_KEY";
    pub const KEYS: &str = "KEYS";
    pub const LITE_TOPIC: &str = "__LITE_TOPIC";
    pub const MESSAGE_GROUP: &str = "__SHARDINGKEY";
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
    pub const PRODUCER_GROUP: &str = "PGROUP";
    pub const REAL_QUEUE_ID: &str = "REAL_QID";
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    pub const TAGS: &str = "TAGS";
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    pub const TIMER_DELAY_SECONDS: &str = "TIMER_DELAY_SEC";
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
    pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
    pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
    pub const TRANSACTION_ID: &str = "__transactionId__";
    pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
    pub const UNIQUE_KEY: &str = "UNIQ_KEY";
}

/// An ordered list of name-value pairs, kept as the text that is stored and sent.
///
/// Invariant: the text is a sequence of `name 0x01 value 0x02`, no name or value is empty or holds one of
/// the two separators. A message has a dozen properties and each is asked for at most once or twice: a
/// scan of one short string costs less than a map's allocations, and writing it to the log is one copy.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    text: String,
}

/// Why a text or a pair is not accepted as a property.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A separator byte inside a name or value would split it in two.
    #[error("property {name:?} holds a separator byte (0x01 or 0x02)")]
    Separator {
        /// The property's name.
        name: String,
    },
    /// A value without a name.
    #[error("a property has no name")]
    NoName,
}

impl Properties {
    /// No properties.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: String::new() }
    }

    /// No properties, with room for `bytes` of text.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes) }
    }

    /// Takes stored or received text. Entries without a name or value are dropped, a missing last
    /// separator is added (older clients leave it out), as Apache's `string2messageProperties` does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let is_canonical = text.is_empty() || text.ends_with(VALUE_END);
        let mut clean = Self { text: String::with_capacity(text.len() + usize::from(!is_canonical)) };
        for (name, value) in pairs(text) {
            clean.push_text(name, value);
        }
        clean
    }

    /// The value of `name`, if present.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of `name` as a number; `None` when absent or not a number.
    #[must_use]
    pub fn get_i64(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// Sets `name` to `value`, replacing an earlier value; an empty value removes it, because an empty
    /// value cannot be stored.
    ///
    /// # Errors
    /// A separator byte in either, or an empty name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::NoName);
        }
        if [name, value].iter().any(|s| s.contains([NAME_END, VALUE_END])) {
            return Err(Error::Separator { name: name.to_owned() });
        }
        self.remove(name);
        self.push_text(name, value);
        Ok(())
    }

    /// Adds a pair whose name is not there yet, without the search that [`Properties::set`] makes for an earlier
    /// value: for building many at once. An empty value adds nothing.
    ///
    /// # Errors
    /// A separator byte in either, or an empty name.
    pub fn append(&mut self, name: &str, value: &str) -> Result<(), Error> {
        debug_assert!(self.get(name).is_none(), "{name} is there already");
        if name.is_empty() {
            return Err(Error::NoName);
        }
        // Both are below 0x80, so no byte of a longer character can be one of them.
        let has_separator = |text: &str| memchr::memchr2(NAME_END as u8, VALUE_END as u8, text.as_bytes()).is_some();
        if has_separator(name) || has_separator(value) {
            return Err(Error::Separator { name: name.to_owned() });
        }
        self.push_text(name, value);
        Ok(())
    }

    /// Sets a property whose name and value are the system's own and so cannot hold a separator.
    ///
    /// # Panics
    /// When they do: a bug.
    pub fn set_own(&mut self, name: &'static str, value: &str) {
        self.set(name, value).expect("the system's own properties hold no separator");
    }

    /// Removes `name` and returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let mut start = 0;
        for entry in self.text.split_inclusive(VALUE_END) {
            if entry.strip_prefix(name).is_some_and(|rest| rest.starts_with(NAME_END)) {
                let end = start + entry.len();
                self.text.replace_range(start..end, "");
                return true;
            }
            start += entry.len();
        }
        false
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.text)
    }

    /// The stored form, `name 0x01 value 0x02` repeated.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn push_text(&mut self, name: &str, value: &str) {
        if name.is_empty() || value.is_empty() {
            return;
        }
        self.text.reserve(name.len() + value.len() + 2);
        self.text.push_str(name);
        self.text.push(NAME_END);
        self.text.push_str(value);
        self.text.push(VALUE_END);
    }
}

/// The pairs of a stored text in order; entries without a name or value are left out, as Apache's
/// `string2messageProperties` does.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (entry, next) = split_at_separator(rest, VALUE_END).unwrap_or((rest, ""));
            rest = next;
            let pair = split_at_separator(entry, NAME_END);
            if let Some((name, value)) = pair.filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
                return Some((name, value));
            }
        }
        None
    })
}

/// The keys in a value of [`names::KEYS`], in order.
pub fn keys(value: &str) -> impl Iterator<Item = &str> {
    value.split(KEY_SEPARATOR).filter(|key| !key.is_empty())
}

/// Whether a message with these properties is found by `key`: its unique key, or one of the producer's keys.
pub fn has_key<'a>(mut pairs: impl Iterator<Item = (&'a str, &'a str)>, key: &str) -> bool {
    pairs.any(|(name, value)| match name {
        names::UNIQUE_KEY => value == key,
        names::KEYS => keys(value).any(|one| one == key),
        _ => false,
    })
}

/// What is before and behind the first separator. Every message's properties are searched several times on their way:
/// this is `split_once` at the speed of `memchr`.
fn split_at_separator(text: &str, separator: char) -> Option<(&str, &str)> {
    let at = memchr::memchr(separator as u8, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_by_its_unique_key_and_each_of_its_keys() {
        let pairs = [(names::KEYS, " a  bc"), (names::UNIQUE_KEY, "u v"), (names::TAGS, "t")];
        assert_eq!(keys(pairs[0].1).collect::<Vec<_>>(), ["a", "bc"]);
        for (key, is_found) in
            [("a", true), ("bc", true), ("u v", true), ("b", false), ("u", false), ("t", false), ("", false)]
        {
            assert_eq!(has_key(pairs.into_iter(), key), is_found, "{key:?}");
        }
    }

    #[test]
    fn set_replaces_and_remove_takes_only_the_whole_name() {
        let mut properties = Properties::new();
        properties.set("KEY", "a").expect("valid");
        properties.set("KEYS", "b c").expect("valid");
        properties.set("KEY", "d").expect("valid");
        assert_eq!(properties.as_text(), "KEYS\u{1}b c\u{2}KEY\u{1}d\u{2}");
        assert!(properties.remove("KEY"));
        assert!(!properties.remove("KEY"));
        assert_eq!(properties.get("KEYS"), Some("b c"));
    }

    #[test]
    fn parse_drops_broken_entries_and_adds_the_last_separator() {
        let properties = Properties::parse("a\u{1}1\u{2}broken\u{2}\u{1}x\u{2}empty\u{1}\u{2}b\u{1}2");
        assert_eq!(properties.as_text(), "a\u{1}1\u{2}b\u{1}2\u{2}");
    }

    #[test]
    fn append_builds_what_set_builds() {
        let mut properties = Properties::with_capacity(16);
        properties.append("a", "1").expect("valid");
        properties.append("b", "").expect("valid");
        assert_eq!(properties.as_text(), "a\u{1}1\u{2}");
        assert_eq!(properties.append("c", "x\u{1}"), Err(Error::Separator { name: "c".to_owned() }));
        assert_eq!(properties.append("", "x"), Err(Error::NoName));
    }

    #[test]
    fn separators_are_refused() {
        let mut properties = Properties::new();
        assert_eq!(properties.set("k", "a\u{2}b"), Err(Error::Separator { name: "k".to_owned() }));
        assert_eq!(properties.set("", "a"), Err(Error::NoName));
    }
}
