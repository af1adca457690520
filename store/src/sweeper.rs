//! Looks at the log's oldest segments and removes them, beside the engine.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use env::Disk;
use env::disk::Space;
use record::RECORD_BYTES_MIN;
use tokio::sync::{mpsc, oneshot};
use types::{PhysicalOffset, Timestamp};

use crate::files::{self, Layout, name_of};
use crate::marks::Marks;
use crate::segments::Segments;
use crate::signal::Signal;

/// Most of the oldest segments that are looked at together.
pub(crate) const SURVEY_SEGMENTS_MAX: usize = 64;
/// Requests that wait: the engine has one at a time.
pub(crate) const REQUESTS_MAX: usize = 1;
/// A record's header is longer than the shortest record by two IPv6 hosts.
const HEADER_BYTES: usize = RECORD_BYTES_MIN + 24;

/// What may expire, and why it may have to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The oldest segments, at most 64, without the one that is written and those that are not durable.
    pub segments: Vec<OldSegment>,
    /// Length of all segments.
    pub log_bytes: u64,
    /// The room of the log's file system; `None` when the system does not tell.
    pub space: Option<Space>,
}

/// A segment that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldSegment {
    /// Behind its last byte.
    pub end: PhysicalOffset,
    /// Its length.
    pub bytes: u64,
    /// None of its records was stored later.
    pub newest_at: Timestamp,
}

/// What the sweeper is asked.
pub(crate) enum Request {
    Survey {
        answer: oneshot::Sender<Survey>,
    },
    /// Removes all segments before a position and the runs that begin at these; the answer says whether all is gone.
    Remove {
        before: u64,
        runs: Vec<u64>,
        answer: oneshot::Sender<bool>,
    },
}

pub(crate) struct Sweeper {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) segments: Arc<Segments>,
    pub(crate) marks: Marks,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) signal: Arc<Signal>,
    /// Store times of segments' first records, by base.
    pub(crate) oldest: BTreeMap<u64, Timestamp>,
}

impl Sweeper {
    /// Serves until the store ends. What was not removed by then is the log's front again at the next start.
    pub(crate) async fn run(mut self) {
        loop {
            let request = tokio::select! {
                biased;
                () = self.signal.draining() => return,
                request = self.requests.recv() => request,
            };
            // An engine that has gone needs no answer.
            match request {
                Some(Request::Survey { answer }) => match self.survey() {
                    Ok(survey) => drop(answer.send(survey)),
                    Err(error) => tracing::warn!(%error, "the log's oldest segments cannot be looked at"),
                },
                Some(Request::Remove { before, runs, answer }) => {
                    let removed = self.remove(before, &runs);
                    if let Err(error) = &removed {
                        tracing::warn!(%error, "what has expired is removed at the next start");
                    }
                    let _ = answer.send(removed.is_ok());
                }
                None => return,
            }
        }
    }

    fn survey(&mut self) -> Result<Survey, files::Error> {
        let (first, bytes) = (self.segments.first(), self.segments.segment_bytes);
        let bases = self.segments.bases()?;
        self.oldest.retain(|base, _| *base >= first);
        let active = self.segments.base_of(self.marks.durable_to().0);
        let mut segments = Vec::new();
        let complete = bases.iter().filter(|base| (first..active).contains(*base));
        for &base in complete.take(SURVEY_SEGMENTS_MAX) {
            // Store times do not fall: the next segment's first one bounds those here.
            let Some(newest_at) = self.first_stored_at(base + bytes)? else { break };
            segments.push(OldSegment { end: PhysicalOffset(base + bytes), bytes, newest_at });
        }
        let space = self.disk.space(&self.segments.dir);
        let space = space.inspect_err(|error| tracing::warn!(%error, "the disk's room is not known")).ok();
        Ok(Survey { segments, log_bytes: bases.len() as u64 * bytes, space })
    }

    /// Store time of a segment's first record; where that is damaged, of a later segment's.
    fn first_stored_at(&mut self, base: u64) -> Result<Option<Timestamp>, files::Error> {
        let end = self.marks.durable_to().0;
        for base in (base..end).step_by(self.segments.segment_bytes as usize) {
            if let Some(known) = self.oldest.get(&base) {
                return Ok(Some(*known));
            }
            let path = self.segments.path(base);
            let mut head = [0; HEADER_BYTES];
            let file = self.segments.open(base)?.file;
            let read = file.read_at(&mut head, 0).map_err(files::Error::at("read", &path))?;
            let header = record::header(&head[..read]).ok().filter(|header| header.physical_offset.0 == base);
            if let Some(header) = header {
                self.oldest.insert(base, header.stored_at);
                return Ok(Some(header.stored_at));
            }
        }
        Ok(None)
    }

    /// Segments go durably and the oldest first: whatever interrupts it leaves a log without a hole. A sync that fails is
    /// final, as any of the log: it may have been to save the name of the newest segment too.
    fn remove(&self, before: u64, runs: &[u64]) -> Result<(), files::Error> {
        for expired in self.segments.bases()?.into_iter().take_while(|expired| *expired < before) {
            let path = self.segments.path(expired);
            self.disk.remove(&path).map_err(files::Error::at("remove", &path))?;
            let synced = self.segments.sync_dir();
            synced.inspect_err(|error| drop(self.marks.fail("sync of the log's directory", &error.error)))?;
        }
        for run in runs {
            let path = self.layout.queue_index.join(name_of(*run));
            match self.disk.remove(&path) {
                // A block of the index that never became a file.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(files::Error::at("remove", &path))?,
            }
        }
        Ok(())
    }
}
