//! A message that was acknowledged stays at least as long as was set, whatever expires meanwhile: segments, or the topic itself.

use types::Timestamp;

use crate::messaging::History;
use crate::report::Violation;

/// Checks a survey's queues, where messages expire. Only a clock that is right makes nothing old before its time.
///
/// # Errors
/// When a queue begins behind a message that is too young to be gone.
pub fn check_survey(history: &History, now: Timestamp) -> Result<(), Violation> {
    let Some(reserved) = history.reserved() else { return Ok(()) };
    let is_gone_early = |sent: &&crate::messaging::Sent| {
        sent.stored.is_some() && history.has_expired(sent) && now.since(sent.sent_at) < reserved
    };
    match history.messages().find(is_gone_early) {
        Some(sent) => Err(Violation::new("a message stays as long as was set", format!("{sent:?} is gone at {now}"))),
        None => Ok(()),
    }
}
