//! Only what its producer committed is delivered, and the broker does not decide for it.

use std::time::Duration;

use types::Timestamp;
use types::broker::TransactionError;

use crate::messaging::{Kind, Sent, Wanted};
use crate::report::Violation;

/// A half message that nobody decides is parked after 20 checks that are 2 s apart; each of at most 11 jumps of the clock brings one of
/// them early.
const PARKED_AFTER: Duration = Duration::from_secs(18);

/// Checks a delivery.
///
/// # Errors
/// When the message is a half message that nobody has committed.
pub fn check_delivery(sent: &Sent) -> Result<(), Violation> {
    match sent.kind {
        Kind::Transaction { wanted } if wanted != Wanted::Commit || !sent.end_asked => {
            let detail = format!("{sent:?} was delivered");
            Err(Violation::new("only committed transactions are delivered", detail))
        }
        _ => Ok(()),
    }
}

/// Judges why a transaction could not be ended as wanted.
///
/// # Errors
/// When the broker has no reason to refuse: the half message was acknowledged, and nobody has decided otherwise.
pub fn refused(sent: &Sent, error: &TransactionError, now: Timestamp) -> Result<(), Violation> {
    let is_undecided = sent.kind == Kind::Transaction { wanted: Wanted::Nothing };
    let may_be_parked = is_undecided && now.since(sent.sent_at) >= PARKED_AFTER;
    match error {
        TransactionError::NotFound { .. } if may_be_parked => Ok(()),
        _ => Err(Violation::new("a transaction is ended as its producer wants", format!("{sent:?}: {error}"))),
    }
}
