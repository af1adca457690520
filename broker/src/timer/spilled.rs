//! What the timer machine does with parts: sealing, loading, letting go.

use super::spill::{Load, Loaded, LoadedPart, Step};
use super::*;

/// Behind every entry.
const END: Key = (Timestamp(i64::MAX), PhysicalOffset(u64::MAX));

impl Timer {
    /// The parts' files, for [`store::Machine::files`].
    pub(crate) fn files(&self) -> Vec<MachineFile> {
        self.parts.iter().map(Part::file).collect()
    }

    /// The files of all parts that were sealed up to `at` are on the disk.
    pub(crate) fn filed(&mut self, at: PhysicalOffset) {
        for part in self.parts.iter_mut().filter(|part| part.name.seen_to <= at) {
            part.content = Content::File;
        }
    }

    /// Whether a checkpoint makes sense for the sake of memory.
    pub(crate) fn wants_files(&self) -> bool {
        let is_unfiled = |part: &Part| matches!(part.content, Content::Block(_));
        self.young.len() >= self.bounds.young_max || self.parts.iter().any(is_unfiled)
    }

    /// Lets go of what has ended in parts that are in memory, when the log ends at `at`. From then on [`Timer::is_waiting`] cannot tell of
    /// what has been let go of that it waits no longer: nobody may have read of it before and ask later.
    pub(crate) fn let_go(&mut self, at: PhysicalOffset) {
        for index in 0..self.parts.len() {
            if matches!(self.parts[index].content, Content::Block(_)) && !self.parts[index].gone.is_empty() {
                self.shrink(index, at);
            }
        }
    }

    /// Makes a part of the youngest entries, if there are enough of them, when the log ends at `at`. What is due soon stays in memory.
    pub(crate) fn seal(&mut self, at: PhysicalOffset) {
        if self.young.len() < self.bounds.young_max {
            return;
        }
        let entries: Vec<Waits> =
            std::mem::take(&mut self.young).into_iter().map(|(key, w)| Waits::of(key, w)).collect();
        debug_assert!(entries.iter().all(|waits| waits.offset < at), "a part is made of what the log has");
        let soon = self.now.plus(self.bounds.ahead);
        let room = self.bounds.near_max.saturating_sub(self.near.len());
        let kept = entries.iter().take(room).take_while(|waits| waits.due <= soon).count();
        self.near.extend(entries[..kept].iter().map(|waits| (waits.key(), waits.waiting())));
        let before = std::mem::replace(&mut self.sealed_to, at);
        let (Some(from), Some(next)) =
            (entries.iter().map(|waits| waits.offset).min(), entries.get(kept).map(Waits::key))
        else {
            return;
        };
        // Made again from the log the part has these, too.
        let is_ours = |key: &&Key| key.1 >= before && **key >= next;
        let gone: BTreeSet<Key> = self.delivering.keys().filter(is_ours).copied().collect();
        let name = Name { from, to: at, seen_to: at };
        let left = (entries.len() - kept + gone.len()) as u64;
        self.parts.push(Part { name, content: Content::Block(entries.into()), next, left, gone });
    }

    /// As [`Timer::seal`] in a replay, where parts' files can be made anew at once.
    pub(crate) fn spill(&mut self, at: PhysicalOffset) {
        self.let_go(at);
        self.seal(at);
        for index in 0..self.parts.len() {
            let part = &self.parts[index];
            if matches!(part.content, Content::File) && part.gone.len() as u64 * 2 >= part.left.max(1) {
                self.shrink(index, at);
            }
        }
    }

    fn shrink(&mut self, index: usize, at: PhysicalOffset) {
        let (near, delivering) = (&self.near, &self.delivering);
        self.parts[index].shrink(at, |key| near.contains_key(key) || delivering.contains_key(key));
        self.epoch += 1;
    }

    /// A part that is to be read into memory, so that [`Timer::seal`] lets go of what has ended in it.
    pub(crate) fn part_to_shrink(&self) -> Option<Source> {
        let gone = self.gone();
        let is_crowded = gone * 2 >= self.bounds.gone_max;
        let is_to_shrink = |part: &&Part| {
            let own = part.gone.len();
            let is_many = own as u64 * 2 >= part.left || is_crowded && own * self.parts.len() * 2 >= gone;
            matches!(part.content, Content::File) && own > 0 && is_many
        };
        self.parts.iter().filter(is_to_shrink).max_by_key(|part| part.gone.len()).map(Part::source)
    }

    fn gone(&self) -> usize {
        self.parts.iter().map(|part| part.gone.len()).sum()
    }

    /// Whether no other entry of a file may be recalled until files are made anew: then how many have been.
    pub(crate) fn is_gone_full(&self) -> Option<usize> {
        (self.gone() >= self.bounds.gone_max).then_some(self.bounds.gone_max)
    }

    /// What is to be loaded now.
    pub(crate) fn load(&self, now: Timestamp) -> Option<Load> {
        self.next_load().filter(|at| *at <= now)?;
        let is_room = self.near.len() < self.bounds.near_max;
        let until = if is_room { now.plus(self.bounds.ahead) } else { now };
        let sources = self.parts.iter().filter(|part| part.next.0 <= until).map(Part::source).collect();
        Some(Load { epoch: self.epoch, sources, until, max: self.bounds.load_max })
    }

    /// When something is to be loaded. Where there is no room before, it is when it is due, and only if it is the first.
    pub(crate) fn next_load(&self) -> Option<Timestamp> {
        let next = self.parts.iter().map(|part| part.next).min()?;
        if self.near.len() < self.bounds.near_max {
            return Some(Timestamp(next.0.0.saturating_sub(self.bounds.ahead.as_millis() as i64 / 2)));
        }
        self.near.first_key_value().is_none_or(|(first, _)| *first > next).then_some(next.0)
    }

    /// Takes what was loaded. What was read before entries ended and left their part is of no use.
    pub(crate) fn loaded(&mut self, loaded: Loaded) {
        if loaded.epoch != self.epoch {
            return;
        }
        for LoadedPart { from, taken, next } in loaded.parts {
            let expired_to = self.expired_to;
            let Some(index) = self.parts.iter().position(|part| part.name.from == from) else { continue };
            let part = &mut self.parts[index];
            let waits = |waits: &&Waits| part.has(waits.key()) && waits.offset >= expired_to;
            self.near.extend(taken.iter().filter(waits).map(|waits| (waits.key(), waits.waiting())));
            part.left = part.left.saturating_sub(taken.len() as u64);
            part.next = next.unwrap_or(END);
            part.gone = part.gone.split_off(&part.next);
            if next.is_none() {
                self.parts.remove(index);
            }
        }
    }

    /// Parts were read into memory, because their files are damaged or to be made anew.
    pub(crate) fn read(&mut self, parts: impl IntoIterator<Item = (Name, std::sync::Arc<[Waits]>)>) {
        for (name, entries) in parts {
            if let Some(part) = self.parts.iter_mut().find(|part| part.name == name) {
                part.left = entries.iter().filter(|waits| waits.key() >= part.next).count() as u64;
                part.content = Content::Block(entries);
            }
        }
    }

    /// The parts that may have an entry of this due time.
    pub(crate) fn parts_at(&self, due: Timestamp) -> Vec<Source> {
        self.parts.iter().filter(|part| part.next <= (due, END.1)).map(Part::source).collect()
    }

    /// All parts.
    pub(crate) fn all_parts(&self) -> Vec<Source> {
        self.parts.iter().map(Part::source).collect()
    }

    /// A step through the first part behind one that begins at `behind`, for entries of before a position of the log. `after` is
    /// where the last step ended if it was in the same part.
    pub(crate) fn step(
        &self,
        behind: Option<PhysicalOffset>,
        after: Option<Key>,
        before: PhysicalOffset,
        max: usize,
    ) -> Option<Step> {
        let is_next = |part: &&Part| behind.is_none_or(|behind| part.name.from > behind) && part.name.from < before;
        self.parts.iter().find(is_next).map(|part| Step { source: part.source(), after, before, max })
    }

    /// The log begins at `first` now. Returns how many entries were in parts that are gone with what was before.
    pub(crate) fn expire(&mut self, first: PhysicalOffset) -> u64 {
        self.expired_to = first;
        let gone = self.parts.extract_if(.., |part| part.name.to <= first);
        gone.map(|part| part.len()).sum()
    }

    pub(super) fn part_of(&mut self, offset: PhysicalOffset) -> Option<&mut Part> {
        let index = self.parts.partition_point(|part| part.name.to <= offset);
        self.parts.get_mut(index).filter(|part| part.is_of(offset))
    }
}
