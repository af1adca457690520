//! Bits that flip in the log itself, in the body of a message that is long on the disk: nothing else suffers, and nobody
//! takes the damaged message for whole.

use std::io::IoSlice;
use std::path::Path;

use broker::{LocalBroker, StartError};
use env::disk::OpenMode;
use env::sim::World;
use store::OpenError;

use super::plan::DIR;
use super::survey::{self, Found};
use super::{Run, not_started};
use crate::faults::Fault;
use crate::report::Violation;

const PROMISE: &str = "a bit that flips in the log costs the one message, and says so";

impl Run {
    /// Damages one of the messages of a broker that was stopped in order, and looks at what the next start makes of it.
    pub(super) async fn rot_in_the_log(&mut self, mut found: Vec<Found>) -> Result<(), Violation> {
        if !self.faults.has(Fault::LogRot) {
            return Ok(());
        }
        // A checkpoint that ends with a damaged record is none: a start then reads the log and ends it there, for power loss
        // looks alike.
        found.sort_by_key(|found| found.physical_offset);
        let Some((_, damageable)) = found.split_last() else { return Ok(()) };
        let Some(damaged) = self.rng.choice(damageable).copied() else { return Ok(()) };
        flip_in_body(&self.world, &damaged, self.plan.segment_bytes(), &mut self.rng);
        self.report.struck(Fault::LogRot, 1);
        let broker = match self.start() {
            Ok(broker) => broker,
            Err(StartError::Open(OpenError::Unusable { .. })) => return Ok(()),
            Err(error) => return Err(not_started(&error)),
        };
        for wanted in &found {
            check(&broker, wanted, wanted.id == damaged.id).await?;
        }
        broker.stop().await;
        Ok(())
    }
}

async fn check(broker: &LocalBroker, wanted: &Found, is_damaged: bool) -> Result<(), Violation> {
    let violation = |detail: String| Err(Violation::new(PROMISE, format!("{wanted:?}: {detail}")));
    match survey::pull_one(broker, wanted.topic, wanted.place).await {
        Err(_) if is_damaged => Ok(()),
        Ok(Some(found)) if !is_damaged && (found.id, found.place) == (wanted.id, wanted.place) => Ok(()),
        Ok(found) => violation(format!("{found:?} is there")),
        Err(error) => violation(error.to_string()),
    }
}

/// Flips one bit of a message's body in the log's file, as seen and as durable.
fn flip_in_body(world: &World, message: &Found, segment_bytes: u64, rng: &mut fastrand::Rng) {
    let position = message.physical_offset.0 % segment_bytes;
    let base = message.physical_offset.0 - position;
    let path = Path::new(DIR).join("commitlog").join(format!("{base:020}"));
    let file = world.env().disk.open(&path, OpenMode::ReadWrite).expect("the message was read from it");
    let mut bytes = vec![0; usize::try_from(segment_bytes - position).expect("short")];
    file.read_at(&mut bytes, position).expect("no fault is due");
    let record = record::decode(&bytes).expect("the message was read from it");
    let body = bytes.windows(record.body.len()).position(|part| part == record.body).expect("a part of it");
    let at = body + rng.usize(..record.body.len());
    let flipped = bytes[at] ^ 1 << rng.u8(..8);
    file.write_all_at(&[IoSlice::new(&[flipped])], position + at as u64).expect("no fault is due");
    file.sync_data().expect("no fault is due");
}
