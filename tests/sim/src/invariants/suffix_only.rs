//! What is left of a log is its beginning: nothing is missing in it, nothing is changed, nothing old comes back to life.

use crate::invariants::nothing_lost::{Cut, Judged};
use crate::log::Ledger;
use crate::messaging::{Fate, History};
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

/// Compares what clients know: whatever was found lies before whatever is missing, and what waits outside the queues
/// is missing only if a power loss could take it.
///
/// # Errors
/// When a message is missing from the middle.
pub fn check_cut(history: &History, cut: &Cut) -> Result<(), Violation> {
    if let (Some(found), Some(lost)) = (cut.last_found, cut.first_lost)
        && found > lost
    {
        let detail = format!("a message at {lost} is missing, one at {found} is there");
        return Err(Violation::new(PROMISE, detail));
    }
    let open = history.messages().filter(|sent| !sent.is_lost && !sent.kind.is_direct());
    for sent in open {
        let Some(stored) = sent.stored.filter(|stored| stored.fate != Fate::Uncertain) else { continue };
        let is_taken = cut.judge(stored.physical_offset) == Judged::Lost;
        if is_taken && (stored.fate == Fate::Durable || !history.may_be_lost(stored.at)) {
            return Err(Violation::new(PROMISE, format!("{sent:?} is behind the end of the log, {cut:?}")));
        }
    }
    Ok(())
}
