//! Damage of the log itself, of what is long on the disk: a message's body rots, alone or together with the newest
//! checkpoint or an index run, or the rest of a segment is gone. Either all that is whole is served and nobody takes a damaged message for whole,
//! or the start refuses and names the place; nothing is lost in silence.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker::{LocalBroker, StartError};
use env::File;
use env::disk::OpenMode;
use env::sim::World;
use store::OpenError;
use types::PhysicalOffset;

use super::plan::DIR;
use super::survey::{self, Found};
use super::{Run, not_started};
use crate::faults::Fault;
use crate::report::Violation;

const SERVED: &str = "a bit that flips in the log costs the one message, and says so";
const REFUSED: &str = "a start cuts nothing off that was durable, and names the damage";
const ACCEPTED: &str = "an accepted loss takes only what lies behind the damage";

/// Bits of the derived file that flip.
const FLIPS: u32 = 3;

/// What is done to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// A bit of the message's body flips.
    Body,
    /// The newest checkpoint rots, too.
    BodyAndCheckpoint,
    /// An index run rots, too.
    BodyAndIndex,
    /// Of the segment is nothing left from the message on.
    Cut,
}

impl Run {
    /// Damages one of the messages of a broker that was stopped in order, and looks at what the next start makes of it.
    pub(super) async fn rot_in_the_log(&mut self, found: Vec<Found>) -> Result<(), Violation> {
        if !self.faults.has(Fault::LogRot) {
            return Ok(());
        }
        let Some(damaged) = self.rng.choice(&found).copied() else { return Ok(()) };
        let harms = [Harm::Body, Harm::BodyAndCheckpoint, Harm::BodyAndIndex, Harm::Cut];
        let harm = *self.rng.choice(&harms).expect("not empty");
        let log = Log::of(&self.world, &damaged, self.plan.segment_bytes());
        if harm == Harm::Cut {
            log.cut();
        } else {
            log.flip_in_body(&mut self.rng);
        }
        let disk = self.world.disk();
        let rot = |path: PathBuf| disk.flip_bits(&path, FLIPS).expect("no fault is due");
        let (checkpoints, runs) = (Path::new(DIR).join("checkpoints"), Path::new(DIR).join("queueindex"));
        match harm {
            Harm::Cut | Harm::Body => {}
            Harm::BodyAndCheckpoint => {
                rot(checkpoints.join(disk.names(&checkpoints).into_iter().max().expect("it was stopped in order")));
            }
            Harm::BodyAndIndex => rot(runs.join(self.rng.choice(disk.names(&runs)).expect("there are messages"))),
        }
        self.report.struck(Fault::LogRot, 1);
        match self.start() {
            Ok(broker) => {
                let is_damaged = |found: &Found| found.id == damaged.id || (harm == Harm::Cut && log.is_cut_off(found));
                for wanted in &found {
                    check(&broker, wanted, is_damaged(wanted)).await?;
                }
                broker.stop().await;
                Ok(())
            }
            Err(StartError::Open(OpenError::Damaged { at, .. }))
                if matches!(harm, Harm::BodyAndCheckpoint | Harm::Cut) =>
            {
                self.accept_loss(at, &damaged, &found).await
            }
            Err(error) => Err(not_started(&error)),
        }
    }

    /// What the operator may do after a refusal.
    async fn accept_loss(&mut self, at: PhysicalOffset, damaged: &Found, found: &[Found]) -> Result<(), Violation> {
        let violation = |promise, detail| Err(Violation::new(promise, detail));
        if at != damaged.physical_offset {
            return violation(REFUSED, format!("{at} is named, and {damaged:?} was damaged"));
        }
        self.report.lives += 1;
        let options = broker::Options { accept_loss_at: Some(at), ..self.plan.options() };
        let broker = LocalBroker::start(self.world.env(), options).map_err(|error| not_started(&error))?;
        let left = survey::pull_all(&broker, self.plan.topics()).await?.found;
        let is_before = |found: &&Found| found.physical_offset < at;
        for wanted in found.iter().filter(is_before) {
            if !left.iter().any(|left| (left.id, left.topic, left.place) == (wanted.id, wanted.topic, wanted.place)) {
                return violation(ACCEPTED, format!("{wanted:?} is gone, the log was cut off at {at}"));
            }
        }
        broker.stop().await;
        drop(broker);
        self.start().map_err(|error| not_started(&error))?.stop().await;
        Ok(())
    }
}

async fn check(broker: &LocalBroker, wanted: &Found, is_damaged: bool) -> Result<(), Violation> {
    let violation = |detail: String| Err(Violation::new(SERVED, format!("{wanted:?}: {detail}")));
    match survey::pull_one(broker, wanted.topic, wanted.place).await {
        Ok(None) | Err(_) if is_damaged => Ok(()),
        Ok(Some(found)) if !is_damaged && (found.id, found.place) == (wanted.id, wanted.place) => Ok(()),
        Ok(found) => violation(format!("{found:?} is there")),
        Err(error) => violation(error.to_string()),
    }
}

/// The log's file at a message.
struct Log {
    file: Arc<dyn File>,
    base: u64,
    /// Where in the file the message begins.
    position: u64,
    segment_bytes: u64,
}

impl Log {
    fn of(world: &World, message: &Found, segment_bytes: u64) -> Self {
        let position = message.physical_offset.0 % segment_bytes;
        let base = message.physical_offset.0 - position;
        let path: PathBuf = Path::new(DIR).join("commitlog").join(format!("{base:020}"));
        let file = world.env().disk.open(&path, OpenMode::ReadWrite).expect("the message was read from it");
        Self { file, base, position, segment_bytes }
    }

    /// Flips one bit of the message's body, as seen and as durable.
    fn flip_in_body(&self, rng: &mut fastrand::Rng) {
        let mut bytes = vec![0; usize::try_from(self.segment_bytes - self.position).expect("short")];
        self.file.read_at(&mut bytes, self.position).expect("no fault is due");
        let record = record::decode(&bytes).expect("the message was read from it");
        let body = bytes.windows(record.body.len()).position(|part| part == record.body).expect("a part of it");
        let at = body + rng.usize(..record.body.len());
        let flipped = bytes[at] ^ 1 << rng.u8(..8);
        self.file.write_all_at(&[IoSlice::new(&[flipped])], self.position + at as u64).expect("no fault is due");
        self.file.sync_data().expect("no fault is due");
    }

    fn is_cut_off(&self, found: &Found) -> bool {
        (self.base + self.position..self.base + self.segment_bytes).contains(&found.physical_offset.0)
    }

    /// Makes zeros of the segment from the message on.
    fn cut(&self) {
        let cut = self.file.set_len(self.position).and_then(|()| self.file.allocate(self.segment_bytes));
        cut.and_then(|()| self.file.sync_data()).expect("no fault is due");
    }
}
