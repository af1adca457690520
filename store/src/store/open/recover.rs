//! From files to state: the newest checkpoint that can be used, or the state in the log, and the log behind it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use env::Disk;
use types::{PhysicalOffset, Timestamp};

use super::OpenError;
use crate::checkpoint::{self, Checkpoint};
use crate::commit_log::End;
use crate::files::{self, Layout, name_of};
use crate::log_state;
use crate::machine::{Machine, RestoreError};
use crate::options::Options;
use crate::queue_index::run::{Run, RunName};
use crate::queue_index::{Block, Miss, Part, QueueIndex};
use crate::recovery::proof::{self, Proof};
use crate::recovery::rebuild::{self, rebuild};
use crate::recovery::{self, Base, Replay};
use crate::segments::Segments;

/// What a recovery reads and writes.
pub(super) struct Recovery<'a> {
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) layout: &'a Layout,
    pub(super) segments: &'a Segments,
    pub(super) options: &'a Options,
    /// Else its whole segments are Apache's, which are never written to.
    pub(super) is_ours: bool,
}

/// What it has found.
pub(super) struct Recovered {
    pub(super) index: QueueIndex,
    pub(super) end: End,
    pub(super) checkpoint_at: PhysicalOffset,
    /// What the states say that lie behind the checkpoint.
    pub(super) states: log_state::Begins,
}

/// What a checkpoint says.
struct Restored {
    index: QueueIndex,
    end: End,
    /// The log begins here or earlier.
    begins: u64,
}

impl Recovery<'_> {
    pub(super) fn run(&self, machines: &mut dyn Machine) -> Result<Recovered, OpenError> {
        let proof = proof::find(self.disk, self.layout)?;
        let restored = self.restore(machines)?;
        let first = self.segments.first();
        let has_checkpoint = restored.is_some();
        let begins = restored.as_ref().map_or(0, |restored| restored.begins);
        let state = if has_checkpoint || first == 0 { None } else { log_state::find(self.segments)? };
        let (mut index, start) = restored.map_or_else(
            || {
                let start = End { at: PhysicalOffset(first), last: None, last_stored_at: Timestamp(i64::MIN) };
                (QueueIndex::new(first), start)
            },
            |restored| (restored.index, restored.end),
        );
        let base = if has_checkpoint { None } else { self.base(state.as_deref(), machines)? };
        let may_begin_late = !has_checkpoint && first > 0;
        self.find_missing(start.at)?;
        let on_segment = |base, end, index: &mut QueueIndex, machines: &mut dyn Machine| {
            self.segment_done(base, start.at, end, index, machines, proof.as_ref())
        };
        let states = log_state::Begins::default();
        let machines_now = &mut *machines;
        let mut replay = Replay { index: &mut index, machines: machines_now, may_begin_late, base, states, on_segment };
        let (end, stop) = recovery::scan(self.segments, start, self.options.end_at.map(|at| at.0), &mut replay)?;
        self.judge_wanted_end(end, replay.base.is_none())?;
        let states = replay.states;
        let begins = begins.max(states.begins().unwrap_or(0));
        let is_accepted = self.judge(end, stop, proof)?;
        self.judge_begin(begins, has_checkpoint.then_some(start.at), is_accepted)?;
        // Before the log is cut: what names more of it than there is would be taken for a proof.
        self.remove_unused(&index, machines, start.at)?;
        let replayed_bytes = end.at.0 - start.at.0;
        tracing::info!(from = %start.at, end = %end.at, replayed_bytes, "the log is open");
        Ok(Recovered { index, end, checkpoint_at: start.at, states })
    }

    /// Restores `machines` from the state in the log that stands in for what has expired before it; without one from nothing.
    fn base<'a>(&self, state: Option<&'a [u8]>, machines: &mut dyn Machine) -> Result<Option<Base<'a>>, OpenError> {
        machines.reset();
        let Some(Checkpoint { end, queues, snapshot, .. }) = state.and_then(checkpoint::parse_body) else {
            return Ok(None);
        };
        match machines.restore_state(snapshot) {
            Ok(()) => Ok(Some(Base { at: end.at, queues })),
            Err(error @ RestoreError::Newer { .. }) => {
                Err(OpenError::NewerState { path: self.layout.commit_log.clone(), error })
            }
            Err(error) => {
                tracing::error!(at = %end.at, %error, "the state in the log cannot be used: what led to it has expired");
                machines.reset();
                Ok(None)
            }
        }
    }

    /// The state of the newest checkpoint that can be used.
    fn restore(&self, machines: &mut dyn Machine) -> Result<Option<Restored>, OpenError> {
        let wanted = |at: &u64| self.options.end_at.is_none_or(|end| *at <= end.0);
        for at in files::positions(&**self.disk, &self.layout.checkpoints)?.into_iter().rev().filter(wanted) {
            let path = self.layout.checkpoints.join(name_of(at));
            let file = files::read(&**self.disk, &path)?;
            let checkpoint = match checkpoint::parse(&file) {
                Ok(checkpoint) => checkpoint,
                Err(problem) => {
                    tracing::warn!(at, problem, "a checkpoint cannot be used");
                    continue;
                }
            };
            if checkpoint.end.at.0 != at {
                tracing::warn!(at, taken_at = %checkpoint.end.at, "a checkpoint is not used: its name is that of another one");
                continue;
            }
            if !recovery::is_covered(self.segments, checkpoint.end)? {
                tracing::warn!(at, "a checkpoint is not used: the log does not cover it");
                continue;
            }
            match machines.restore(checkpoint.snapshot) {
                Ok(()) => {}
                // An older one, or the log alone, would be taken up without what only that program knows of the records behind it.
                Err(error @ RestoreError::Newer { .. }) => return Err(OpenError::NewerState { path, error }),
                Err(error) => {
                    tracing::warn!(at, %error, "a checkpoint cannot be used");
                    continue;
                }
            }
            let (end, begins) = (checkpoint.end, checkpoint.begins.unwrap_or(u64::MAX));
            return Ok(Some(Restored { index: self.index(checkpoint)?, end, begins }));
        }
        Ok(None)
    }

    /// The queue index of a checkpoint; runs that are missing or damaged are made again from the log. First those that can be as a
    /// whole: they tell what the others lack.
    fn index(&self, checkpoint: Checkpoint<'_>) -> Result<QueueIndex, OpenError> {
        let first = self.segments.first();
        let mut index = QueueIndex::restore(checkpoint.end.at.0, checkpoint.queues.into_iter());
        let mut unmade = Vec::new();
        for RunName { from, to, crc } in checkpoint.runs.into_iter().filter(|name| name.to > first) {
            let part = match Run::load(self.disk, &self.layout.queue_index, RunName { from, to, crc }) {
                Ok(run) => Part::Run(Arc::new(run)),
                Err(problem) => {
                    tracing::warn!(from, problem, "an index run is made again from the log");
                    unmade.push(from..to);
                    Part::Block(Arc::new(Block { from, to, stretches: Vec::new(), keys: Vec::new() }))
                }
            };
            index.push_part(part);
        }
        unmade.retain(|stretch| {
            let made = rebuild(self.segments, &index, stretch.clone(), &[], |_| false);
            made.map(|block| index.replace_part(Part::Block(Arc::new(block)))).is_err()
        });
        let mut is_accepted = false;
        while let Some(stretch) = unmade.first().cloned() {
            unmade.remove(0);
            let behind: Vec<u64> = unmade.iter().map(|stretch| stretch.start).collect();
            let part = self.remake(&index, stretch, &behind, &mut is_accepted)?;
            index.replace_part(part);
        }
        self.expire(&mut index)?;
        Ok(index)
    }

    /// What has expired since the checkpoint was taken goes.
    fn expire(&self, index: &mut QueueIndex) -> Result<(), OpenError> {
        let first = self.segments.first();
        loop {
            // Again after each repair: what is made again lacks what has expired.
            if first > 0 {
                index.begin_with_parts();
            }
            match index.begins(first) {
                Ok(begins) => {
                    index.expire(first, &begins);
                    return Ok(());
                }
                Err(Miss::Damaged { from, to, problem }) => {
                    tracing::warn!(from, problem, "an index run is made again from the log");
                    let part = self.remake(index, from..to, &[], &mut false)?;
                    index.replace_part(part);
                }
            }
        }
    }

    /// Makes a run again that is missing or damaged; where the log below is damaged too only if that was accepted, at this place or at one
    /// before.
    fn remake(
        &self,
        index: &QueueIndex,
        stretch: Range<u64>,
        unmade: &[u64],
        is_accepted: &mut bool,
    ) -> Result<Part, OpenError> {
        let path = self.layout.queue_index.join(name_of(stretch.start));
        let accepts = |at| {
            *is_accepted |= self.options.accept_loss_at == Some(PhysicalOffset(at));
            *is_accepted
        };
        match rebuild(self.segments, index, stretch, unmade, accepts) {
            Ok(block) => Ok(Part::Block(Arc::new(block))),
            Err(rebuild::Error::Unreadable(problem)) => Err(OpenError::Unusable { path, problem }),
            Err(rebuild::Error::Damaged { at, problem }) => {
                let problem = format!("{problem}, and the index run over it is missing or damaged");
                // The index is a checkpoint's, which ends where its runs do.
                let durable_to = PhysicalOffset(index.young_from());
                let proof = self.layout.checkpoints.join(name_of(durable_to.0));
                let path = self.segments.path(self.segments.base_of(at));
                Err(OpenError::Damaged { path, at: PhysicalOffset(at), problem, durable_to, proof })
            }
        }
    }

    /// Removes checkpoints that were refused and runs that the index does not use, so that nothing of another life
    /// of the log is ever taken for this one's.
    fn remove_unused(
        &self,
        index: &QueueIndex,
        machines: &dyn Machine,
        checkpoint_at: PhysicalOffset,
    ) -> Result<(), files::Error> {
        let used: BTreeSet<String> = machines.files().into_iter().map(|file| file.name).collect();
        files::remove_machine_files(&**self.disk, &self.layout.timers, |name| used.contains(name))?;
        let is_used = |from| index.parts().iter().any(|part| matches!(part, Part::Run(run) if run.from == from));
        files::remove_unless(&**self.disk, &self.layout.queue_index, is_used)?;
        files::remove_unless(&**self.disk, &self.layout.checkpoints, |at| at <= checkpoint_at.0)?;
        for dir in [&self.layout.timers, &self.layout.queue_index, &self.layout.checkpoints] {
            self.disk.sync_dir(dir).map_err(files::Error::at("sync", dir))?;
        }
        Ok(())
    }

    /// At a segment's end: what was read of it, and the blank behind, may not be durable yet. Long replays also write
    /// their index and the machines' files out, so that memory stays bounded.
    fn segment_done(
        &self,
        base: u64,
        start: PhysicalOffset,
        end: End,
        index: &mut QueueIndex,
        machines: &mut dyn Machine,
        proof: Option<&Proof>,
    ) -> Result<(), files::Error> {
        let segment = self.segments.open(base)?;
        if self.is_ours {
            self.segments.renew(&segment, start.0, end.at.0 + record::BLANK_BYTES as u64)?;
        }
        segment.file.sync_data().map_err(files::Error::at("sync", &self.segments.path(base)))?;
        if end.at.0 - index.young_from() < self.options.checkpoint_bytes {
            return Ok(());
        }
        // A run proves that the log was durable: so must the names of its segments be.
        self.segments.sync_dir()?;
        machines.spill(end.at);
        for file in machines.files() {
            files::put_machine_file(&**self.disk, &self.layout.timers, &file)?;
        }
        machines.filed(end.at);
        index.seal(end.at.0);
        for part in index.parts().to_vec() {
            if let Part::Block(block) = part
                && proof.is_none_or(|proof| proof.allows_run(block.from, end.at.0))
            {
                let run = Run::write(self.disk, &self.layout.queue_index, &block)?;
                index.replace_part(Part::Run(Arc::new(run)));
            }
        }
        Ok(())
    }
}
