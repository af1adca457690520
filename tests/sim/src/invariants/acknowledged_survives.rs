//! What was acknowledged survives: any kill; with sync flush, power loss too; with async flush, power loss after a while.

use store::Flush;
use types::Timestamp;

use crate::death::Death;
use crate::invariants::ASYNC_WINDOW;
use crate::log::{Ledger, Promised};
use crate::report::Violation;

/// Notes what the next life must find after a death; `said` is what the store claimed, if it had opened.
pub fn note_death(ledger: &mut Ledger, flush: Flush, death: Death, said: Option<Promised>, died_at: Timestamp) {
    let (mut durable, mut written) = (ledger.durable(), ledger.floor());
    if let Some(said) = said {
        durable = durable.max(ledger.count_before(said.durable_to));
        written = written.max(ledger.count_before(said.appended_to)).max(ledger.acknowledged());
        durable = durable.max(match flush {
            Flush::Sync => ledger.acknowledged(),
            Flush::Async if said.has_failed => 0,
            Flush::Async => older_than_window(ledger, died_at),
        });
    }
    let floor = match death {
        Death::Kill => written,
        Death::PowerLoss => durable,
    };
    ledger.after_death(durable, floor);
}

fn older_than_window(ledger: &Ledger, died_at: Timestamp) -> usize {
    let is_old = |at: Timestamp| at.plus(ASYNC_WINDOW) < died_at;
    ledger.entries().partition_point(|entry| entry.written_at.is_some_and(is_old))
}

/// Checks that a life has found what it must.
///
/// # Errors
/// When fewer records are there.
pub fn check(ledger: &Ledger, found: u64) -> Result<(), Violation> {
    let floor = ledger.floor();
    if found >= floor as u64 {
        return Ok(());
    }
    let missing = usize::try_from(found).ok().and_then(|found| ledger.entries().get(found));
    let detail = format!("{found} records were found, {floor} must be there; the first that is missing: {missing:?}");
    Err(Violation::new("what was acknowledged survives", detail))
}
