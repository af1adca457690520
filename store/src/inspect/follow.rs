//! Reading the log beyond damaged places, and finding its end beside a server that writes.

use record::Record;
use types::{PhysicalOffset, Timestamp};

use super::directory::Directory;
use crate::commit_log::End;
use crate::files;
use crate::recovery::search::{Behind, behind};
use crate::recovery::{NOTHING, Stop, Visitor, scan};

/// A visitor that also hears of what is no record.
pub(super) trait Follower: Visitor {
    /// From `at` on is no whole record; `next` is where one begins again.
    fn damage(&mut self, at: u64, next: Option<PhysicalOffset>, problem: &str);

    /// Whether it has seen enough.
    fn is_done(&self) -> bool;
}

/// Where a start would end the log, and why there.
pub(super) struct Ending {
    /// Behind the last record that counts.
    pub(super) end: End,
    /// Where the next record would have to be.
    pub(super) at: u64,
    /// What is wrong with what is there; `None` for zeros.
    pub(super) problem: Option<String>,
    /// What is behind; nothing when a server has only just written it.
    pub(super) behind: Behind,
}

impl Directory {
    /// Visits the records that a start would read from `from` on.
    pub(super) fn find_end(&self, from: End, visitor: &mut impl Visitor) -> Result<Ending, files::Error> {
        let limit = self.limit()?;
        let (mut from, mut is_again) = (from, false);
        loop {
            let (end, stop) = scan(&self.segments, from, None, visitor)?;
            let (at, problem) = match stop {
                Stop::Invalid { at, problem } => (at, Some(problem)),
                Stop::Nothing { at } => (at, None),
                Stop::Reached => (end.at.0, None),
            };
            let behind = behind(&self.segments, at, limit)?;
            if !self.is_in_use {
                return Ok(Ending { end, at, problem, behind });
            }
            // If something behind is whole, then what the server wrote before it is whole by now.
            let is_damaged = behind.record_at.is_some() && end.at == from.at && is_again;
            if is_damaged {
                return Ok(Ending { end, at, problem, behind });
            }
            if behind.record_at.is_none() || is_again {
                return Ok(Ending { end, at, problem, behind: Behind { record_at: None, written_at: None } });
            }
            (from, is_again) = (end, true);
        }
    }

    /// Visits the whole records from `from` to `to`, whatever is between them.
    pub(super) fn follow(&self, from: End, to: u64, follower: &mut impl Follower) -> Result<(), files::Error> {
        let (mut from, mut tried_at) = (from, None);
        loop {
            let (end, stop) = scan(&self.segments, from, Some(to), follower)?;
            if follower.is_done() {
                return Ok(());
            }
            let (at, problem) = match stop {
                Stop::Reached => return Ok(()),
                Stop::Invalid { at, problem } => (at, problem),
                Stop::Nothing { at } => (at, NOTHING.to_owned()),
            };
            let behind = behind(&self.segments, at, to)?;
            if self.is_in_use && behind.record_at.is_some() && tried_at != Some(at) {
                (from, tried_at) = (end, Some(at));
                continue;
            }
            if behind.record_at.is_some() || (behind.written_at.is_some() && !self.is_in_use) {
                follower.damage(at, behind.record_at, &problem);
            }
            let Some(next) = behind.record_at else { return Ok(()) };
            from = any(next);
        }
    }

    /// How many whole records there are from `from` on, whatever is between them.
    pub(super) fn count_from(&self, from: PhysicalOffset) -> Result<u64, files::Error> {
        struct Count(u64);
        impl Visitor for Count {
            fn record(&mut self, _: &Record<'_>) -> Result<(), String> {
                self.0 += 1;
                Ok(())
            }
        }
        impl Follower for Count {
            fn damage(&mut self, _: u64, _: Option<PhysicalOffset>, _: &str) {}

            fn is_done(&self) -> bool {
                false
            }
        }
        let mut count = Count(0);
        self.follow(any(from), self.limit()?, &mut count)?;
        Ok(count.0)
    }
}

/// A beginning at a record of which nothing before is known.
pub(super) fn any(at: PhysicalOffset) -> End {
    End { at, last: None, last_stored_at: Timestamp(i64::MIN) }
}
