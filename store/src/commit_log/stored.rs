//! A replica's end of the log: records as another log has them, where it has them.

use bytes::BytesMut;
use types::{PhysicalOffset, Timestamp};

use super::{AppendError, CommitLog, Staged, fits};

impl CommitLog {
    /// Where the next record of another log may be: at the end, or where the next segment begins, behind a blank.
    pub(crate) fn next_stored(&self) -> [u64; 2] {
        [self.end, self.segments.end_of(self.end)]
    }

    /// Whether a record of this length has room at one of [`CommitLog::next_stored`], by the rule of every log: a blank fits behind it.
    pub(crate) fn has_room_at(&self, at: u64, bytes: u64) -> bool {
        fits(bytes, self.left(at))
    }

    /// Whether there is a segment for a record there.
    pub(crate) fn check_stored(&self, at: u64) -> Result<(), AppendError> {
        if let Some(failed) = self.marks.failure() {
            return Err(failed.into());
        }
        if at == self.end {
            return Ok(());
        }
        self.has_next()
    }

    /// Places a record that [`CommitLog::check_stored`] has let pass, as it is. Neighbours lie together in memory; `room` is for those
    /// that are known to follow.
    pub(crate) fn place_stored(&mut self, at: u64, record: &[u8], stored_at: Timestamp, room: usize) {
        if at != self.end {
            self.roll();
        }
        assert_eq!(at, self.end, "a record is placed where it says that it is");
        match self.staged.last_mut().filter(|last| !last.is_blank && last.at.0 + last.bytes.len() as u64 == at) {
            Some(last) => last.bytes.extend_from_slice(record),
            None => {
                let mut bytes = BytesMut::with_capacity(room.max(record.len()));
                bytes.extend_from_slice(record);
                self.staged.push(Staged { at: PhysicalOffset(at), bytes, is_blank: false });
            }
        }
        self.starts.push(at);
        self.end += record.len() as u64;
        self.last = Some(PhysicalOffset(at));
        self.last_stored_at = stored_at.max(self.last_stored_at);
    }
}
