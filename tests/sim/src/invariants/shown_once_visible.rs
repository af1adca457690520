//! Nothing is handed out before the disk has it, with sync flush, and the slaves that are waited for.

use crate::messaging::{Delivery, Sent};
use crate::report::Violation;

/// Checks a delivery. What may be handed out was looked at after it, and only grows.
///
/// # Errors
/// When the message lies behind that.
pub fn check_delivery(sent: &Sent, delivery: &Delivery) -> Result<(), Violation> {
    if delivery.physical_offset < delivery.visible_to {
        return Ok(());
    }
    let detail = format!("{sent:?} came: {delivery:?}");
    Err(Violation::new("nothing is handed out that the disk or the slaves lack", detail))
}
