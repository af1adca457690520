//! What was acknowledged is there and is delivered: after any kill; with sync flush after power loss, too; with async flush
//! unless a power loss followed within the window. And what a power loss took stays gone.

use std::collections::BTreeSet;

use types::PhysicalOffset;

use crate::messaging::{Fate, Found, History, Kind, Sent, Topic, Wanted};
use crate::report::Violation;

/// Where a power loss has cut the log off, as far as the queues show it.
#[derive(Debug)]
pub struct Cut {
    /// The last message that is there.
    pub last_found: Option<PhysicalOffset>,
    /// The first message that is missing.
    pub first_lost: Option<PhysicalOffset>,
}

/// On which side of a cut a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Before it.
    Found,
    /// Behind it.
    Lost,
    /// Between the last that is there and the first that is missing.
    Unknown,
}

impl Cut {
    /// On which side a record is.
    #[must_use]
    pub fn judge(&self, offset: PhysicalOffset) -> Judged {
        match (self.last_found, self.first_lost) {
            (Some(last_found), _) if offset <= last_found => Judged::Found,
            (_, Some(first_lost)) if offset >= first_lost => Judged::Lost,
            _ => Judged::Unknown,
        }
    }
}

/// Finds the cut in what a survey has found.
///
/// # Errors
/// When a message is missing that no power loss could have taken.
pub fn cut(history: &History, found: &[Found]) -> Result<Cut, Violation> {
    let ids: BTreeSet<u64> = found.iter().map(|found| found.id).collect();
    let is_missing =
        |sent: &&Sent| sent.kind.is_direct() && !sent.is_lost && !ids.contains(&sent.id) && !history.has_expired(sent);
    let mut first_lost = None;
    for sent in history.messages().filter(is_missing) {
        let Some(stored) = sent.stored else { continue };
        if stored.fate != Fate::Open || !history.may_be_lost(stored.at) {
            return Err(Violation::new("what was acknowledged is there", format!("{sent:?} is missing")));
        }
        first_lost = Some(first_lost.map_or(stored.physical_offset, |first| stored.physical_offset.min(first)));
    }
    // Copies do not count: those of messages that became due meanwhile are newer than the cut.
    let sent = found.iter().filter(|found| matches!(found.topic, Topic::Normal | Topic::Fifo | Topic::Seldom));
    let last_found = sent.map(|found| found.physical_offset).max();
    Ok(Cut { last_found, first_lost })
}

/// Checks that all that must be in the queues is found there, and nothing that was lost.
///
/// # Errors
/// When it is not so.
pub fn check_survey(history: &History, found: &[Found]) -> Result<(), Violation> {
    let ids: BTreeSet<u64> = found.iter().map(|found| found.id).collect();
    for sent in history.messages() {
        let must_be_there = sent.place.is_some() && !sent.is_lost && !history.has_expired(sent);
        match ids.contains(&sent.id) {
            true => check_delivery(sent)?,
            false if must_be_there => {
                return Err(Violation::new("what was seen in a queue stays there", format!("{sent:?} is missing")));
            }
            false => {}
        }
    }
    Ok(())
}

/// Checks that a message that is there was not lost before.
///
/// # Errors
/// When it was.
pub fn check_delivery(sent: &Sent) -> Result<(), Violation> {
    if !sent.is_lost {
        return Ok(());
    }
    Err(Violation::new("what a power loss took stays gone", format!("{sent:?} is there again")))
}

/// Whether consumers must get the message in the end.
#[must_use]
pub fn is_owed(sent: &Sent) -> bool {
    let is_wanted = !matches!(sent.kind, Kind::Transaction { wanted: Wanted::RollBack | Wanted::Nothing });
    let is_there = sent.stored.is_some_and(|stored| stored.fate != Fate::Uncertain);
    is_wanted && !sent.recall_asked && is_there && !sent.is_lost
}
