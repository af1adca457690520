//! The broker's decoders as `tests/fuzz` feeds them: any bytes in, nothing out but whether they were taken. No part of the
//! interface: only there with the feature `fuzz`.

use std::io::IoSlice;
use std::path::Path;

use env::Disk as _;
use env::disk::OpenMode;
use env::sim::SimDisk;
use store::Machine as _;

use crate::journal;
use crate::machines::Machines;
use crate::timer::run::{self, Run};
use crate::transaction::Schedule;

/// Reads a journal record's body.
#[must_use]
pub fn journal(body: &[u8]) -> bool {
    journal::events(body).all(|event| event.is_ok())
}

/// Opens a timer run, as if its directory's checksum were right, and reads all that it says it has.
#[must_use]
pub fn timer_run(file: &[u8]) -> bool {
    let disk = SimDisk::new(0);
    let (mut file, dir) = (file.to_vec(), Path::new("/"));
    let Some(name) = run::seal(&mut file) else { return false };
    let created = disk.open(&dir.join(name.to_string()), OpenMode::Create);
    let written = created.and_then(|created| created.write_all_at(&[IoSlice::new(&file)], 0));
    written.expect("the simulated disk has room");
    Run::open(&disk, dir, name).is_ok_and(|run| (0..run.chunks()).all(|chunk| run.chunk(chunk).is_ok()))
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
