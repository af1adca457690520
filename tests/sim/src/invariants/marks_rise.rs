//! In one process the marks of the log only rise, and stand in their order.

use crate::replication::Sample;
use crate::report::Violation;

const PROMISE: &str = "the marks of a log only rise";

/// Compares the marks with those before.
///
/// # Errors
/// When one has gone back, or is beyond what it must not be beyond.
pub fn check(before: Option<&Sample>, now: &Sample) -> Result<(), Violation> {
    let marks = |sample: &Sample| [sample.appended_to, sample.durable_to, sample.visible_to, sample.confirmed_to];
    let has_fallen =
        before.is_some_and(|before| marks(before).iter().zip(marks(now)).any(|(before, now)| *before > now));
    let is_beyond = [now.durable_to, now.visible_to, now.confirmed_to].iter().any(|mark| *mark > now.appended_to);
    match has_fallen || is_beyond {
        false => Ok(()),
        true => Err(Violation::new(PROMISE, format!("{now:?} after {before:?}"))),
    }
}
