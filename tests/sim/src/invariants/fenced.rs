//! A master that was replaced acknowledges nothing once its lease is over.

use broker::membership::lease::LEASE;
use broker::replication::epochs::Epoch;
use env::clock::Moment;

use crate::report::Violation;

/// Looks at an answer by the master of an epoch in whose place another broker was the master then.
///
/// # Errors
/// When the last word of the controllers that may have come to it was too long ago.
pub fn check(epoch: Epoch, replaced_at: Moment, answered_at: Moment) -> Result<(), Violation> {
    if answered_at < replaced_at.plus(LEASE) {
        return Ok(());
    }
    let detail = format!("{epoch:?} was replaced at {replaced_at:?}, its master has acknowledged at {answered_at:?}");
    Err(Violation::new("a master without a lease acknowledges nothing", detail))
}
