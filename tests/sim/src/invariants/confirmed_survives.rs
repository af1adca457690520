//! What clients were told or shown as confirmed by the slaves that are waited for is in the log of the slave that goes on; under controllers also
//! what was told while no other broker was in sync.

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

/// The same of all that clients were told is stored.
///
/// # Errors
/// When something of it is behind the end.
pub fn check_all(history: &History, end: PhysicalOffset) -> Result<(), Violation> {
    match history.messages().find(|sent| sent.stored.is_some_and(|stored| stored.physical_offset >= end)) {
        None => Ok(()),
        Some(lost) => {
            let detail = format!("the new master's log ends at {end}, and it lacks {lost:?}");
            Err(Violation::new("what all in sync have survives the master", detail))
        }
    }
}
