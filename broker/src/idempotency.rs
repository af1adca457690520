//! The idempotency machine: which keys name a message already, so that a send that is repeated stores nothing twice.
//!
//! A plain value. A key is the message property [`names::IDEMPOTENCY_KEY`], so the record itself is the entry: one that is stored
//! for a producer puts its key in, whoever wrote it; copies of it (delivered, committed, retried, carried forward) do not.
//! It goes by an event that names a place of the log ([`Keys::forget`]), not by a time that a record says: how long an entry
//! has been there is measured by [`Moment`]s since it was stored or the process started, so a wall clock that is set wrong
//! shortens no window. Told to users in `docs/idempotency.md`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use env::clock::Moment;
use foldhash::fast::FixedState;
use record::{Record, offset_message_id};
use types::broker::KeyError;
use types::properties::names;
use types::{MessageType, PhysicalOffset, QueueId, QueueOffset, Timestamp, TopicName};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

mod snapshot;

/// Longest key, and longest message id of a message with one, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;
/// Marks of one window: an entry stays at most this part of the window longer than it must.
const MARKS: u32 = 60;

/// How long keys are known, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// So long at least after its message was stored a key names it.
    pub window: Duration,
    /// Most keys that are known at one time; beyond it messages with a new one are refused.
    pub keys_max: usize,
}

impl Default for Settings {
    /// Ten minutes, and as many keys as a window of 400 messages a second needs: 60 MB.
    fn default() -> Self {
        Self { window: Duration::from_secs(600), keys_max: 250_000 }
    }
}

/// A key, within its topic. Part of the snapshot's format: XXH3 of the topic's name (64 bits), of the topic's name, a zero byte
/// and the key (128 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    topic: u64,
    key: [u8; 16],
}

/// What a message with a key claims: to be the one that the key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    key: Key,
    /// Of the body and of how it is delivered; the same for what counts as the same message.
    content: u64,
    /// The key, to be named in errors.
    text: Box<str>,
}

/// The message that a key names, as its producer was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    /// The queue that it is for.
    pub queue: QueueId,
    /// Its offset there; of delayed and half messages that in the topic that keeps them.
    pub queue_offset: QueueOffset,
    /// Its record.
    pub physical_offset: PhysicalOffset,
    /// What else its producer was told.
    pub form: Form,
    /// Its id.
    pub message_id: Box<str>,
}

/// What a producer was told of a message besides its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    Message,
    /// A handle to take it back before this time.
    Delayed {
        /// When it is due.
        due: Timestamp,
    },
    /// The transaction's position, which is its place.
    Half,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: Key,
    content: u64,
    first: First,
}

/// Known keys; about 240 bytes each.
///
/// Bounded by [`Settings::keys_max`], beyond which the engine refuses messages with a new key: a key that is forgotten early
/// would let a message be stored twice.
///
/// Invariant: `entries` is in the order of the log; `places` holds for each key the place of its newest entry. Earlier ones of the
/// same key (there are some only where a record was appended without asking) go like the others and name nothing.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    entries: VecDeque<Entry>,
    /// Never iterated.
    places: HashMap<Key, PhysicalOffset, FixedState>,
    /// What was stored when, oldest first, at most [`MARKS`] and one. Memory only: after a restart a window begins anew.
    marks: VecDeque<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Moment,
    newest: PhysicalOffset,
}

/// Whether keys count in a topic. What clients send to a group's retry or dead-letter topic is a copy of what it consumed, with the
/// same properties every time.
pub(crate) fn counts_in(topic: &TopicName) -> bool {
    !(topic.is_system() || topic.is_retry() || topic.is_dead_letter())
}

impl Claim {
    /// What a message claims that a producer sends.
    ///
    /// # Errors
    /// [`KeyError::TooLong`].
    pub fn new(topic: &TopicName, key: &str, kind: MessageType, body: &[u8]) -> Result<Self, KeyError> {
        check_length("idempotency key", key)?;
        Ok(Self::of(topic, key, kind, body))
    }

    fn of(topic: &TopicName, key: &str, kind: MessageType, body: &[u8]) -> Self {
        let mut hash = Xxh3::new();
        [topic.as_str().as_bytes(), &[0], key.as_bytes()].iter().for_each(|part| hash.update(part));
        let key_of = Key { topic: topic_hash(topic), key: hash.digest128().to_le_bytes() };
        // What a queue, tag or delivery time is may be decided anew for a repeat; waiting or not is another request.
        let way = match kind {
            MessageType::Transaction => 2,
            MessageType::Delay => 1,
            MessageType::Normal | MessageType::Fifo | MessageType::Priority | MessageType::Lite => 0,
        };
        Self { key: key_of, content: xxh3_64_with_seed(body, way), text: key.into() }
    }
}

/// Whether a text that is kept with a key is short enough.
///
/// # Errors
/// [`KeyError::TooLong`].
pub(crate) fn check_length(what: &'static str, text: &str) -> Result<(), KeyError> {
    match text.len() {
        bytes if bytes > TEXT_BYTES_MAX => Err(KeyError::TooLong { what, bytes, bytes_max: TEXT_BYTES_MAX }),
        _ => Ok(()),
    }
}

fn topic_hash(topic: &TopicName) -> u64 {
    xxh3_64(topic.as_str().as_bytes())
}

impl Keys {
    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What is to become of a message that claims a key: `None` when it is to be stored, else what its producer is told. Once it
    /// is stored the key is taken; there is nothing to give back when it cannot be.
    ///
    /// # Errors
    /// [`KeyError::Taken`] by another message; [`KeyError::TooMany`] when no other key can be known.
    pub fn find(&self, claim: &Claim, settings: &Settings) -> Result<Option<&First>, KeyError> {
        let window_ms = || u64::try_from(settings.window.as_millis()).unwrap_or(u64::MAX);
        match self.entry(claim.key) {
            Some(entry) if entry.content == claim.content => Ok(Some(&entry.first)),
            Some(_) => Err(KeyError::Taken { key: claim.text.to_string(), window_ms: window_ms() }),
            None if self.entries.len() < settings.keys_max => Ok(None),
            None => Err(KeyError::TooMany { keys_max: settings.keys_max, window_ms: window_ms() }),
        }
    }

    fn entry(&self, key: Key) -> Option<&Entry> {
        let place = *self.places.get(&key)?;
        let index = self.entries.binary_search_by_key(&place, |entry| entry.first.physical_offset).ok()?;
        self.entries.get(index)
    }

    /// A message with a key was stored for a producer.
    pub(crate) fn stored(&mut self, record: &Record<'_>, topic: &str, kind: MessageType, form: Form) {
        let Some(key) = record.property(names::IDEMPOTENCY_KEY) else { return };
        let Some(topic) = TopicName::new(topic).ok().filter(counts_in) else { return };
        let header = &record.header;
        let id = record.property(names::UNIQUE_KEY).filter(|id| id.len() <= TEXT_BYTES_MAX);
        let queue = match form {
            Form::Message => Some(header.queue),
            Form::Delayed { .. } | Form::Half => {
                record.property(names::REAL_QUEUE_ID).and_then(|id| id.parse().ok()).map(QueueId)
            }
        };
        let first = First {
            queue: queue.unwrap_or_default(),
            queue_offset: header.queue_offset,
            physical_offset: header.physical_offset,
            form,
            message_id: id
                .map_or_else(|| offset_message_id(header.store_host, header.physical_offset).into(), Into::into),
        };
        let Claim { key, content, .. } = Claim::of(&topic, key, kind, record.body);
        self.push(Entry { key, content, first });
    }

    fn push(&mut self, entry: Entry) {
        self.places.insert(entry.key, entry.first.physical_offset);
        self.entries.push_back(entry);
    }

    /// Up to where all has been known for a window at `now`, if anything new has; to be asked often. The answer is to be journaled and
    /// given to [`Keys::forget`].
    pub fn poll(&mut self, window: Duration, now: Moment) -> Option<PhysicalOffset> {
        let newest = self.entries.back()?.first.physical_offset;
        let is_marked =
            self.marks.back().is_some_and(|mark| mark.newest >= newest || now.since(mark.at) < window / MARKS);
        if !is_marked {
            self.marks.push_back(Mark { at: now, newest });
        }
        let mut known = None;
        while let Some(mark) = self.marks.pop_front_if(|mark| now.since(mark.at) >= window) {
            known = Some(mark.newest);
        }
        known
    }

    /// Forgets all keys whose messages are stored up to and at `to`.
    pub fn forget(&mut self, to: PhysicalOffset) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.first.physical_offset <= to) {
            forget_place(&mut self.places, &entry);
        }
    }

    /// Forgets the keys of a deleted topic: a later one of this name has none of its messages.
    pub fn forget_topic(&mut self, topic: &TopicName) {
        let topic = topic_hash(topic);
        let Self { entries, places, .. } = self;
        entries.retain(|entry| {
            let stays = entry.key.topic != topic;
            if !stays {
                forget_place(places, entry);
            }
            stays
        });
    }
}

fn forget_place(places: &mut HashMap<Key, PhysicalOffset, FixedState>, entry: &Entry) {
    if places.get(&entry.key) == Some(&entry.first.physical_offset) {
        places.remove(&entry.key);
    }
}

#[cfg(test)]
mod tests;
