//! What the answer of a pop says of its records, as three texts of `;`-separated entries.
//!
//! | text              | entry                                  | example         |
//! |-------------------|----------------------------------------|-----------------|
//! | `startOffsetInfo` | source, queue, first offset of the pop | `0 2 100;1 0 7` |
//! | `msgOffsetInfo`   | source, queue, offsets                 | `0 2 100,101`   |
//! | `orderCountInfo`  | source, `qo`queue`%`offset, count      | `0 qo2%101 1`   |
//! |                   | or source, queue, lowest count         | `0 2 0`         |
//!
//! The source is 0 for the topic, 1 and 2 for the group's retry topic in its two spellings. Source: Apache 5.5 `ExtraInfoUtil`.

use std::fmt::{self, Display};

/// Most entries of one text: a pop has at most 32 messages.
pub const ENTRIES_MAX: usize = 128;

/// Why a text is not one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not three fields, or a field that is no number.
    #[error("{text:?} is not an entry of {what}")]
    Entry {
        /// Which text it stands in.
        what: &'static str,
        /// The entry, cut.
        text: String,
    },
    /// More entries than a pop has.
    #[error("{what} has more than {ENTRIES_MAX} entries")]
    TooMany {
        /// Which text.
        what: &'static str,
    },
}

/// The first offset of a pop on a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartOffset {
    /// 0, 1 or 2.
    pub source: u8,
    /// The queue.
    pub queue: u32,
    /// The offset.
    pub offset: u64,
}

/// The offsets popped from a queue, in the order of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageOffsets {
    /// 0, 1 or 2.
    pub source: u8,
    /// The queue.
    pub queue: u32,
    /// The offsets.
    pub offsets: Vec<u64>,
}

/// How often a message of an ordered pop was delivered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderCount {
    /// 0, 1 or 2.
    pub source: u8,
    /// The queue.
    pub queue: u32,
    /// The message; `None` for all of the queue that have no entry of their own.
    pub offset: Option<u64>,
    /// That often.
    pub count: u32,
}

/// Reads `startOffsetInfo`.
///
/// # Errors
/// [`Error`].
pub fn start_offsets(text: &str) -> Result<Vec<StartOffset>, Error> {
    entries("startOffsetInfo", text, |source, queue, value| {
        Some(StartOffset { source, queue: queue.parse().ok()?, offset: value.parse().ok()? })
    })
}

/// Reads `msgOffsetInfo`.
///
/// # Errors
/// [`Error`].
pub fn message_offsets(text: &str) -> Result<Vec<MessageOffsets>, Error> {
    entries("msgOffsetInfo", text, |source, queue, value| {
        let offsets = value.split(',').take(ENTRIES_MAX).map(|offset| offset.parse().ok()).collect::<Option<_>>()?;
        Some(MessageOffsets { source, queue: queue.parse().ok()?, offsets })
    })
}

/// Reads `orderCountInfo`.
///
/// # Errors
/// [`Error`].
pub fn order_counts(text: &str) -> Result<Vec<OrderCount>, Error> {
    entries("orderCountInfo", text, |source, queue, value| {
        let (queue, offset) = match queue.strip_prefix("qo").and_then(|rest| rest.split_once('%')) {
            Some((queue, offset)) => (queue, Some(offset.parse().ok()?)),
            None => (queue, None),
        };
        Some(OrderCount { source, queue: queue.parse().ok()?, offset, count: value.parse().ok()? })
    })
}

/// Writes the text of these entries.
#[must_use]
pub fn text(entries: impl IntoIterator<Item = impl Display>) -> String {
    let mut text = String::new();
    for entry in entries {
        let separator = if text.is_empty() { "" } else { ";" };
        text.push_str(separator);
        text.push_str(&entry.to_string());
    }
    text
}

impl Display for StartOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.source, self.queue, self.offset)
    }
}

impl Display for MessageOffsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.source, self.queue)?;
        for (index, offset) in self.offsets.iter().enumerate() {
            write!(f, "{}{offset}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Display for OrderCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "{} qo{}%{offset} {}", self.source, self.queue, self.count),
            None => write!(f, "{} {} {}", self.source, self.queue, self.count),
        }
    }
}

fn entries<T>(what: &'static str, text: &str, read: impl Fn(u8, &str, &str) -> Option<T>) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    for entry in text.split(';').filter(|entry| !entry.is_empty()) {
        if all.len() == ENTRIES_MAX {
            return Err(Error::TooMany { what });
        }
        let mut fields = entry.splitn(3, ' ');
        let mut next = || fields.next();
        let parsed = next().zip(next()).zip(next()).and_then(|((source, queue), value)| {
            let source = source.parse().ok().filter(|source| *source <= 2)?;
            read(source, queue, value)
        });
        all.push(parsed.ok_or_else(|| Error::Entry { what, text: entry.chars().take(64).collect() })?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_apaches_broker_are_read() {
        let starts = start_offsets("0 2 100;1 0 7").expect("read");
        assert_eq!(starts[1], StartOffset { source: 1, queue: 0, offset: 7 });
        let offsets = message_offsets("0 2 100,101,104").expect("read");
        assert_eq!(offsets, [MessageOffsets { source: 0, queue: 2, offsets: vec![100, 101, 104] }]);
        let counts = order_counts("0 qo2%101 1;0 2 0").expect("read");
        assert_eq!(counts[0], OrderCount { source: 0, queue: 2, offset: Some(101), count: 1 });
        assert_eq!(counts[1].offset, None);
    }

    #[test]
    fn texts_are_written_as_they_are_read() {
        for text in ["0 2 100;1 0 7", ""] {
            assert_eq!(super::text(start_offsets(text).expect("read")), text);
        }
        assert_eq!(text(message_offsets("0 2 100,101;1 0 7").expect("read")), "0 2 100,101;1 0 7");
        assert_eq!(text(order_counts("0 qo2%101 1;0 2 0").expect("read")), "0 qo2%101 1;0 2 0");
    }

    #[test]
    fn other_texts_are_refused_with_the_entry() {
        for text in ["0 2", "3 2 100", "0 x 100", "0 2 -1"] {
            assert!(matches!(start_offsets(text), Err(Error::Entry { .. })), "{text}");
        }
        assert!(matches!(start_offsets(&"0 0 0;".repeat(129)), Err(Error::TooMany { .. })));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[0-9qo%;, -]{0,60}") {
            let _ = (start_offsets(&text), message_offsets(&text), order_counts(&text));
        }
    }
}
