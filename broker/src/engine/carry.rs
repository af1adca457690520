//! Carrying forward: delayed and half messages whose records are about to expire are appended again.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot::{self, error::TryRecvError};
use types::broker::SendError;
use types::{PhysicalOffset, Timestamp};

use super::fetch::Unread;
use super::{Engine, UNMOVABLE_MAX};
use crate::command::Outcome;
use crate::copy::{self, Copy};
use crate::journal::Event;
use crate::options::OUTCOME_RETRY_AFTER;
use crate::pop::{Cursor, Look};
use crate::timer::spill::{Read, Step, Stepped};
use crate::timer::{Due, Waits};
use crate::transaction::{HalfMessage, op_body};

/// Waiting messages that one step looks at.
const LOOKS_PER_STEP: usize = 4_096;
/// Messages that are read together: half of the reads that may be under way, so that deliveries go on.
const BATCH: usize = crate::options::FETCHES_MAX / 2;
/// Entries of a part that are read in one step.
const STEP_ENTRIES: usize = 4_096;
/// How long it goes on without carrying anything: what is just being delivered or committed may end by itself, and what
/// cannot be read now may be readable later.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far [`Engine::carry`] is. One value for one position.
#[derive(Debug)]
pub(super) struct Carrying {
    before: PhysicalOffset,
    since: Timestamp,
    timers: Option<(Timestamp, PhysicalOffset)>,
    spilled: Spilled,
    halves: Option<PhysicalOffset>,
    is_at_halves: bool,
    /// What this pass has met that cannot be carried.
    left: u64,
    /// What this pass has begun to carry, or has met that may end by itself.
    busy: u64,
}

/// The way through the delayed messages that are in files, part by part.
#[derive(Debug, Default)]
struct Spilled {
    is_begun: bool,
    /// The part that was gone through last begins there.
    behind: Option<PhysicalOffset>,
    /// The part that is gone through now, and where the last step ended in it.
    at: Option<(PhysicalOffset, Option<(Timestamp, PhysicalOffset)>)>,
    step: Option<oneshot::Receiver<Read<Stepped>>>,
    /// What was found and not looked at, at most [`STEP_ENTRIES`].
    found: VecDeque<Waits>,
    /// What this pass has found, to be named if it is lost; at most [`UNMOVABLE_MAX`].
    seen: Vec<(Timestamp, PhysicalOffset)>,
}

/// Records that are being carried, and those that cannot be.
#[derive(Debug, Default)]
pub(super) struct Carries {
    under_way: BTreeSet<PhysicalOffset>,
    /// At most [`UNMOVABLE_MAX`].
    impossible: BTreeSet<PhysicalOffset>,
    /// When one was carried last.
    succeeded_at: Option<Timestamp>,
    /// Until when none is tried, because one could not be read.
    paused_until: Option<Timestamp>,
}

impl Carrying {
    /// The work of appending again all waiting messages whose records lie before a position of the log.
    pub(super) fn new(before: PhysicalOffset, since: Timestamp) -> Self {
        Self {
            before,
            since,
            timers: None,
            spilled: Spilled::default(),
            halves: None,
            is_at_halves: false,
            left: 0,
            busy: 0,
        }
    }
}

impl Engine {
    /// Takes a step. `None` until a whole pass finds nothing to carry, or nothing was carried for [`PATIENCE`]; then how
    /// many stay that are not carried. Half messages may then still be under way, delayed ones are not: no step goes on before they are done.
    pub(super) fn carry(&mut self, carrying: &mut Carrying) -> Option<u64> {
        let is_paused = self.carries.paused_until.is_some_and(|until| until > self.now);
        if is_paused || !self.carries.under_way.is_empty() || self.journal.is_full() {
            return None;
        }
        if !carrying.spilled.is_begun {
            carrying.spilled.is_begun = self.carry_timers(carrying);
            return None;
        }
        if !carrying.is_at_halves {
            carrying.is_at_halves = self.carry_spilled(carrying);
            return None;
        }
        if !self.carry_halves(carrying) {
            return None;
        }
        let since = self.carries.succeeded_at.map_or(carrying.since, |at| at.max(carrying.since));
        let remaining = carrying.left + carrying.busy;
        if carrying.busy == 0 || self.now.since(since) >= PATIENCE {
            return Some(remaining);
        }
        *carrying = Carrying::new(carrying.before, carrying.since);
        None
    }

    /// A step through those in memory; whether that were all.
    fn carry_timers(&mut self, carrying: &mut Carrying) -> bool {
        let (before, mut found) = (carrying.before, Vec::new());
        let timer = &self.machines.timer;
        let is_end = timer.find_before(before, &mut carrying.timers, LOOKS_PER_STEP, BATCH, &mut found);
        for due in found {
            self.begin_carry(carrying, due.offset, due.record_bytes, Outcome::CarryTimer(due));
        }
        is_end
    }

    /// A step through those in files; whether that were all.
    fn carry_spilled(&mut self, carrying: &mut Carrying) -> bool {
        for _ in 0..BATCH {
            let Some(waits) = carrying.spilled.found.pop_front() else { break };
            if self.machines.timer.is_waiting(waits.due, waits.offset) {
                if carrying.spilled.seen.len() < UNMOVABLE_MAX {
                    carrying.spilled.seen.push((waits.due, waits.offset));
                }
                self.begin_carry(carrying, waits.offset, waits.record_bytes, Outcome::CarryTimer(waits.into()));
            }
        }
        if !carrying.spilled.found.is_empty() {
            return false;
        }
        match carrying.spilled.step.take() {
            Some(mut step) => match step.try_recv() {
                Ok(read) => self.stepped(carrying, read),
                Err(TryRecvError::Empty) => carrying.spilled.step = Some(step),
                // The thread ends with the engine.
                Err(TryRecvError::Closed) => {}
            },
            None if self.begin_step(carrying) => {}
            None => {
                self.look_again(carrying);
                return true;
            }
        }
        false
    }

    /// Entries are loaded and sealed while a pass goes on, behind where it looks. All parts were gone through, so whatever it has
    /// missed is in memory now, or is just being delivered.
    fn look_again(&self, carrying: &mut Carrying) {
        if carrying.busy > 0 {
            return;
        }
        let (mut missed, mut impossible) = (0, 0);
        for waits in self.machines.timer.held().filter(|waits| waits.offset < carrying.before) {
            let is_impossible = self.carries.impossible.contains(&waits.offset);
            *if is_impossible { &mut impossible } else { &mut missed } += 1;
        }
        carrying.busy = missed + u64::saturating_sub(impossible, carrying.left);
    }

    /// Whether there is another part to go through.
    fn begin_step(&mut self, carrying: &mut Carrying) -> bool {
        let Spilled { behind, at, .. } = carrying.spilled;
        let timer = &self.machines.timer;
        let after = at.and_then(|(_, after)| after);
        let Some(step) = timer.step(behind, after, carrying.before, STEP_ENTRIES) else { return false };
        let from = step.source.name.from;
        // The part that the last step was in may be gone.
        let step = match at {
            Some((of, _)) if of == from => step,
            _ => Step { after: None, ..step },
        };
        carrying.spilled.at = Some((from, step.after));
        carrying.spilled.step = self.spilled.step(step);
        true
    }

    fn stepped(&mut self, carrying: &mut Carrying, read: Read<Stepped>) {
        self.machines.timer.read(read.remade);
        let Some((from, _)) = carrying.spilled.at else { return };
        if let Some(problem) = read.problem {
            tracing::error!(problem, "delayed messages cannot be read and are carried forward later");
            self.carries.paused_until = Some(self.now.plus(OUTCOME_RETRY_AFTER));
            carrying.busy += 1;
        }
        carrying.spilled.found = read.value.found.into();
        match read.value.after {
            Some(after) => carrying.spilled.at = Some((from, Some(after))),
            None => (carrying.spilled.behind, carrying.spilled.at) = (Some(from), None),
        }
    }

    /// Whether that were all.
    fn carry_halves(&mut self, carrying: &mut Carrying) -> bool {
        let mut found = Vec::new();
        let halves = &self.machines.transactions;
        let is_end = halves.find_before(carrying.before, &mut carrying.halves, LOOKS_PER_STEP, BATCH, &mut found);
        for half in found {
            if self.machines.transactions.is_waiting(&half) {
                self.begin_carry(carrying, half.place.physical_offset, half.record_bytes, Outcome::CarryHalf(half));
            } else {
                carrying.busy += 1;
            }
        }
        is_end
    }

    fn begin_carry(&mut self, carrying: &mut Carrying, at: PhysicalOffset, record_bytes: u32, outcome: Outcome) {
        if self.carries.impossible.contains(&at) {
            carrying.left += 1;
            return;
        }
        carrying.busy += 1;
        self.carries.under_way.insert(at);
        self.fetch(outcome, at, record_bytes);
    }

    pub(super) fn carried_timer(&mut self, due: Due, record: Result<Bytes, Unread>) {
        if self.machines.timer.is_waiting(due.due, due.offset) {
            self.append_carried(due.offset, record, |copy| copy.waits_until(due.due));
        }
        self.carries.under_way.remove(&due.offset);
    }

    pub(super) fn carried_half(&mut self, half: &HalfMessage, record: Result<Bytes, Unread>) {
        if self.machines.transactions.is_waiting(half) {
            self.append_carried(half.place.physical_offset, record, |copy| copy);
        }
        self.carries.under_way.remove(&half.place.physical_offset);
    }

    /// What does not succeed now is found again by the next pass.
    fn append_carried(&mut self, at: PhysicalOffset, record: Result<Bytes, Unread>, finish: impl FnOnce(Copy) -> Copy) {
        let copied = match record {
            Ok(record) => copy::carried(&record).map(finish).map_err(|error| error.to_string()),
            Err(Unread::Now(why)) => {
                tracing::warn!(%why, %at, "a waiting message cannot be read now and is tried again");
                self.carries.paused_until = Some(self.now.plus(OUTCOME_RETRY_AFTER));
                return;
            }
            Err(Unread::Ever(problem)) => Err(problem),
        };
        let problem = match copied.map(|copy| self.append_outcome(&copy)) {
            Ok(Ok(_)) => {
                self.carries.succeeded_at = Some(self.now);
                return self.shared.counters.carried.add(1);
            }
            Ok(Err(SendError::Unavailable(why))) => return self.pause_outcomes(&why),
            Ok(Err(error)) => error.to_string(),
            Err(problem) => problem,
        };
        tracing::error!(problem, %at, "a waiting message cannot be carried forward");
        if self.carries.impossible.len() < UNMOVABLE_MAX {
            self.carries.impossible.insert(at);
        }
    }

    /// Lets go of everything alive before a position that could not be carried, and says what it was; returns how much.
    pub(super) fn lose_before(&mut self, before: PhysicalOffset, carrying: &Carrying) -> u64 {
        let mut lost = 0;
        let mut cursor = Cursor::default();
        loop {
            match self.machines.pop.look(&mut cursor) {
                Look::End => break,
                Look::NextQueue => {}
                Look::Entry(entry, _) => match self.entry(&entry.owner.topic, entry.queue, entry.offset) {
                    Some(place) if place.physical_offset < before => {
                        let (group, topic, queue) = (&entry.owner.group, &entry.owner.topic, entry.queue);
                        tracing::error!(%group, %topic, %queue, offset = %entry.offset, "an unfinished message expires");
                        lost += 1;
                    }
                    _ => cursor.skip_queue(),
                },
            }
        }
        let (mut timers, mut halves) = (Vec::new(), Vec::new());
        self.machines.timer.find_before(before, &mut None, usize::MAX, usize::MAX, &mut timers);
        let waiting = timers.into_iter().map(|Due { due, offset, .. }| (due, offset));
        let delivering = self.machines.timer.delivering_before(before);
        let spilled = carrying.spilled.seen.iter().copied();
        let spilled = spilled.filter(|(due, offset)| self.machines.timer.is_waiting(*due, *offset));
        let timers: BTreeSet<_> = waiting.chain(delivering).chain(spilled).collect();
        for (due, offset) in timers {
            tracing::error!(%due, %offset, "a delayed message expires");
            self.commit_event(&Event::Recalled { due, offset });
            lost += 1;
        }
        self.machines.transactions.find_before(before, &mut None, usize::MAX, usize::MAX, &mut halves);
        for half in halves {
            tracing::error!(topic = %half.topic, offset = %half.position.physical_offset, "a half message expires");
            match self.append_op(op_body(half.place.queue_offset), half.position.physical_offset) {
                Ok(()) => lost += 1,
                Err(why) => self.pause_outcomes(&why),
            }
        }
        self.carries.impossible.clear();
        lost
    }
}
