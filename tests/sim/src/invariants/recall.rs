//! A delayed message that was taken back does not come, and one that waits can be taken back.

use crate::messaging::{Fate, History, Kind, Sent};
use crate::report::Violation;

/// Checks a delivery.
///
/// # Errors
/// When the message was taken back for good.
pub fn check_delivery(history: &History, sent: &Sent) -> Result<(), Violation> {
    match sent.recalled {
        Some(at) if !history.may_be_lost(at) => {
            Err(Violation::new("a recalled message does not come", format!("{sent:?} was delivered")))
        }
        _ => Ok(()),
    }
}

/// Judges that a message was not found that its producer wanted to take back.
///
/// # Errors
/// When it must have been there: it was stored for good, and the wall clock has never shown the time at which it is due.
pub fn refused(history: &History, sent: &Sent) -> Result<(), Violation> {
    let is_there = sent.stored.is_some_and(|stored| match stored.fate {
        Fate::Open => !history.may_be_lost(stored.at),
        Fate::Durable => true,
        Fate::Uncertain => false,
    });
    match sent.kind {
        Kind::Delay { due } if due > history.latest_wall() && is_there && !sent.is_lost => {
            let detail = format!("{sent:?} was not found when the clock had shown {} at most", history.latest_wall());
            Err(Violation::new("a delayed message that waits can be recalled", detail))
        }
        _ => Ok(()),
    }
}
