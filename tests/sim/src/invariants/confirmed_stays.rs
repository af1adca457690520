//! Below the mark up to which all in sync have it, a log is the same for ever: at every master that comes, byte for byte.

use crate::report::Violation;

/// Compares a master's log with the part that was confirmed.
///
/// # Errors
/// When it is not its beginning.
pub fn check(confirmed: &[u8], log: &[u8]) -> Result<(), Violation> {
    if log.starts_with(confirmed) {
        return Ok(());
    }
    let same = confirmed.iter().zip(log).take_while(|(confirmed, now)| confirmed == now).count();
    let detail = format!("of {} bytes that were confirmed {same} are in a log of {}", confirmed.len(), log.len());
    Err(Violation::new("what all in sync have survives the master", detail))
}
