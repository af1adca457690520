//! Reads what the timer machine has spilled, beside the engine: the next entries that are due, one that is recalled, those of the
//! log's front. A run that is missing or damaged is made again from the log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use env::Disk;
use store::Scanner;
use types::{PhysicalOffset, Timestamp};

use super::change::{Change, changes};
use super::part::{Content, Source};
use super::run::{Name, Run};
use super::{Key, Waits};

/// Entries of one due time and identity that are looked at for a recall; more than one only if a producer gave one key twice.
const SAME_MAX: usize = 16;

/// A part's entries from a key on, in order.
pub(crate) enum Stream {
    Block { entries: Arc<[Waits]>, at: usize },
    File { run: Run, next_chunk: usize, chunk: Vec<Waits>, at: usize },
}

impl Stream {
    /// Opens a part from its first entry on that was not loaded. The text says why it cannot be read.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, source: &Source) -> Result<Self, String> {
        Self::open_at(disk, dir, source, source.next)
    }

    fn open_at(disk: &dyn Disk, dir: &Path, source: &Source, from: Key) -> Result<Self, String> {
        let from = from.max(source.next);
        match &source.content {
            Content::Block(entries) => {
                let at = entries.partition_point(|waits| waits.key() < from);
                Ok(Self::Block { entries: Arc::clone(entries), at })
            }
            Content::File | Content::Less(..) => {
                let run = Run::open(disk, dir, source.name)?;
                let first = run.chunk_of(from);
                let mut stream = Self::File { run, next_chunk: first, chunk: Vec::new(), at: 0 };
                while stream.peek()?.is_some_and(|waits| waits.key() < from) {
                    stream.skip();
                }
                Ok(stream)
            }
        }
    }

    fn peek(&mut self) -> Result<Option<Waits>, String> {
        match self {
            Self::Block { entries, at } => Ok(entries.get(*at).copied()),
            Self::File { run, next_chunk, chunk, at } => {
                if *at == chunk.len() && *next_chunk < run.chunks() {
                    (*chunk, *at) = (run.chunk(*next_chunk)?, 0);
                    *next_chunk += 1;
                }
                Ok(chunk.get(*at).copied())
            }
        }
    }

    fn skip(&mut self) {
        match self {
            Self::Block { at, .. } | Self::File { at, .. } => *at += 1,
        }
    }

    /// The next entry.
    pub(crate) fn take(&mut self) -> Result<Option<Waits>, String> {
        let next = self.peek()?;
        if next.is_some() {
            self.skip();
        }
        Ok(next)
    }
}

/// What is to be loaded: of all these parts the entries that are due until then, the earliest first and at most so many.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) epoch: u64,
    pub(crate) sources: Vec<Source>,
    pub(crate) until: Timestamp,
    pub(crate) max: usize,
}

/// What was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) epoch: u64,
    pub(crate) parts: Vec<LoadedPart>,
}

#[derive(Debug)]
pub(crate) struct LoadedPart {
    pub(crate) from: PhysicalOffset,
    pub(crate) taken: Vec<Waits>,
    /// The first entry that was not taken; `None` when there is no other.
    pub(crate) next: Option<Key>,
}

/// A step through a part for what lies in the log's front.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) source: Source,
    /// The step before ended there.
    pub(crate) after: Option<Key>,
    pub(crate) before: PhysicalOffset,
    pub(crate) max: usize,
}

/// What a step has found.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) found: Vec<Waits>,
    /// Where it ended; `None` at the part's end.
    pub(crate) after: Option<Key>,
}

/// The result of reading, and what was found out by it.
#[derive(Debug)]
pub(crate) struct Read<T> {
    pub(crate) value: T,
    /// Parts that were damaged, made again.
    pub(crate) remade: Vec<(Name, Arc<[Waits]>)>,
    /// Why a part could not be read and is missing from the result.
    pub(crate) problem: Option<String>,
}

/// Reads runs, and the log where they are damaged.
#[derive(Clone)]
pub(crate) struct Loader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    scanner: Scanner,
}

impl Loader {
    /// For the store in this directory.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, scanner: Scanner) -> Self {
        Self { disk, dir: dir.join(store::TIMERS_NAME), scanner }
    }

    /// The earliest entries of some parts. `is_wanted` is asked in long work; when it says `false` the result is of no use.
    pub(crate) fn load(&self, load: Load, is_wanted: &dyn Fn() -> bool) -> Read<Loaded> {
        let Load { epoch, sources, until, max } = load;
        let read = self.attempt(sources, is_wanted, |sources| {
            let mut streams = self.open_all(sources, |source| source.next)?;
            merge(sources, &mut streams, until, max)
        });
        Read { value: Loaded { epoch, parts: read.value }, remade: read.remade, problem: read.problem }
    }

    /// All entries of a part, those that were loaded as well: what is in memory may be written under the part's name, by which an older
    /// checkpoint knows all of them.
    pub(crate) fn read(&self, source: Source, is_wanted: &dyn Fn() -> bool) -> Read<Vec<(Name, Arc<[Waits]>)>> {
        let source = Source { next: (Timestamp(i64::MIN), PhysicalOffset(0)), ..source };
        self.attempt(vec![source], is_wanted, |sources| {
            let mut all = Vec::new();
            for (index, stream) in self.open_all(sources, |source| source.next)?.iter_mut().enumerate() {
                let mut entries = Vec::new();
                while let Some(waits) = stream.take().map_err(|problem| (index, problem))? {
                    entries.push(waits);
                }
                all.push((sources[index].name, entries.into()));
            }
            Ok(all)
        })
    }

    /// Positions of the entries of this due time and identity.
    pub(crate) fn find(
        &self,
        sources: Vec<Source>,
        due: Timestamp,
        identity: u64,
        is_wanted: &dyn Fn() -> bool,
    ) -> Read<Vec<PhysicalOffset>> {
        self.attempt(sources, is_wanted, |sources| {
            let mut found = Vec::new();
            let mut streams = self.open_all(sources, |_| (due, PhysicalOffset(0)))?;
            for (index, stream) in streams.iter_mut().enumerate() {
                while let Some(waits) = stream.take().map_err(|problem| (index, problem))?
                    && waits.due == due
                    && found.len() < SAME_MAX
                {
                    found.extend((waits.identity == identity).then_some(waits.offset));
                }
            }
            Ok(found)
        })
    }

    /// A step through a part.
    pub(crate) fn step(&self, step: Step, is_wanted: &dyn Fn() -> bool) -> Read<Stepped> {
        let Step { source, after, before, max } = step;
        let read = self.attempt(vec![source], is_wanted, |sources| {
            let (mut found, mut last) = (Vec::new(), after);
            let from = |source: &Source| after.map_or(source.next, just_behind);
            for (index, stream) in self.open_all(sources, from)?.iter_mut().enumerate() {
                for _ in 0..max {
                    let Some(waits) = stream.take().map_err(|problem| (index, problem))? else {
                        return Ok(Some(Stepped { found, after: None }));
                    };
                    last = Some(waits.key());
                    found.extend((waits.offset < before).then_some(waits));
                }
            }
            Ok(Some(Stepped { found, after: last }))
        });
        let value = read.value.unwrap_or(Stepped { found: Vec::new(), after });
        Read { value, remade: read.remade, problem: read.problem }
    }

    fn open_all(&self, sources: &[Source], from: impl Fn(&Source) -> Key) -> Result<Vec<Stream>, (usize, String)> {
        let open = |(index, source): (usize, &Source)| {
            Stream::open_at(&*self.disk, &self.dir, source, from(source)).map_err(|problem| (index, problem))
        };
        sources.iter().enumerate().map(open).collect()
    }

    /// Does something with some parts. One that cannot be read is tried once more, then made again from the log, then left out.
    fn attempt<T: Default>(
        &self,
        mut sources: Vec<Source>,
        is_wanted: &dyn Fn() -> bool,
        work: impl Fn(&[Source]) -> Result<T, (usize, String)>,
    ) -> Read<T> {
        let (mut remade, mut problem, mut tried) = (Vec::new(), None, BTreeSet::new());
        while !sources.is_empty() {
            let (index, why) = match work(&sources) {
                Ok(value) => return Read { value, remade, problem },
                Err(failed) => failed,
            };
            let name = sources[index].name;
            if tried.insert(name) {
                continue;
            }
            tracing::warn!(run = %name, problem = why, "a timer run cannot be used and is made again from the log");
            match remake(&self.scanner, name, is_wanted) {
                Ok(entries) => {
                    remade.push((name, Arc::clone(&entries)));
                    sources[index].content = Content::Block(entries);
                }
                Err(why) => {
                    problem = Some(format!("timer run {name}: {why}"));
                    sources.remove(index);
                }
            }
        }
        Read { value: T::default(), remade, problem }
    }
}

/// Takes the earliest entries of all streams, and says for each where it goes on.
fn merge(
    sources: &[Source],
    streams: &mut [Stream],
    until: Timestamp,
    max: usize,
) -> Result<Vec<LoadedPart>, (usize, String)> {
    let mut parts = Vec::with_capacity(sources.len());
    let mut firsts = BinaryHeap::with_capacity(sources.len());
    for (index, (source, stream)) in sources.iter().zip(&mut *streams).enumerate() {
        let next = stream.peek().map_err(|problem| (index, problem))?.map(|waits| waits.key());
        firsts.extend(next.map(|next| Reverse((next, index))));
        parts.push(LoadedPart { from: source.name.from, taken: Vec::new(), next });
    }
    for _ in 0..max {
        let Some(Reverse((_, index))) = firsts.pop().filter(|Reverse(((due, _), _))| *due <= until) else { break };
        let (part, stream) = (&mut parts[index], &mut streams[index]);
        part.taken.extend(stream.take().map_err(|problem| (index, problem))?);
        part.next = stream.peek().map_err(|problem| (index, problem))?.map(|waits| waits.key());
        firsts.extend(part.next.map(|next| Reverse((next, index))));
    }
    Ok(parts)
}

fn just_behind((due, offset): Key) -> Key {
    (due, offset.plus(1))
}

/// Makes a run again from the log. The text says why that cannot be.
fn remake(scanner: &Scanner, name: Name, is_wanted: &dyn Fn() -> bool) -> Result<Arc<[Waits]>, String> {
    let mut waiting = BTreeMap::new();
    let is_read = scanner.scan(name.from, name.seen_to, |record| {
        changes(record, |change| match change {
            Change::Stored(waits) if (name.from..name.to).contains(&waits.offset) => {
                waiting.insert(waits.key(), waits);
            }
            Change::Stored(_) => {}
            Change::Finished(due, offset) => drop(waiting.remove(&(due, offset))),
            Change::Reset => waiting.clear(),
        });
        is_wanted()
    })?;
    if is_read { Ok(waiting.into_values().collect()) } else { Err("the broker stops".to_owned()) }
}

#[cfg(test)]
mod tests;
