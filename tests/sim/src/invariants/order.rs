//! The messages of a group are delivered in the order of their queue, redeliveries included: none comes before all
//! earlier ones are finished.

use crate::messaging::{History, Kind, Sent};
use crate::report::Violation;

/// Checks a delivery. Where messages expire, an earlier one that never came may have.
///
/// # Errors
/// When an earlier message of its group is not finished.
pub fn check_delivery(history: &History, delivered: &Sent) -> Result<(), Violation> {
    let Kind::Fifo { .. } = delivered.kind else { return Ok(()) };
    let is_before = |sent: &Sent| match (sent.place, delivered.place) {
        (Some(before), Some(place)) => before.queue == place.queue && before.queue_offset < place.queue_offset,
        _ => false,
    };
    let mut group = history.messages().filter(|sent| sent.kind == delivered.kind && !sent.is_lost);
    let may_have_expired = |sent: &Sent| history.is_retaining() && sent.deliveries == 0;
    match group.find(|sent| is_before(sent) && !sent.ack_asked && !may_have_expired(sent)) {
        None => Ok(()),
        Some(before) => {
            let detail = format!("{delivered:?} came before {before:?} was finished");
            Err(Violation::new("a message group is delivered in order", detail))
        }
    }
}
