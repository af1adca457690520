//! The broker's decoders as `tests/fuzz` feeds them: any bytes in, nothing out but whether they were taken. No part of the
//! interface: only there with the feature `fuzz`.

use std::io::IoSlice;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use env::Disk as _;
use env::disk::OpenMode;
use env::sim::SimDisk;
use store::Machine as _;
use types::PhysicalOffset;

use crate::journal;
use crate::machines::Machines;
use crate::replication::intake::Intake;
use crate::replication::wire::{self, Frame};
use crate::timer::run::{self, Run};
use crate::transaction::Schedule;

const SEGMENT_BYTES: u64 = 64 * 1024;

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

/// Reads what a master says as a slave does whose log is empty, with segments of 64 KiB; whether all of it is taken.
#[must_use]
pub fn replication(said: &[u8]) -> bool {
    let (mut input, mut intake) = (BytesMut::from(said), Intake::new(SEGMENT_BYTES, PhysicalOffset(0), Bytes::new()));
    loop {
        match wire::take_frame(&mut input) {
            Ok(Some(Frame::Welcome(..))) => {}
            Ok(Some(Frame::Log { at, bytes })) if intake.push(at, &bytes).is_ok() => {}
            Ok(None) => return true,
            Ok(Some(Frame::Log { .. })) | Err(_) => return false,
        }
        loop {
            match intake.take() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
}

/// What a master says to such a slave of a log that begins so.
#[must_use]
pub fn said_of(log: &[u8]) -> Vec<u8> {
    let (first, end) = (PhysicalOffset(0), PhysicalOffset(log.len() as u64));
    let mut said = wire::Welcome { first, end, segment_bytes: SEGMENT_BYTES }.encode(None);
    for (at, piece) in (0..).step_by(1000).zip(log.chunks(1000)) {
        said.extend(wire::header(PhysicalOffset(at), piece.len()));
        said.extend(piece);
    }
    said
}
