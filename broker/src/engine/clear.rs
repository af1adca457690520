//! Clearing the log's front: unfinished entries whose records are about to go are moved to the retry topic.

use types::PhysicalOffset;

use super::Engine;
use super::dead_letter::key;
use crate::options::OUTCOMES_PER_ROUND;
use crate::pop::{Cursor, Look, Unfinished};

/// Queues that one step of [`Engine::clear_before`] looks through.
const QUEUES_PER_STEP: usize = 4_096;

/// How far [`Engine::clear_before`] is. One value for one position.
#[derive(Debug)]
pub(super) struct Clearing {
    before: PhysicalOffset,
    cursor: Cursor,
    /// Whether nothing is moved: it is only looked for what cannot be.
    is_look: bool,
    left: Left,
    /// Whether this pass over the entries has begun a move, or met one under way.
    is_moving: bool,
}

/// Unfinished entries before a position that are not moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Ordered ones, which stay in their queue.
    pub(super) ordered: u64,
    /// Those that cannot be moved: their record cannot be read, their copy is too long, or they go to the dead-letter topic and
    /// are not there yet.
    pub(super) stuck: u64,
    /// Where the first of them is.
    pub(super) first: Option<PhysicalOffset>,
}

impl Left {
    pub(super) fn total(self) -> u64 {
        self.ordered + self.stuck
    }

    fn count(&mut self, is_ordered: bool, at: PhysicalOffset) {
        *(if is_ordered { &mut self.ordered } else { &mut self.stuck }) += 1;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
    }
}

impl Clearing {
    /// The work of moving all unfinished un-ordered entries whose records lie before a position of the log.
    pub(super) fn new(before: PhysicalOffset) -> Self {
        Self { before, cursor: Cursor::default(), is_look: false, left: Left::default(), is_moving: false }
    }

    /// The work of looking for what will not be moved: the ordered ones.
    pub(super) fn look(before: PhysicalOffset) -> Self {
        Self { is_look: true, ..Self::new(before) }
    }
}

impl Engine {
    /// Takes a step of moving what lies before a position, at most [`OUTCOMES_PER_ROUND`] entries: those that are leased go on
    /// with their client. `None` until a whole pass over all entries finds nothing to move; then what is left. To be called once
    /// a round while outcomes are not paused.
    pub(super) fn clear_before(&mut self, clearing: &mut Clearing) -> Option<Left> {
        let (mut entries, mut queues) = (0, 0);
        while entries < OUTCOMES_PER_ROUND && queues < QUEUES_PER_STEP && !self.fetches.is_full() {
            match self.machines.pop.look(&mut clearing.cursor) {
                Look::NextQueue => queues += 1,
                Look::Entry(entry, is_movable) => {
                    entries += 1;
                    self.clear_entry(clearing, entry, is_movable);
                }
                Look::End => {
                    let next = Clearing { is_look: clearing.is_look, ..Clearing::new(clearing.before) };
                    let ended = std::mem::replace(clearing, next);
                    return (!ended.is_moving).then_some(ended.left);
                }
            }
        }
        None
    }

    fn clear_entry(&mut self, clearing: &mut Clearing, entry: Unfinished, is_movable: bool) {
        let Some(place) = self.entry(&entry.owner.topic, entry.queue, entry.offset) else { return };
        if place.physical_offset >= clearing.before {
            return clearing.cursor.skip_queue();
        }
        let is_ordered = self.machines.pop.is_ordered(&entry);
        if clearing.is_look && !is_ordered {
            return;
        }
        if self.burials.contains(&key(&entry)) {
            clearing.is_moving = true;
        } else if self.unmovable.contains(&key(&entry)) {
            clearing.left.count(is_ordered, place.physical_offset);
        } else if !is_ordered && is_movable && self.machines.pop.plan_move(&entry).is_some() {
            clearing.is_moving = true;
            self.begin_move(entry);
        } else {
            clearing.left.count(is_ordered, place.physical_offset);
        }
    }
}

#[cfg(test)]
mod tests;
