//! What a record of the log says of messages that wait for their time: one place for the living machine, for replay and for runs
//! that are made again.

use record::{Header, Record};
use types::{PhysicalOffset, Timestamp};

use super::Waits;
use crate::effect::Effect;
use crate::journal::{self, Event};

/// A change of the timer machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A message waits.
    Stored(Waits),
    /// The message of this due time and position waits no longer; it may never have waited.
    Finished(Timestamp, PhysicalOffset),
    /// All that was before counts for nothing.
    Reset,
}

/// What a whole record changes, in order.
pub(crate) fn changes(record: &Record<'_>, mut take: impl FnMut(Change)) {
    match Effect::of(record) {
        // The rest of one that is malformed is left out, as by the machines.
        Effect::Journal => {
            journal::events(record.body).map_while(Result::ok).filter_map(|event| of_event(&event)).for_each(take)
        }
        effect => of_effect(&effect, &record.header, &mut take),
    }
}

/// What a record of this effect changes, but for a journal record.
pub(crate) fn of_effect(effect: &Effect<'_>, header: &Header, take: &mut dyn FnMut(Change)) {
    match *effect {
        Effect::Timer { due, identity, source, before, .. } => {
            // Retention or handing back appends a waiting message again: the one before waits no longer.
            before.into_iter().chain(source).for_each(|offset| take(Change::Finished(due, offset)));
            let (offset, record_bytes) = (header.physical_offset, header.record_bytes);
            take(Change::Stored(Waits { due, offset, record_bytes, identity }));
        }
        Effect::Copy { source, due: Some(due) } => take(Change::Finished(due, source)),
        _ => {}
    }
}

/// What a journal event changes.
pub(crate) fn of_event(event: &Event) -> Option<Change> {
    match event {
        Event::Recalled { due, offset } => Some(Change::Finished(*due, *offset)),
        Event::Waits(waits) => Some(Change::Stored(*waits)),
        Event::Imported => Some(Change::Reset),
        _ => None,
    }
}
