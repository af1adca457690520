//! A set of message types, as one byte.

use types::MessageType;

/// The kinds of messages that a topic has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypesUsed(u8);

const ALL: [MessageType; 6] = [
    MessageType::Normal,
    MessageType::Fifo,
    MessageType::Delay,
    MessageType::Transaction,
    MessageType::Priority,
    MessageType::Lite,
];

/// The bit of a type; part of the snapshot's format.
const fn bit(kind: MessageType) -> u8 {
    match kind {
        MessageType::Normal => 1,
        MessageType::Fifo => 1 << 1,
        MessageType::Delay => 1 << 2,
        MessageType::Transaction => 1 << 3,
        MessageType::Priority => 1 << 4,
        MessageType::Lite => 1 << 5,
    }
}

impl TypesUsed {
    /// Adds a type.
    pub fn insert(&mut self, kind: MessageType) {
        self.0 |= bit(kind);
    }

    /// Whether the type is in the set.
    #[must_use]
    pub fn contains(self, kind: MessageType) -> bool {
        self.0 & bit(kind) != 0
    }

    /// The types in the set, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = MessageType> {
        ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// The byte that stands for the set.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set that the byte stands for; `None` when it has bits without meaning.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        let known = ALL.iter().fold(0, |known, kind| known | bit(*kind));
        (bits & !known == 0).then_some(Self(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_inserted() {
        let mut used = TypesUsed::default();
        used.insert(MessageType::Delay);
        used.insert(MessageType::Normal);
        assert_eq!(used.iter().collect::<Vec<_>>(), [MessageType::Normal, MessageType::Delay]);
        assert_eq!(TypesUsed::from_bits(used.bits()), Some(used));
        assert_eq!(TypesUsed::from_bits(0x80), None);
    }
}
