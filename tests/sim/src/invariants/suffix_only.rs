//! What is left of a log is its beginning: nothing is missing in it, nothing is changed, nothing old comes back to life.

use crate::log::Ledger;
use crate::report::Violation;

const PROMISE: &str = "a death takes only a suffix of the log";

/// Compares the machine that a life has restored and replayed with the ledger's at the same length.
///
/// # Errors
/// When the log is longer than what was appended, or another one.
pub fn check(ledger: &Ledger, found: u64, chain: u64) -> Result<(), Violation> {
    let entries = ledger.entries();
    let last = match usize::try_from(found) {
        Ok(found) if found <= entries.len() => found.checked_sub(1).map(|last| &entries[last]),
        _ => {
            let detail = format!("{found} records were found, {} were appended", entries.len());
            return Err(Violation::new(PROMISE, detail));
        }
    };
    if chain == last.map_or(0, |entry| entry.chain) {
        return Ok(());
    }
    Err(Violation::new(PROMISE, format!("the first {found} records are not those that were appended")))
}
