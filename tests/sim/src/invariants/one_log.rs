//! A slave's log is a beginning of its master's, byte for byte; one that is not is never made longer.

use crate::report::Violation;

const PROMISE: &str = "a slave's log is a beginning of its master's";

/// Compares the log of a slave with its master's, or with what was left of that.
///
/// # Errors
/// When they differ.
pub fn check(master: &[u8], slave: &[u8]) -> Result<(), Violation> {
    if master.starts_with(slave) {
        return Ok(());
    }
    let same = master.iter().zip(slave).take_while(|(master, slave)| master == slave).count();
    let detail = format!("of the slave's {} bytes {same} are the master's, which has {}", slave.len(), master.len());
    Err(Violation::new(PROMISE, detail))
}

/// Compares where a log ends that is no beginning of its master's with where it ended when the slave was started.
///
/// # Errors
/// When it has followed all the same.
pub fn check_refused(before: u64, now: u64) -> Result<(), Violation> {
    match before == now {
        true => Ok(()),
        false => Err(Violation::new(PROMISE, format!("a log that had parted at its end, {before}, goes to {now}"))),
    }
}
