//! Faults that a test asks for: errors of single calls, and the death of the process in the middle of one.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use super::FileId;

/// A kind of call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating a file, taking a lock.
    Open,
    /// Reading bytes, a length or a directory.
    Read,
    /// Writing bytes.
    Write,
    /// Making a file's bytes durable.
    Sync,
    /// Reserving room.
    Allocate,
    /// Setting a length.
    SetLen,
    /// Making a directory.
    CreateDir,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Making a directory's entries durable.
    SyncDir,
}

/// What becomes of a call.
pub(super) enum Verdict {
    /// It is done.
    Go,
    /// It fails, because a test wants it to.
    Fail(ErrorKind),
    /// It fails, because the process has died.
    Dead,
}

/// The faults to come.
#[derive(Default)]
pub(super) struct Faults {
    /// The call, how many of its kind come before, and what it fails with.
    errors: Vec<(Operation, u32, ErrorKind)>,
    /// Files whose bytes cannot be read.
    unreadable: BTreeSet<FileId>,
    /// How many changes the process has left to live.
    changes_left: Option<u32>,
    is_dead: bool,
    /// Whether the call that failed last may have been done in part.
    is_partial: bool,
}

impl Faults {
    pub(super) fn fail(&mut self, operation: Operation, nth: u32, kind: ErrorKind) {
        self.errors.push((operation, nth, kind));
    }

    pub(super) fn make_unreadable(&mut self, file: FileId) {
        self.unreadable.insert(file);
    }

    pub(super) fn die_at(&mut self, nth: u32) {
        self.changes_left = Some(nth);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Whether the call that failed just now may have been done in part; says so once.
    pub(super) fn take_partial(&mut self) -> bool {
        std::mem::take(&mut self.is_partial)
    }

    /// Counts a call, with the file if it is of an open one, and says what becomes of it.
    pub(super) fn judge(&mut self, operation: Operation, file: Option<FileId>) -> Verdict {
        self.is_partial = false;
        if self.is_dead {
            return Verdict::Dead;
        }
        if !matches!(operation, Operation::Open | Operation::Read) {
            match &mut self.changes_left {
                Some(0) => {
                    self.is_dead = true;
                    self.is_partial = true;
                    return Verdict::Dead;
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        if operation == Operation::Read && file.is_some_and(|file| self.unreadable.contains(&file)) {
            return Verdict::Fail(ErrorKind::Other);
        }
        match self.due(operation) {
            Some(kind) => {
                self.is_partial = true;
                Verdict::Fail(kind)
            }
            None => Verdict::Go,
        }
    }

    /// Counts a call down; the error that is due for it.
    fn due(&mut self, operation: Operation) -> Option<ErrorKind> {
        let mut due = None;
        self.errors.retain_mut(|(of, before, kind)| match (*of == operation, *before, due) {
            (true, 0, None) => {
                due = Some(*kind);
                false
            }
            (true, 1.., _) => {
                *before -= 1;
                true
            }
            _ => true,
        });
        due
    }
}

/// What a call of a dead process fails with.
pub(super) fn dead() -> io::Error {
    io::Error::other("the simulated process is dead")
}
