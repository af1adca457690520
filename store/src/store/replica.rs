//! A replica's log: records as another log has them, at the same positions, with the index made anew from them.

use record::Peek;
use types::PhysicalOffset;

use super::Store;
use crate::commit_log::AppendError;
use crate::recovery;

/// Why records of another log were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// What is there is no record that may follow this log's last one: one of the two logs is damaged, or they have parted.
    #[error("the record at {at} does not continue the log: {problem}")]
    Unfit {
        /// Its position.
        at: PhysicalOffset,
        /// What is wrong with it.
        problem: String,
    },
    /// They cannot be appended now.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Store {
    /// Where the master's log may begin by now, when that is behind where this one begins, and what stands in for what was before is
    /// durable here: for [`Store::begin_expiry`].
    #[must_use]
    pub fn front_to_go(&self) -> Option<PhysicalOffset> {
        let (begins, end) = self.states.newest()?;
        let is_behind = begins > self.first() && begins == PhysicalOffset(self.segments.base_of(begins.0));
        (is_behind && end <= self.marks.durable_to()).then_some(begins)
    }

    /// Places whole records of another log in memory, as [`Store::append`] does, each at the position that it says: at the log's end, or
    /// where the next segment begins, which may happen once. They count as after a replay: checked, and in the index.
    ///
    /// # Errors
    /// [`StoredError`]; then those before the one that is to blame are placed, see [`Store::end`].
    pub fn append_stored(&mut self, records: &[u8]) -> Result<(), StoredError> {
        let mut rest = records;
        while !rest.is_empty() {
            rest = self.append_first(rest)?;
        }
        Ok(())
    }

    /// Places the first record; what is behind it.
    fn append_first<'a>(&mut self, records: &'a [u8]) -> Result<&'a [u8], StoredError> {
        let end = self.log.end();
        let unfit = |problem: String| StoredError::Unfit { at: end.at, problem };
        let Ok(Peek::Record { bytes }) = record::peek(records) else {
            return Err(unfit("no record begins there".to_owned()));
        };
        let (bytes, behind) = records
            .split_at_checked(bytes as usize)
            .ok_or_else(|| unfit(format!("it has {bytes} bytes, and {} are there", records.len())))?;
        let header = record::header(bytes).map_err(|error| unfit(error.to_string()))?;
        let at = header.physical_offset.0;
        if !self.log.next_stored().contains(&at) {
            return Err(unfit(format!("it says that it is at {at}")));
        }
        let unfit = |problem: String| StoredError::Unfit { at: PhysicalOffset(at), problem };
        if !self.log.has_room_at(at, bytes.len() as u64) {
            return Err(unfit(format!("it has {} bytes, which its segment has no room for", bytes.len())));
        }
        let record = recovery::check(bytes, at, end.last_stored_at, false).map_err(unfit)?;
        self.log.check_stored(at)?;
        recovery::enter(&mut self.index, &record, false).map_err(unfit)?;
        self.states.take(&record);
        self.log.place_stored(at, bytes, header.stored_at, records.len());
        Ok(behind)
    }

    /// Where the newest record begins, of all that are placed; `None` in a log without any.
    #[must_use]
    pub fn last(&self) -> Option<PhysicalOffset> {
        self.log.end().last
    }

    /// The end of the log with all that is placed.
    #[must_use]
    pub fn end(&self) -> PhysicalOffset {
        self.log.end().at
    }
}
