//! How far the log of the masters has got, and when.

use broker::Status;
use types::Timestamp;

use crate::invariants::marks_rise;
use crate::report::Violation;

/// The marks of a master's log for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Counts processes.
    pub process: u32,
    /// When they were first seen, by the true clock.
    pub from: Timestamp,
    /// And last.
    pub until: Timestamp,
    /// See [`Status::appended_to`].
    pub appended_to: u64,
    /// See [`Status::durable_to`].
    pub durable_to: u64,
    /// See [`Status::visible_to`].
    pub visible_to: u64,
    /// See [`Status::confirmed_to`].
    pub confirmed_to: u64,
}

impl Sample {
    fn new(process: u32, now: Timestamp, status: &Status) -> Self {
        let Status { appended_to, durable_to, visible_to, confirmed_to, .. } = *status;
        Self { process, from: now, until: now, appended_to, durable_to, visible_to, confirmed_to }
    }

    fn has_the_marks_of(&self, other: &Self) -> bool {
        let Self { from, until, .. } = *self;
        *self == Self { from, until, ..*other }
    }
}

/// All since the first, of the log that there is now.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    samples: Vec<Sample>,
}

impl Progress {
    /// Looks at the marks of a process now.
    ///
    /// # Errors
    /// When one has gone back.
    pub(crate) fn note(&mut self, process: u32, now: Timestamp, status: &Status) -> Result<(), Violation> {
        let sample = Sample::new(process, now, status);
        let last = self.samples.last_mut().filter(|last| last.process == process);
        marks_rise::check(last.as_deref(), &sample)?;
        match last {
            Some(last) if last.has_the_marks_of(&sample) => last.until = now,
            _ => self.samples.push(sample),
        }
        Ok(())
    }

    /// The log goes on from `end`: what was behind that is no part of it.
    pub(crate) fn cut(&mut self, end: u64) {
        for Sample { appended_to, durable_to, visible_to, confirmed_to, .. } in &mut self.samples {
            [appended_to, durable_to, visible_to, confirmed_to].into_iter().for_each(|mark| *mark = end.min(*mark));
        }
    }

    /// Since when a mark may have been beyond `end`; `None` if it never was.
    pub(crate) fn since(&self, mark: impl Fn(&Sample) -> u64, end: u64) -> Option<Timestamp> {
        let first = self.samples.iter().position(|sample| mark(sample) > end)?;
        Some(first.checked_sub(1).map_or(self.samples[0].from, |before| self.samples[before].until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64, visible_to: u64) -> Sample {
        let marks = Sample {
            process: 1,
            from: Timestamp(at),
            until: Timestamp(at),
            appended_to: 100,
            durable_to: 0,
            visible_to,
            confirmed_to: 0,
        };
        Sample { until: Timestamp(at + 5), ..marks }
    }

    #[test]
    fn a_mark_was_beyond_an_end_since_it_was_last_seen_before_it() {
        let mut progress = Progress { samples: vec![sample(10, 1), sample(20, 2), sample(30, 4), sample(40, 5)] };
        assert_eq!(progress.since(|sample| sample.visible_to, 4), Some(Timestamp(35)));
        progress.cut(4);
        let since = |end| progress.since(|sample| sample.visible_to, end);
        assert_eq!(since(4), None, "what was behind the end is another log's");
        assert_eq!(since(3), Some(Timestamp(25)));
        assert_eq!(since(0), Some(Timestamp(10)));
    }
}
