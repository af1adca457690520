//! Ids of messages whose producer has no SDK to make them, in the form of the SDKs' own.

use std::sync::atomic::{AtomicU32, Ordering};

use types::{Timestamp, hex};

/// The start of 2021 in UTC, from which ids count their seconds.
const EPOCH: Timestamp = Timestamp(1_609_459_200_000);
/// The version of ids that all SDKs make.
const VERSION: &str = "01";

/// Makes ids that no other process makes: 34 hexadecimal digits in upper case, of which the first two are the version.
///
/// | bytes  | field                                                                              |
/// |--------|------------------------------------------------------------------------------------|
/// | 1..9   | random, drawn once a process (SDKs have the address of a network card and their process id) |
/// | 9..13  | seconds since 2021, big-endian                                                     |
/// | 13..17 | a counter, big-endian                                                              |
///
/// Source: facts/grpc.md on message ids, `MessageIdCodec` of the Java SDK.
#[derive(Debug)]
pub struct MessageIds {
    process: [u8; 8],
    next: AtomicU32,
}

impl MessageIds {
    /// The ids of this process.
    ///
    /// # Panics
    /// The system has no randomness: nothing that speaks TLS could run there either.
    #[must_use]
    pub fn new() -> Self {
        let mut process = [0; 8];
        aws_lc_rs::rand::fill(&mut process).expect("the system has randomness");
        Self { process, next: AtomicU32::new(0) }
    }

    /// The next one.
    pub fn next(&self) -> String {
        self.at(crate::clock::now())
    }

    fn at(&self, now: Timestamp) -> String {
        // Wraps after 136 years.
        let seconds = now.since(EPOCH).as_secs() as u32;
        let counter = self.next.fetch_add(1, Ordering::Relaxed);
        let place = (u64::from(seconds) << 32 | u64::from(counter)).to_be_bytes();
        let mut id = String::with_capacity(34);
        id.push_str(VERSION);
        hex::push_upper(&mut id, [self.process, place].as_flattened());
        id
    }
}

impl Default for MessageIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_sdks_form_and_differ() {
        let ids = MessageIds { process: [0xAB; 8], next: AtomicU32::new(7) };
        assert_eq!(ids.at(Timestamp(EPOCH.0 + 16_000)), "01ABABABABABABABAB0000001000000007");
        assert_ne!(ids.at(EPOCH), ids.at(EPOCH));
        assert_ne!(MessageIds::new().at(EPOCH), MessageIds::new().at(EPOCH), "two processes");
    }
}
