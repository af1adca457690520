//! Makes written bytes durable, beside the engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use env::Clock;
use parking_lot::Mutex;
use types::PhysicalOffset;

use crate::marks::Marks;
use crate::options::Flush;
use crate::segments::{Segment, Segments};
use crate::signal::Signal;

/// With async flush, how long written bytes wait for the disk. Source: Apache `flushIntervalCommitLog`.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// Segments that may hold bytes which are not durable, oldest first; the last one is being written.
#[derive(Default)]
pub(crate) struct Dirty {
    /// Held for a copy or a move.
    segments: Mutex<VecDeque<Segment>>,
}

impl Dirty {
    /// To be called before any byte of the segment is written.
    pub(crate) fn push(&self, segment: Segment) {
        self.segments.lock().push_back(segment);
    }

    fn all(&self) -> Vec<Segment> {
        self.segments.lock().iter().cloned().collect()
    }

    /// Forgets the segments that end at or before `durable_to`.
    fn clean(&self, durable_to: PhysicalOffset, segment_bytes: u64) {
        let mut segments = self.segments.lock();
        while segments.len() > 1 && segments.front().is_some_and(|s| s.base + segment_bytes <= durable_to.0) {
            segments.pop_front();
        }
    }
}

/// The one who syncs. With sync flush it does so as soon as something is written, and all that was written meanwhile
/// shares the next sync (group commit).
pub(crate) struct Flusher {
    pub(crate) marks: Marks,
    pub(crate) flush: Flush,
    pub(crate) dirty: Arc<Dirty>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) signal: Arc<Signal>,
    /// Segments up to here have a durable name.
    pub(crate) named_to: u64,
}

impl Flusher {
    /// Syncs until the store drains and all is durable, is abandoned, or has failed.
    pub(crate) async fn run(mut self) {
        loop {
            let durable_to = self.marks.durable_to();
            if self.signal.is_draining() && self.marks.appended_to() == durable_to {
                return;
            }
            tokio::select! {
                biased;
                appended = self.marks.appended_beyond(durable_to) => if appended.is_err() { return },
                () = self.signal.draining() => continue,
            }
            if self.flush == Flush::Async {
                tokio::select! {
                    biased;
                    () = self.signal.draining() => {}
                    () = self.clock.sleep(FLUSH_INTERVAL) => {}
                }
            }
            if self.signal.is_abandoned() || self.sync().is_err() {
                return;
            }
        }
    }

    /// Makes everything durable that is written now. The mark moves after the sync; a failed sync is final, because
    /// the system may have dropped the pages and a second one would succeed without them.
    fn sync(&mut self) -> Result<(), ()> {
        let target = self.marks.appended_to();
        for segment in self.dirty.all() {
            if segment.base >= target.0 {
                break;
            }
            if let Err(error) = segment.file.sync_data() {
                let failed = self.marks.fail("sync of the log", &error);
                tracing::error!(%failed, "the log cannot be made durable");
                return Err(());
            }
            if segment.base > self.named_to {
                if let Err(error) = self.segments.sync_dir() {
                    let failed = self.marks.fail("sync of the log's directory", &error.error);
                    tracing::error!(%failed, "the log cannot be made durable");
                    return Err(());
                }
                self.named_to = segment.base;
            }
        }
        if self.marks.failure().is_some() {
            return Err(());
        }
        self.marks.set_durable(target);
        self.dirty.clean(target, self.segments.segment_bytes);
        Ok(())
    }
}
