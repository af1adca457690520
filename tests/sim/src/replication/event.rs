//! What may happen in a term.

use std::time::Duration;

use crate::agenda;
use crate::death::Death;

pub(super) type Agenda = agenda::Agenda<Event>;

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
