//! A slave has nothing that its master may still lose, and counts for no more than it has stored.

use crate::report::Violation;

/// Compares where a slave's log ends with where what its master has stored does, both at one time.
///
/// # Errors
/// When the slave has more.
pub fn check(master_stored_to: u64, slave_appended_to: u64) -> Result<(), Violation> {
    match slave_appended_to <= master_stored_to {
        true => Ok(()),
        false => {
            let detail =
                format!("the slave's log goes to {slave_appended_to}, its master has stored to {master_stored_to}");
            Err(Violation::new("a slave has what its master has stored", detail))
        }
    }
}

/// Compares what a master takes for confirmed with how far as many slaves as are waited for had stored its log.
///
/// # Errors
/// When fewer had so much.
pub fn check_confirmed(slaves_had_to: u64, confirmed_to: u64) -> Result<(), Violation> {
    match confirmed_to <= slaves_had_to {
        true => Ok(()),
        false => {
            let detail = format!("{confirmed_to} is confirmed, slaves have stored to {slaves_had_to}");
            Err(Violation::new("no more is confirmed than slaves have stored", detail))
        }
    }
}
