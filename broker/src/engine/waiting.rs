//! Receivers that wait for messages, in the order in which they came.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use env::clock::Moment;
use foldhash::fast::FixedState;
use types::broker::{LeaseOwner, PopError, PullError};
use types::{Filter, GroupName, QueueId, TopicName};

use crate::command::{PopCommand, PullCommand, PulledEntries};
use crate::engine::answer::tell;
use crate::options::WAITING_MAX;

/// Pops and pulls that wait; about 400 bytes each, at most [`WAITING_MAX`].
///
/// Pops that can only get the same messages stand in one line: when its first gets nothing, nobody in it does.
///
/// Invariant: `deadlines` has exactly one entry for each pop in a line and each pull.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pops: HashMap<TopicName, BTreeMap<LineKey, Vec<Line>>, FixedState>,
    pulls: HashMap<TopicName, BTreeMap<u64, PullCommand>, FixedState>,
    deadlines: BTreeSet<(Moment, u64)>,
    places: BTreeMap<u64, Place>,
    next_id: u64,
}

/// Whose pops, and of which queue only.
type LineKey = (GroupName, Option<QueueId>);

#[derive(Debug)]
struct Line {
    filter: Arc<Filter>,
    pops: BTreeMap<u64, PopCommand>,
}

/// Where a receiver waits.
#[derive(Clone, Debug)]
enum Place {
    Pop(LineName),
    Pull(TopicName),
}

/// Names a line.
#[derive(Clone, Debug)]
pub(crate) struct LineName {
    topic: TopicName,
    key: LineKey,
    filter: Arc<Filter>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many pops of a group wait for messages of a topic, of any queue or of one.
    pub(crate) fn count(&self, owner: &LeaseOwner, queue: Option<QueueId>) -> usize {
        let lines = self.pops.get(&owner.topic).and_then(|lines| lines.get(&(owner.group.clone(), queue)));
        lines.into_iter().flatten().map(|line| line.pops.len()).sum()
    }

    /// Whether anybody waits for messages of a topic.
    pub(crate) fn has_topic(&self, topic: &TopicName) -> bool {
        self.pops.contains_key(topic) || self.pulls.contains_key(topic)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether nobody else may wait, even after those whose callers are gone are let go.
    pub(crate) fn is_full(&mut self) -> bool {
        if self.len() < WAITING_MAX {
            return false;
        }
        let gone: Vec<u64> = self.places.keys().copied().filter(|id| self.is_gone(*id)).collect();
        for id in gone {
            self.remove(id);
        }
        self.len() >= WAITING_MAX
    }

    /// Lets a pop wait at the end of its line. `queue` is set when it wants messages of that queue only.
    pub(crate) fn push_pop(&mut self, command: PopCommand, queue: Option<QueueId>) {
        let id = self.next_id;
        self.next_id += 1;
        let line = LineName {
            topic: command.owner.topic.clone(),
            key: (command.owner.group.clone(), queue),
            filter: Arc::clone(&command.filter),
        };
        self.put_pop(id, line, command);
    }

    /// Lets a pop that was taken by [`Waiting::first_of`] wait on at its old place.
    pub(crate) fn put_pop(&mut self, id: u64, line: LineName, command: PopCommand) {
        self.deadlines.insert((command.until, id));
        let lines = self.pops.entry(line.topic.clone()).or_default().entry(line.key.clone()).or_default();
        let index = lines.iter().position(|known| known.filter == line.filter).unwrap_or_else(|| {
            lines.push(Line { filter: Arc::clone(&line.filter), pops: BTreeMap::new() });
            lines.len() - 1
        });
        lines[index].pops.insert(id, command);
        self.places.insert(id, Place::Pop(line));
    }

    pub(crate) fn push_pull(&mut self, command: PullCommand) {
        let id = self.next_id;
        self.next_id += 1;
        self.deadlines.insert((command.until, id));
        self.places.insert(id, Place::Pull(command.topic.clone()));
        self.pulls.entry(command.topic.clone()).or_default().insert(id, command);
    }

    /// The lines that a message in this queue may serve, of one group or all. Without a queue: a message of a retry topic,
    /// which is for whoever asks for the topic.
    pub(crate) fn lines(&self, topic: &str, queue: Option<QueueId>, group: Option<&GroupName>) -> Vec<LineName> {
        let Some((topic, of_topic)) = self.pops.get_key_value(topic) else { return Vec::new() };
        let concerned = of_topic.iter().filter(|((of, wanted), _)| {
            group.is_none_or(|group| group == of) && (queue.is_none() || wanted.is_none() || *wanted == queue)
        });
        let names = concerned.flat_map(|(key, lines)| {
            let name =
                |line: &Line| LineName { topic: topic.clone(), key: key.clone(), filter: Arc::clone(&line.filter) };
            lines.iter().map(name)
        });
        names.collect()
    }

    /// Takes the first pop of a line whose caller is still there.
    pub(crate) fn first_of(&mut self, line: &LineName) -> Option<(u64, PopCommand)> {
        loop {
            let lines = self.pops.get(&line.topic)?.get(&line.key)?;
            let id = *lines.iter().find(|known| known.filter == line.filter)?.pops.first_key_value()?.0;
            let command = self.remove(id)?.0?;
            if !command.reply.is_closed() {
                return Some((id, command));
            }
        }
    }

    /// Takes the pulls that wait for this queue.
    pub(crate) fn take_pulls(&mut self, topic: &TopicName, queue: QueueId) -> Vec<PullCommand> {
        let Some(pulls) = self.pulls.get(topic) else { return Vec::new() };
        let ids: Vec<u64> = pulls.iter().filter(|(_, pull)| pull.queue == queue).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)?.1).collect()
    }

    /// When the first receiver has waited long enough.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// Answers those that have waited long enough with nothing.
    pub(crate) fn expire(&mut self, now: Moment, empty: impl Fn(&PullCommand) -> PulledEntries) {
        while let Some(&(until, id)) = self.deadlines.first() {
            if until > now {
                return;
            }
            match self.remove(id) {
                Some((Some(pop), _)) => pop.reply.end(None),
                Some((_, Some(pull))) => {
                    let entries = empty(&pull);
                    tell(pull.reply, Ok(entries));
                }
                _ => drop(self.deadlines.remove(&(until, id))),
            }
        }
    }

    /// Answers all: with nothing, or with an error.
    pub(crate) fn dismiss(&mut self, error: Option<&PopError>, empty: impl Fn(&PullCommand) -> PulledEntries) {
        let all = std::mem::take(self);
        for pop in all.pops.into_values().flatten().flat_map(|(_, lines)| lines).flat_map(|line| line.pops) {
            pop.1.reply.end(error.cloned());
        }
        for (_, pull) in all.pulls.into_values().flatten() {
            let entries = empty(&pull);
            tell(pull.reply, error.cloned().map_or(Ok(entries), |error| Err(PullError::Pop(error))));
        }
    }

    fn is_gone(&self, id: u64) -> bool {
        match self.places.get(&id) {
            Some(Place::Pop(line)) => {
                let lines = self.pops.get(&line.topic).and_then(|lines| lines.get(&line.key));
                let pop = lines.into_iter().flatten().find_map(|line| line.pops.get(&id));
                pop.is_none_or(|pop| pop.reply.is_closed())
            }
            Some(Place::Pull(topic)) => {
                let pull = self.pulls.get(topic).and_then(|pulls| pulls.get(&id));
                pull.is_none_or(|pull| pull.reply.is_closed())
            }
            None => true,
        }
    }

    fn remove(&mut self, id: u64) -> Option<(Option<PopCommand>, Option<PullCommand>)> {
        match self.places.remove(&id)? {
            Place::Pop(line) => {
                let pop = self.remove_pop(id, &line)?;
                self.deadlines.remove(&(pop.until, id));
                Some((Some(pop), None))
            }
            Place::Pull(topic) => {
                let pulls = self.pulls.get_mut(&topic)?;
                let pull = pulls.remove(&id)?;
                if pulls.is_empty() {
                    self.pulls.remove(&topic);
                }
                self.deadlines.remove(&(pull.until, id));
                Some((None, Some(pull)))
            }
        }
    }

    /// Takes a pop out of its line, and what is then empty with it.
    fn remove_pop(&mut self, id: u64, line: &LineName) -> Option<PopCommand> {
        let of_topic = self.pops.get_mut(&line.topic)?;
        let lines = of_topic.get_mut(&line.key)?;
        let index = lines.iter().position(|known| known.filter == line.filter)?;
        let pop = lines[index].pops.remove(&id)?;
        if lines[index].pops.is_empty() {
            lines.swap_remove(index);
        }
        if lines.is_empty() {
            of_topic.remove(&line.key);
        }
        if of_topic.is_empty() {
            self.pops.remove(&line.topic);
        }
        Some(pop)
    }
}

#[cfg(test)]
mod tests;
