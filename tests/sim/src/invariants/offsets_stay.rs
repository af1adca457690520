//! A queue offset names one message for ever: offsets have no gaps, and what was seen at one is there in every later life.

use std::collections::BTreeMap;

use crate::messaging::{Found, History, Place, Sent};
use crate::report::Violation;

const PROMISE: &str = "a queue offset names one message for ever";

/// Checks where a message was delivered from.
///
/// # Errors
/// When it was somewhere else before.
pub fn check_place(sent: &Sent, place: Place) -> Result<(), Violation> {
    match sent.place {
        Some(before) if before != place => Err(Violation::new(PROMISE, format!("{sent:?} is now at {place:?}"))),
        _ => Ok(()),
    }
}

/// Checks all queues, which are given in the order of their offsets.
///
/// # Errors
/// When an offset is missing, or holds another message than before, or one that nobody sent there.
pub fn check_survey(history: &History, found: &[Found]) -> Result<(), Violation> {
    let sent: BTreeMap<u64, &Sent> = history.messages().map(|sent| (sent.id, sent)).collect();
    let mut next = BTreeMap::new();
    for found in found {
        let queue = (found.topic, found.place.queue);
        let next = next.entry(queue).or_insert_with(|| history.begin_of(queue));
        if found.place.queue_offset != *next {
            return Err(Violation::new(PROMISE, format!("{found:?} is where {next} should be")));
        }
        *next = next.next();
        match sent.get(&found.id) {
            Some(sent) if sent.kind.topic() == found.topic => check_place(sent, found.place)?,
            sent => return Err(Violation::new(PROMISE, format!("{found:?} holds {sent:?}"))),
        }
    }
    Ok(())
}
