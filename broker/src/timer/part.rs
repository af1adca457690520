//! Waiting messages that have left the timer machine's memory: what the machine knows of each run.

use std::collections::BTreeSet;
use std::sync::Arc;

use store::{FileContent, MachineFile};
use types::PhysicalOffset;

use super::run::{self, Name};
use super::spill::Stream;
use super::{Key, Waits};
use crate::codec::{Input, Malformed, put_time, put_u64};

/// A run and how far it was taken up. About 200 bytes, and 40 for each entry that ended before its time.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: Name,
    pub(super) content: Content,
    /// The first entry that was not loaded; those before are the machine's, or have ended.
    pub(super) next: Key,
    /// How many there are from `next` on, about: ended ones count.
    pub(super) left: u64,
    /// Entries from `next` on that are not to be loaded: they have ended, or the machine has them.
    pub(super) gone: BTreeSet<Key>,
}

/// Where a part's entries are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In memory, all of them, and in no file yet that is whole.
    Block(Arc<[Waits]>),
    /// In the file of the part's name.
    File,
    /// In the file of this name, from a key on and without some: the part's own file is about to be made of it.
    Less(Name, Key, Arc<BTreeSet<Key>>),
}

/// A part, for those who read it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: Name,
    pub(crate) content: Content,
    pub(crate) next: Key,
}

impl Part {
    pub(super) fn source(&self) -> Source {
        Source { name: self.name, content: self.content.clone(), next: self.next }
    }

    /// Whether a record lies in this part's stretch of the log.
    pub(super) fn is_of(&self, offset: PhysicalOffset) -> bool {
        (self.name.from..self.name.to).contains(&offset)
    }

    /// Whether an entry of this part's stretch of the log is still its own.
    pub(super) fn has(&self, key: Key) -> bool {
        key >= self.next && !self.gone.contains(&key)
    }

    /// How many entries wait here, about.
    pub(super) fn len(&self) -> u64 {
        self.left.saturating_sub(self.gone.len() as u64)
    }

    /// Lets go of what has ended, at a position of the log. `is_kept` are entries that the machine has itself: where the
    /// part is made again from the log they are in it. A name stands for its content, so nothing changes where the log has not grown.
    pub(super) fn shrink(&mut self, at: PhysicalOffset, is_kept: impl Fn(&Key) -> bool) {
        if at == self.name.seen_to {
            return;
        }
        let (kept, gone): (BTreeSet<Key>, BTreeSet<Key>) =
            std::mem::take(&mut self.gone).into_iter().partition(is_kept);
        let (base, next) = (self.name, self.next);
        self.left = self.left.saturating_sub(gone.len() as u64);
        self.gone = kept;
        self.name.seen_to = at;
        self.content = match &self.content {
            Content::Block(entries) => {
                let stays = |waits: &&Waits| waits.key() >= next && !gone.contains(&waits.key());
                let entries: Arc<[Waits]> = entries.iter().filter(stays).copied().collect();
                self.left = entries.len() as u64;
                Content::Block(entries)
            }
            Content::File => Content::Less(base, next, Arc::new(gone)),
            Content::Less(..) => unreachable!("a file is made before anything else happens"),
        };
    }

    /// The file that a snapshot refers to.
    pub(super) fn file(&self) -> MachineFile {
        let name = self.name;
        let content: Option<FileContent> = match self.content.clone() {
            Content::File => None,
            Content::Block(entries) => Some(Arc::new(move |_, _| Ok(run::encode(name, &entries)))),
            Content::Less(base, next, gone) => Some(Arc::new(move |disk, dir| {
                let source = Source { name: base, content: Content::File, next };
                let mut stream = Stream::open(disk, dir, &source)?;
                let mut entries = Vec::new();
                while let Some(waits) = stream.take()? {
                    entries.extend((!gone.contains(&waits.key())).then_some(waits));
                }
                Ok(run::encode(name, &entries))
            })),
        };
        MachineFile { name: name.to_string(), content }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Name { from, to, seen_to } = self.name;
        [from, to, seen_to].iter().for_each(|position| put_u64(out, position.0));
        put_u64(out, self.left);
        put_key(out, self.next);
        put_u64(out, self.gone.len() as u64);
        self.gone.iter().for_each(|key| put_key(out, *key));
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (from, to, seen_to) = (input.physical_offset()?, input.physical_offset()?, input.physical_offset()?);
        let (left, next) = (input.u64()?, key(input)?);
        let mut gone = BTreeSet::new();
        for _ in 0..input.count()? {
            gone.insert(key(input)?);
        }
        Ok(Self { name: Name { from, to, seen_to }, content: Content::File, next, left, gone })
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        (self.name, self.next, self.left, &self.gone) == (other.name, other.next, other.left, &other.gone)
    }
}

fn put_key(out: &mut Vec<u8>, (due, offset): Key) {
    put_time(out, due);
    put_u64(out, offset.0);
}

fn key(input: &mut Input<'_>) -> Result<Key, Malformed> {
    Ok((input.time()?, input.physical_offset()?))
}
