//! A slave looks through its log for damage: soon after its start, each week, and when a message could not be read. A segment that is damaged
//! is noted (`damage`), and the slave is to be started anew, so that it comes from the master again (`mend`).

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use env::disk::OpenMode;
use env::{Disk, Env};
use record::{BLANK_BYTES, Peek};
use store::COMMIT_LOG_NAME;
use store::inspect::{self, Directory, Piece};
use tokio_util::sync::CancellationToken;
use types::PhysicalOffset;

use super::damage;
use super::log::{content, name_of};
use crate::LocalBroker;
use crate::takeover::{failed, segments};

/// How long after a start it begins: what has expired at the master while this slave was away is gone by then.
const BEGIN_AFTER: Duration = Duration::from_secs(10);
/// How long after a look the next one begins.
const EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often it is looked whether a message could not be read meanwhile.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Most bytes that are read in a second: a look must not be noticed by who reads from the disk.
const BYTES_A_SECOND: u64 = 64 * 1024 * 1024;

/// Looks again and again through the log of a slave with this data directory, for ever; cancels `damaged` once a segment is noted.
pub async fn run(env: &Env, broker: &LocalBroker, dir: &Path, damaged: &CancellationToken) {
    env.clock.sleep(BEGIN_AFTER).await;
    loop {
        let unreadable = broker.status().unreadable;
        match look(env, broker, dir).await {
            Ok(true) => damaged.cancel(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the log is not looked through for damage"),
        }
        let next = env.clock.moment().plus(EVERY);
        while env.clock.moment() < next && broker.status().unreadable == unreadable {
            env.clock.sleep(ASK_EVERY).await;
        }
    }
}

/// Looks through all segments that are full; whether one is noted as damaged.
///
/// # Errors
/// The directory cannot be looked at, or it cannot be noted.
pub async fn look(env: &Env, broker: &LocalBroker, dir: &Path) -> Result<bool, inspect::Error> {
    let (segment_bytes, mut is_any) = (broker.log().segment_bytes(), false);
    for base in segments(&*env.disk, dir)? {
        if base + segment_bytes >= broker.marks().durable_to().0 {
            break;
        }
        let (disk, path) = (env.disk.clone(), dir.to_owned());
        let is_damaged = env::blocking(move || is_damaged(&disk, &path, base..base + segment_bytes)).await?;
        // It may have expired meanwhile.
        if is_damaged && base >= broker.log().first().0 {
            let (disk, dir) = (env.disk.clone(), dir.to_owned());
            tracing::error!(base, dir = %dir.display(), "a segment of the log is damaged: it is got again from the master");
            env::blocking(move || damage::note(&*disk, &dir, base)).await?;
            is_any = true;
        }
        env.clock.sleep(Duration::from_secs(segment_bytes / BYTES_A_SECOND)).await;
    }
    Ok(is_any)
}

/// Whether a segment, which another one follows, is not whole up to the blank at its end.
fn is_damaged(disk: &Arc<dyn Disk>, dir: &Path, segment: Range<u64>) -> Result<bool, inspect::Error> {
    let directory = Directory::open(disk, dir, crate::check_snapshot)?;
    let (mut at, mut is_damaged) = (segment.start, false);
    let stretch = PhysicalOffset(segment.start)..PhysicalOffset(segment.end);
    let looked = directory.records(stretch, &mut |_| {}, &mut |piece| {
        match piece {
            Piece::Record(record) if record.header.physical_offset.0 == at => {
                at += u64::from(record.header.record_bytes)
            }
            Piece::Record(_) | Piece::Damage { .. } => is_damaged = true,
        }
        if is_damaged { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let path = dir.join(COMMIT_LOG_NAME).join(name_of(segment.start));
    let file = disk.open(&path, OpenMode::Read).map_err(failed("open", &path))?;
    let blank = content(&*file, at - segment.start, BLANK_BYTES);
    let is_full = matches!(record::peek(&blank), Ok(Peek::Blank { bytes }) if at + u64::from(bytes) == segment.end);
    // What the disk does not give is damaged too.
    Ok(is_damaged || looked.is_err() || !is_full)
}
