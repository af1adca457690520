//! What clients were told or shown as confirmed by the slaves that are waited for is in the log of the slave that goes on.

use types::PhysicalOffset;

use crate::messaging::History;
use crate::report::Violation;

/// Checks where the log ends of the slave that was made the master.
///
/// # Errors
/// When something that was confirmed is behind that.
pub fn check(history: &History, end: PhysicalOffset) -> Result<(), Violation> {
    match history.confirmed() {
        Some(confirmed) if confirmed >= end => {
            let sent = history.messages().find(|sent| sent.stored.is_some_and(|stored| stored.physical_offset >= end));
            let detail =
                format!("the slave's log ends at {end}, {confirmed} was confirmed; the first that is lost: {sent:?}");
            Err(Violation::new("what slaves have confirmed survives the master", detail))
        }
        _ => Ok(()),
    }
}
