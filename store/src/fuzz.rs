//! The store's decoders as `tests/fuzz` feeds them: any bytes in, nothing out but whether they were taken. No part of the
//! interface: only there with the feature `fuzz`.

use std::path::Path;
use std::sync::Arc;

use bytes::BufMut;
use env::Disk;
use env::disk::OpenMode;
use env::sim::SimDisk;

use crate::checkpoint;
use crate::log_state;
use crate::queue_index::run::Run;

/// Reads a checkpoint and gives back its machines' snapshot.
#[must_use]
pub fn checkpoint(file: &[u8]) -> Option<&[u8]> {
    checkpoint::parse(file).ok().map(|checkpoint| checkpoint.snapshot)
}

/// Reads a checkpoint's body, as if its checksum were right.
#[must_use]
pub fn checkpoint_body(body: &[u8]) -> bool {
    let mut file = checkpoint::header(body);
    file.put_slice(body);
    checkpoint::parse(&file).is_ok()
}

/// Reads the body of a record that is the only one of a state.
#[must_use]
pub fn state(body: &[u8]) -> bool {
    log_state::is_state(body)
}

/// Such a body, of what a checkpoint holds.
#[must_use]
pub fn state_of(checkpoint: &[u8]) -> Option<Vec<u8>> {
    let parsed = checkpoint::parse(checkpoint).ok()?;
    let (at, begins) = (parsed.end.at.0, parsed.begins?);
    let (body, _) = checkpoint.get(checkpoint::HEADER_BYTES..)?.split_last_chunk::<8>()?;
    Some(log_state::body(log_state::Part { at, index: 0, count: 1, begins }, body).to_vec())
}

/// Loads an index run, as if its directory's checksum were right, and reads all that it says it has.
#[must_use]
pub fn index_run(file: &[u8]) -> bool {
    let disk = SimDisk::new(0);
    let (mut file, dir) = (file.to_vec(), Path::new("/"));
    let Some(name) = Run::seal(&mut file) else { return false };
    let run = disk.open(&dir.join(crate::files::name_of(name.from)), OpenMode::Create);
    let written = run.and_then(|run| run.write_all_at(&[std::io::IoSlice::new(&file)], 0));
    written.expect("the simulated disk has room");
    let disk: Arc<dyn Disk> = Arc::new(disk);
    Run::load(&disk, dir, name).is_ok_and(|run| run.read_everything())
}
