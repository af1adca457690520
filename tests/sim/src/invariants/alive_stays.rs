//! Retention never deletes live state: delayed and committed messages are delivered, and what was delivered and not finished
//! comes again, though their first segments are gone.

use crate::messaging::{Fate, History, Kind, Sent, Topic, Wanted};
use crate::report::Violation;

const PROMISE: &str = "retention never deletes live state";

/// Checks what the last life has brought.
///
/// # Errors
/// When a message is missing that its segment must not have taken along.
pub fn check(history: &History) -> Result<(), Violation> {
    if !history.is_retaining() {
        return Ok(());
    }
    if let Some(unfinished) = history.messages().find(|sent| is_unfinished(sent)) {
        return Err(Violation::new(PROMISE, format!("{unfinished:?} did not come again")));
    }
    for topic in [Topic::Delay, Topic::Transaction] {
        let is_missing = |sent: &&Sent| sent.kind.topic() == topic && is_awaited(sent) && !history.has_expired(sent);
        let mut missing = history.messages().filter(is_missing);
        // A copy that no consumer has looked at expires like any message. If no survey has found it before, it is not known
        // which message it was, but that nobody has seen what was at its offset.
        let unseen = history.unseen(topic);
        if let Some(first) = missing.nth(unseen) {
            let detail = format!("{first:?} and {unseen} more did not come, {unseen} copies expired unseen");
            return Err(Violation::new(PROMISE, detail));
        }
    }
    Ok(())
}

/// Whether a consumer has it, as far as the broker must know, and has not asked to finish it.
fn is_unfinished(sent: &Sent) -> bool {
    sent.lease.is_some() && !sent.ack_asked && !sent.is_lost
}

fn is_awaited(sent: &Sent) -> bool {
    let is_wanted = !matches!(sent.kind, Kind::Transaction { wanted: Wanted::RollBack | Wanted::Nothing });
    let is_there = sent.stored.is_some_and(|stored| stored.fate != Fate::Uncertain);
    is_wanted && !sent.recall_asked && is_there && !sent.is_lost && sent.deliveries == 0
}
