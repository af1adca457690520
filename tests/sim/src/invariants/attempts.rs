//! Deliveries are counted: each says a higher number than the one before.

use crate::messaging::{Delivery, Sent};
use crate::report::Violation;

/// Checks a delivery.
///
/// # Errors
/// When its number is not a new one.
pub fn check_delivery(sent: &Sent, delivery: &Delivery) -> Result<(), Violation> {
    let before = sent.lease.map_or(0, |lease| lease.attempt);
    if delivery.attempt > before {
        return Ok(());
    }
    Err(Violation::new("deliveries are counted", format!("{sent:?} came again: {delivery:?}")))
}
