//! An epoch has one master: the one that the controllers have made it, and one process of that.

use std::collections::BTreeMap;

use crate::controller::{Decided, Reign};
use crate::report::Violation;

/// Looks at who has led which epoch.
///
/// # Errors
/// When another one did, or two.
pub fn check(reigns: &[Reign], decided: &[Decided]) -> Result<(), Violation> {
    let violation = |detail: String| Err(Violation::new("an epoch has one master", detail));
    let mut masters = BTreeMap::new();
    for reign in reigns {
        let process = *masters.entry(reign.epoch).or_insert(reign.process);
        if process != reign.process {
            return violation(format!("{reign:?}, and process {process} was its master, too"));
        }
        let of = decided.iter().find(|decided| decided.epoch == reign.epoch);
        if of.is_none_or(|of| of.master != Some(reign.master)) {
            return violation(format!("{reign:?}, and the controllers have decided {of:?}"));
        }
    }
    Ok(())
}
