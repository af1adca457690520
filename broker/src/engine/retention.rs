//! The log's front goes: when the rules say so (`crate::retention`), what is alive in it is carried forward first.
//!
//! Survey → look for what cannot be moved → announce (nothing new of the front is leased) → clear (unfinished entries move
//! to their retry topics, see `clear`) → carry timers and half messages (see `carry`) → save the state → wait for the disk →
//! expire. Whatever happens before the last step, nothing is lost by it: what was appended meanwhile counts as it stands.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use store::{STATE_TOPIC, Survey};
use tokio::sync::oneshot::{self, error::TryRecvError};
use types::broker::Unavailable;
use types::{PhysicalOffset, Timestamp};

use super::Engine;
use super::carry::Carrying;
use super::clear::{Clearing, Left};
use crate::retention::{Past, Verdict, Why};

/// How often a step that waits for others is looked at.
const STEP: Duration = Duration::from_millis(20);
/// How long entries are moved, while groups that are behind wait, before the front stays after all.
const CLEAR_MAX: Duration = Duration::from_secs(600);

/// How far retention is.
#[derive(Debug)]
pub(super) struct Retention {
    step: Step,
    past: Past,
    /// When the log's front is looked at next.
    look_at: Timestamp,
    /// The disk's use in percent while it is above the level at which sends are refused.
    full_percent: Option<u8>,
}

#[derive(Debug)]
enum Step {
    Idle,
    Surveying(oneshot::Receiver<Survey>),
    Looking {
        cut: Cut,
        look: Clearing,
    },
    /// The front is announced, here and in what follows.
    Clearing {
        cut: Cut,
        clearing: Clearing,
    },
    Carrying {
        cut: Cut,
        carrying: Carrying,
    },
    /// The state is to be taken when the round is written.
    Carried {
        cut: Cut,
    },
    Saving {
        cut: Cut,
        bodies: VecDeque<Bytes>,
    },
    Syncing {
        cut: Cut,
        end: PhysicalOffset,
    },
    Removing {
        cut: Cut,
        removed: oneshot::Receiver<bool>,
    },
}

/// What is to go.
#[derive(Clone, Copy, Debug)]
struct Cut {
    before: PhysicalOffset,
    segments: usize,
    segment_bytes: u64,
    judged_at: Timestamp,
    why: Why,
    /// Whether what cannot be carried is lost, because its time is over too or the disk is nearly full.
    is_last_call: bool,
}

impl Retention {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { step: Step::Idle, past: Past::default(), look_at: now, full_percent: None }
    }

    /// What is over goes from now on whatever the hour, until nothing more may go.
    pub(super) fn ask(&mut self, now: Timestamp) {
        self.past.is_asked = true;
        self.look_at = now;
    }

    /// When the engine must go on with it.
    pub(super) fn next_deadline(&self, now: Timestamp) -> Timestamp {
        match self.step {
            Step::Idle => self.look_at,
            Step::Carried { .. } | Step::Saving { .. } => now,
            _ => now.plus(STEP),
        }
    }

    /// Why sends are refused. Source: Apache sends `SERVICE_NOT_AVAILABLE` and names the disk.
    pub(super) fn refusal(&self) -> Option<Unavailable> {
        let used = self.full_percent?;
        Some(Unavailable::DiskFull { detail: format!("{used} % of the disk are in use, messages are refused") })
    }

    /// Whether waiting messages are being carried forward.
    pub(super) fn is_carrying(&self) -> bool {
        matches!(self.step, Step::Carrying { .. })
    }

    /// Length of what the next round appends for it.
    pub(super) fn bytes(&self) -> u64 {
        match &self.step {
            Step::Saving { bodies, .. } => bodies.front().map_or(0, |body| body.len() as u64),
            _ => 0,
        }
    }
}

impl Engine {
    /// A step of retention before the round is written; called while outcomes are not paused.
    pub(super) fn retain(&mut self) {
        let step = std::mem::replace(&mut self.retention.step, Step::Idle);
        self.retention.step = match step {
            Step::Idle if self.is_look_due() => self.survey(),
            Step::Surveying(mut answer) => match answer.try_recv() {
                Ok(survey) => self.judge(&survey),
                Err(TryRecvError::Empty) => Step::Surveying(answer),
                Err(TryRecvError::Closed) => Step::Idle,
            },
            Step::Looking { cut, mut look } => match self.clear_before(&mut look) {
                None => Step::Looking { cut, look },
                Some(left) if self.must_hold(cut, left) => cut_less(cut, left),
                Some(_) => self.announce(cut),
            },
            Step::Clearing { cut, mut clearing } => match self.clear_before(&mut clearing) {
                None if self.now.since(cut.judged_at) >= CLEAR_MAX => {
                    tracing::warn!(before = %cut.before, "unfinished messages cannot be moved: the log's front stays for now");
                    self.cancel_expiry();
                    Step::Idle
                }
                None => Step::Clearing { cut, clearing },
                Some(left) if self.must_hold(cut, left) => {
                    self.cancel_expiry();
                    cut_less(cut, left)
                }
                Some(_) => Step::Carrying { cut, carrying: Carrying::new(cut.before, self.now) },
            },
            Step::Carrying { cut, mut carrying } => match self.carry(&mut carrying) {
                None => Step::Carrying { cut, carrying },
                Some(left) if left > 0 && !cut.is_last_call => {
                    self.hold(cut, 0, left);
                    self.cancel_expiry();
                    Step::Idle
                }
                Some(_) => {
                    if cut.is_last_call {
                        let lost = self.lose_before(cut.before, &carrying);
                        self.shared.counters.expired_lost.add(lost);
                    }
                    Step::Carried { cut }
                }
            },
            Step::Saving { cut, bodies } => self.save(cut, bodies),
            other => other,
        };
    }

    /// A step of retention after the round was written: everything that was decided is in the log.
    pub(super) fn retain_written(&mut self) {
        let step = std::mem::replace(&mut self.retention.step, Step::Idle);
        self.retention.step = match step {
            Step::Carried { cut } if self.journal.is_empty() => {
                let bodies: VecDeque<Bytes> = self.store.state(&self.machines).into();
                self.retention.past.state_bytes = bodies.iter().map(|body| body.len() as u64).sum();
                Step::Saving { cut, bodies }
            }
            Step::Saving { cut, bodies } if bodies.is_empty() => {
                Step::Syncing { cut, end: self.store.marks().appended_to() }
            }
            Step::Syncing { cut, end } if self.journal.is_empty() && self.is_kept(end) => self.expire(cut, end),
            Step::Removing { cut, mut removed } => match removed.try_recv() {
                Err(TryRecvError::Empty) => Step::Removing { cut, removed },
                done => {
                    self.expired(cut, done == Ok(true));
                    Step::Idle
                }
            },
            other => other,
        };
    }

    /// Whether the disk has the log up to `end`, and the slaves that are waited for.
    fn is_kept(&self, end: PhysicalOffset) -> bool {
        let marks = self.store.marks();
        marks.durable_to().min(marks.visible_to()) >= end
    }

    /// Also when the clock was set back.
    fn is_look_due(&self) -> bool {
        let look_at = self.retention.look_at;
        look_at <= self.now || look_at > self.now.plus(self.options.retention.interval)
    }

    fn survey(&mut self) -> Step {
        self.retention.look_at = self.now.plus(self.options.retention.interval);
        self.store.survey().map_or(Step::Idle, Step::Surveying)
    }

    fn judge(&mut self, survey: &Survey) -> Step {
        let past = self.retention.past;
        let verdict = self.options.retention.judge(survey, past, self.now);
        let was_full = std::mem::replace(&mut self.retention.full_percent, verdict.full_percent).is_some();
        match verdict.full_percent {
            Some(used) if !was_full => tracing::error!(used, "the disk is nearly full: sends are refused"),
            None if was_full => tracing::info!("the disk has room again: sends are taken"),
            _ => {}
        }
        self.shared.counters.log_bytes.set(usize::try_from(survey.log_bytes).unwrap_or(usize::MAX));
        let Some(last) = verdict.segments.checked_sub(1).and_then(|index| survey.segments.get(index)) else {
            self.retention.past.is_asked = false;
            return Step::Idle;
        };
        let Verdict { segments, why, is_last_call, .. } = verdict;
        let cut = Cut { before: last.end, segments, segment_bytes: last.bytes, judged_at: self.now, why, is_last_call };
        tracing::debug!(before = %cut.before, segments, ?why, "the log's front is about to go");
        Step::Looking { cut, look: Clearing::look(cut.before) }
    }

    /// Whether what is left in the front keeps it.
    fn must_hold(&mut self, cut: Cut, left: Left) -> bool {
        let must_hold = left.total() > 0 && !cut.is_last_call;
        if must_hold {
            let Left { ordered, stuck, .. } = left;
            self.hold(cut, ordered, stuck);
        }
        must_hold
    }

    fn hold(&mut self, cut: Cut, ordered: u64, stuck: u64) {
        self.retention.past.is_asked = false;
        if !std::mem::replace(&mut self.retention.past.is_held, true) {
            tracing::warn!(before = %cut.before, ordered, stuck, "unfinished messages hold the log's front");
        }
    }

    fn announce(&mut self, cut: Cut) -> Step {
        match self.store.begin_expiry(cut.before) {
            Ok(()) => Step::Clearing { cut, clearing: Clearing::new(cut.before) },
            Err(error) => {
                tracing::error!(%error, before = %cut.before, "the log's front cannot go");
                Step::Idle
            }
        }
    }

    fn save(&mut self, cut: Cut, mut bodies: VecDeque<Bytes>) -> Step {
        if let Some(body) = bodies.front() {
            match self.append_known(STATE_TOPIC, body.clone()) {
                Ok(()) => drop(bodies.pop_front()),
                Err(why) => self.pause_outcomes(&why),
            }
        }
        Step::Saving { cut, bodies }
    }

    fn expire(&mut self, cut: Cut, end: PhysicalOffset) -> Step {
        match self.store.expire() {
            Some(removed) => {
                self.machines.pop.expiry_ended();
                let lost = self.machines.timer.expire(cut.before);
                if cut.is_last_call && lost > 0 {
                    tracing::error!(lost, before = %cut.before, "delayed messages that could not be read expire");
                    self.shared.counters.expired_lost.add(lost);
                }
                // So that the next start needs no state from the log.
                self.begin_checkpoint();
                Step::Removing { cut, removed }
            }
            None => Step::Syncing { cut, end },
        }
    }

    fn cancel_expiry(&mut self) {
        self.store.cancel_expiry();
        self.machines.pop.expiry_ended();
    }

    fn expired(&mut self, cut: Cut, is_removed: bool) {
        self.retention.past.is_held = false;
        self.retention.look_at = self.now;
        self.shared.counters.expired_segments.add(cut.segments as u64);
        tracing::info!(first = %cut.before, segments = cut.segments, why = ?cut.why, is_removed, "the log's front is gone");
    }
}

/// Goes on with the segments before the first message that holds the front.
fn cut_less(cut: Cut, left: Left) -> Step {
    let before = left.first.map_or(0, |first| first.0 - first.0 % cut.segment_bytes);
    let dropped = (cut.before.0 - before) / cut.segment_bytes;
    match usize::try_from(dropped).ok().and_then(|dropped| cut.segments.checked_sub(dropped)) {
        None | Some(0) => Step::Idle,
        Some(segments) => {
            let cut = Cut { before: PhysicalOffset(before), segments, ..cut };
            Step::Looking { cut, look: Clearing::look(cut.before) }
        }
    }
}

#[cfg(test)]
mod tests;
