//! Only what its producer committed is delivered, and the broker does not decide for it.

use types::broker::TransactionError;

use crate::messaging::{Kind, Sent, Wanted};
use crate::report::Violation;

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
pub fn refused(id: u64, wanted: Wanted, error: &TransactionError) -> Result<(), Violation> {
    match (wanted, error) {
        // Parked, when it has asked often enough.
        (Wanted::Nothing, TransactionError::NotFound { .. }) => Ok(()),
        _ => {
            let detail = format!("message {id}, wanted {wanted:?}: {error}");
            Err(Violation::new("a transaction is ended as its producer wants", detail))
        }
    }
}
