//! After a write or sync of the log has failed nothing more is acknowledged: no retry proves that the bytes are there.

use types::Timestamp;

use crate::messaging::History;
use crate::report::Violation;

/// Checks a success.
///
/// # Errors
/// When its request was begun after the failure.
pub fn check(history: &History, begun_at: Timestamp, what: &'static str) -> Result<(), Violation> {
    match history.failed_at() {
        Some(failed_at) if begun_at > failed_at => {
            let detail = format!("{what}, begun at {begun_at}, succeeded; the log had failed at {failed_at}");
            Err(Violation::new("after a failed write or sync nothing is acknowledged", detail))
        }
        _ => Ok(()),
    }
}
