//! A message that was handed out does not come again before its invisible time is over, unless its consumer has asked for
//! that, or a death took the lease that was not written yet.

use std::time::Duration;

use crate::messaging::{Delivery, History, Sent};
use crate::report::Violation;

/// How far the broker's time of a delivery may lie before the one that its handle says: handles of one queue rise by a
/// millisecond where the clock does not.
const SLACK: Duration = Duration::from_millis(50);

/// Checks a delivery. The wall clock may have been set back since the broker looked at it: the latest time that it
/// has ever shown counts.
///
/// # Errors
/// When the message is still with another consumer.
pub fn check_delivery(history: &History, sent: &Sent, delivery: &Delivery) -> Result<(), Violation> {
    match sent.lease.and_then(|lease| lease.ends) {
        Some(ends) if history.latest_wall().plus(SLACK) < ends => {
            let detail = format!("{sent:?} came again: {delivery:?}, {} at the latest", history.latest_wall());
            Err(Violation::new("a message that is out is out for its invisible time", detail))
        }
        _ => Ok(()),
    }
}
