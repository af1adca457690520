//! No delayed message is delivered before its time.

use crate::messaging::{History, Kind, Sent};
use crate::report::Violation;

/// Checks a delivery. The wall clock may have been set back since the broker looked at it: the latest time that it
/// has ever shown counts.
///
/// # Errors
/// When the message is not due.
pub fn check_delivery(history: &History, sent: &Sent) -> Result<(), Violation> {
    match sent.kind {
        Kind::Delay { due } if due > history.latest_wall() => {
            let detail = format!("{sent:?} came when the clock had shown {} at most", history.latest_wall());
            Err(Violation::new("no delayed message comes early", detail))
        }
        _ => Ok(()),
    }
}
