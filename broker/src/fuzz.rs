//! The broker's decoders as `tests/fuzz` feeds them: any bytes in, nothing out but whether they were taken. No part of the
//! interface: only there with the feature `fuzz`.

use store::Machine as _;

use crate::journal;
use crate::machines::Machines;
use crate::transaction::Schedule;

/// Reads a journal record's body.
#[must_use]
pub fn journal(body: &[u8]) -> bool {
    journal::events(body).all(|event| event.is_ok())
}

/// Reads the snapshot of all machines and gives back that of the pop machine, written anew.
#[must_use]
pub fn snapshot(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut machines = Machines::new(Schedule::default());
    machines.restore(bytes).ok()?;
    let mut pop = Vec::new();
    machines.pop.snapshot(&mut pop);
    Some(pop)
}
