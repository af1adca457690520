//! Moves to the retry topic: of what waits long or holds its group's progress back, and of what `clear` asks for.

use bytes::Bytes;
use types::TopicName;
use types::broker::{SendError, Unavailable};

use super::Engine;
use super::dead_letter::key;
use super::fetch::Unread;
use crate::command::Outcome;
use crate::copy::{self, CopyError};
use crate::options::OUTCOMES_PER_ROUND;
use crate::pop::Unfinished;

/// Why an entry stays where it is.
enum Unmoved {
    /// Not now: trying again may help.
    Now(Unavailable),
    /// Its copy can never be made.
    Ever(String),
}

impl Engine {
    /// Begins the moves that the pop machine asks for; what is left is due at once again.
    pub(super) fn move_retries(&mut self) {
        for _ in 0..OUTCOMES_PER_ROUND {
            if self.fetches.is_full() || self.outcomes_paused_until > self.now || self.journal.is_full() {
                return;
            }
            let Some(entry) = self.machines.pop.poll_move(self.now) else { return };
            if !self.unmovable.contains(&key(&entry)) && self.is_retry_queue_read(&entry) {
                self.begin_move(entry);
            }
        }
    }

    /// Whether the group has looked at all that others wrote into its retry queue; a copy behind that makes it unfinished, so
    /// only retention may append one.
    fn is_retry_queue_read(&self, entry: &Unfinished) -> bool {
        let Some(planned) = self.machines.pop.plan_move(entry) else { return false };
        let next = self.machines.pop.retry_next(&planned.retry);
        let end =
            self.store.queue_range(planned.retry.topic.as_str(), types::topic::RETRY_QUEUE).map(|range| range.next);
        next.is_none() || next == end
    }

    pub(super) fn begin_move(&mut self, entry: Unfinished) {
        // Without its record there is nothing to keep: the next look at the queue lets the entry go.
        let Some(place) = self.entry(&entry.owner.topic, entry.queue, entry.offset) else { return };
        if self.burials.insert(key(&entry)) {
            self.fetch(Outcome::Retry(entry), place.physical_offset, place.record_bytes);
        }
    }

    /// Appends the copy; applying it moves the entry, whatever has become of its lease meanwhile.
    pub(super) fn retry(&mut self, entry: &Unfinished, record: Result<Bytes, Unread>) {
        self.burials.remove(&key(entry));
        match self.append_retry(entry, record) {
            Ok(()) => {}
            Err(Unmoved::Now(why)) => {
                self.machines.pop.move_later(entry);
                self.pause_outcomes(&why);
            }
            Err(Unmoved::Ever(problem)) => {
                let (group, topic, queue, offset) = (&entry.owner.group, &entry.owner.topic, entry.queue, entry.offset);
                tracing::error!(problem, %group, %topic, %queue, %offset, "a message stays in its queue");
                if self.unmovable.len() < super::UNMOVABLE_MAX {
                    self.unmovable.insert(key(entry));
                }
            }
        }
    }

    fn append_retry(&mut self, entry: &Unfinished, record: Result<Bytes, Unread>) -> Result<(), Unmoved> {
        // Finished or given up while its record was read.
        let Some(planned) = self.machines.pop.plan_move(entry) else { return Ok(()) };
        let record = record.map_err(|unread| match unread {
            Unread::Now(why) => Unmoved::Now(why),
            Unread::Ever(problem) => Unmoved::Ever(problem),
        })?;
        let copy = match copy::retry(&record, &planned) {
            Ok(copy) => copy,
            Err(CopyError::NotOurs { .. }) => {
                self.machines.pop.pass_over(entry, &mut self.events);
                self.commit_pop_events();
                return Ok(());
            }
            Err(error) => return Err(Unmoved::Ever(error.to_string())),
        };
        self.make_derived_topic(&planned.retry.topic);
        match self.append_outcome(&copy) {
            Ok(_) => {
                self.shared.counters.moved.add(1);
                Ok(())
            }
            Err(SendError::Unavailable(why)) => Err(Unmoved::Now(why)),
            Err(error) => Err(Unmoved::Ever(error.to_string())),
        }
    }

    /// Retry queues have got something that may be handed out: whoever waits for their topics hears of it.
    pub(super) fn retries_arrived(&mut self, topic: &TopicName) {
        if topic.is_retry() {
            self.machines.pop.retries_arrived(topic);
        }
    }
}
