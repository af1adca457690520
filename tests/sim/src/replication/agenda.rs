//! What will happen in a term.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::death::Death;

/// Something that happens to a slave, on the network, or to any process that lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A slave is started.
    Start(usize),
    /// A slave dies, and is started again later.
    Die(usize, Death),
    /// A slave's machine is lost.
    Lose(usize),
    /// A slave whose log has parted from its master's begins anew, with an empty disk.
    Renew(usize),
    Cut(usize),
    /// From now on nothing comes from this slave to its master, or the other way.
    Part {
        slave: usize,
        there: bool,
        back: bool,
    },
    Pause(usize, Duration),
}

/// Events by the time since the term's begin; those of one time in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    events: BTreeMap<(Duration, u32), Event>,
    added: u32,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Duration, event: Event) {
        self.events.insert((at, self.added), event);
        self.added += 1;
    }

    /// The next event that is due; call until `None`.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Event> {
        let first = self.events.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}
