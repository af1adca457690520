//! A message whose ack was answered does not come again, except when a power loss under async flush followed shortly.

use crate::messaging::{Delivery, History, Sent};
use crate::report::Violation;

/// Checks a delivery; says whether it shows that an ack was undone, as it may be.
///
/// # Errors
/// When the message was finished for good.
pub fn check_delivery(history: &History, sent: &Sent, delivery: &Delivery) -> Result<bool, Violation> {
    match sent.acked {
        None => Ok(false),
        Some(at) if history.may_be_lost(at) => Ok(true),
        Some(_) => {
            let detail = format!("{sent:?} came again: {delivery:?}");
            Err(Violation::new("a message that was acked does not come again", detail))
        }
    }
}
