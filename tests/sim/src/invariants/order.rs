//! The messages of a group are delivered in the order of their queue, redeliveries included: none comes before all
//! earlier ones are finished.

use crate::messaging::{History, Kind, Sent};
use crate::report::Violation;

/// Checks a delivery.
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
    match group.find(|sent| is_before(sent) && !sent.ack_asked) {
        None => Ok(()),
        Some(before) => {
            let detail = format!("{delivered:?} came before {before:?} was finished");
            Err(Violation::new("a message group is delivered in order", detail))
        }
    }
}
