//! An outcome is one append: no message is in the queues twice, also not the copy of a delayed or committed one.

use std::collections::BTreeMap;

use crate::messaging::Found;
use crate::report::Violation;

/// Checks all queues.
///
/// # Errors
/// When a message is there twice.
pub fn check(found: &[Found]) -> Result<(), Violation> {
    let mut seen = BTreeMap::new();
    for found in found {
        if let Some(other) = seen.insert(found.id, found) {
            let detail = format!("{other:?} and {found:?}");
            return Err(Violation::new("an outcome is stored once", detail));
        }
    }
    Ok(())
}
