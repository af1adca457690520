//! What will happen, by the time since some begin.

use std::collections::BTreeMap;
use std::time::Duration;

/// Events by their time; those of one time in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    events: BTreeMap<(Duration, u32), E>,
    added: u32,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { events: BTreeMap::new(), added: 0 }
    }
}

impl<E> Agenda<E> {
    pub(crate) fn add(&mut self, at: Duration, event: E) {
        self.events.insert((at, self.added), event);
        self.added += 1;
    }

    /// The next event that is due; call until `None`.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<E> {
        let first = self.events.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}
