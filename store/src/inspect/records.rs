//! The log's records, one after the other, for people and other programs.

use std::ops::{ControlFlow, Range};

use record::Record;
use types::PhysicalOffset;

use super::directory::Directory;
use super::follow::{Follower, any};
use super::{Steps, Watcher};
use crate::files;
use crate::recovery::Visitor;
use crate::recovery::search::behind;

/// What is met on the way through the log.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A whole record.
    Record(&'a Record<'a>),
    /// Something that is no whole record.
    Damage {
        /// Where it begins.
        at: PhysicalOffset,
        /// Where the next whole record begins.
        next: Option<PhysicalOffset>,
        /// What is wrong with it.
        problem: &'a str,
    },
}

impl Directory {
    /// Visits all that begins in `stretch`, in the log's order, until `visit` breaks. Where no record begins at its start,
    /// the first one behind is the first. Of a running server's log it sees what was complete when it was read.
    ///
    /// # Errors
    /// [`files::Error`] when the system refuses to show a file.
    pub fn records(
        &self,
        stretch: Range<PhysicalOffset>,
        watcher: &mut Watcher<'_>,
        visit: &mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    ) -> Result<(), files::Error> {
        let limit = self.limit()?;
        let (from, to) = (stretch.start.0.max(self.first()), stretch.end.0.min(limit));
        if from >= to {
            return Ok(());
        }
        let from = match from == self.first() {
            true => self.log_start(),
            false => match behind(&self.segments, from, to)?.record_at {
                Some(record_at) => any(record_at),
                None => return Ok(()),
            },
        };
        let steps = Steps::begin(watcher, "reading the log", to - from.at.0);
        let mut shown = Shown { from: from.at.0, visit, is_done: false, steps };
        self.follow(from, to, &mut shown)?;
        shown.steps.finish();
        Ok(())
    }
}

struct Shown<'a, 'w> {
    from: u64,
    visit: &'a mut dyn FnMut(Piece<'_>) -> ControlFlow<()>,
    is_done: bool,
    steps: Steps<'a, 'w>,
}

impl Visitor for Shown<'_, '_> {
    fn record(&mut self, record: &Record<'_>) -> Result<(), String> {
        self.steps.reach(record.header.physical_offset.0 - self.from);
        self.is_done = (self.visit)(Piece::Record(record)).is_break();
        if self.is_done { Err("enough is seen".to_owned()) } else { Ok(()) }
    }
}

impl Follower for Shown<'_, '_> {
    fn damage(&mut self, at: u64, next: Option<PhysicalOffset>, problem: &str) {
        self.is_done = (self.visit)(Piece::Damage { at: PhysicalOffset(at), next, problem }).is_break();
    }

    fn is_done(&self) -> bool {
        self.is_done
    }
}
