//! A master's log kept as bytes, of which nothing is read but where it ends: segments of one length, named by the position of their first
//! byte, as brokers have them.
//!
//! A segment is on the disk before the next one begins, so a power loss can only damage the last two.

use std::io::IoSlice;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use env::disk::OpenMode;
use env::{Disk, File};
use store::inspect::{self, Directory, Piece};
use store::{COMMIT_LOG_NAME, FileError, Flush};
use types::PhysicalOffset;

use crate::engine::LogEnd;
use crate::takeover::{failed, segments};

/// A log that is only added to. After an error nothing is added any more: what the disk has then is not known.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segment_bytes: u64,
    flush: Flush,
    end: LogEnd,
    /// The segment that is written to, and where it begins.
    active: Option<(u64, Arc<dyn File>)>,
    is_failed: bool,
}

/// Why the log was not opened or added to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the master sends is damaged.
    #[error("the record that the master sends at {at} is damaged: {problem}")]
    Damaged {
        /// Where.
        at: PhysicalOffset,
        /// What is wrong.
        problem: String,
    },
    /// Positions would not say the same.
    #[error("the master's log has segments of {theirs} bytes and this one of {ours}: begin with an empty directory")]
    Segments {
        /// The length of its segments.
        theirs: u64,
        /// Of ours.
        ours: u64,
    },
    /// A file failed before.
    #[error("the log's files failed before: this broker must be started anew")]
    Failed,
    /// What is there cannot be read.
    #[error(transparent)]
    Look(#[from] inspect::Error),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Log {
    /// Opens what is in a directory and cuts off what is not whole; where nothing is, the log begins at `first`. Blocks while it reads the
    /// last two segments.
    ///
    /// # Errors
    /// [`Error::Look`], [`Error::File`].
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        first: PhysicalOffset,
        flush: Flush,
    ) -> Result<Self, Error> {
        let folder = dir.join(COMMIT_LOG_NAME);
        disk.create_dir_all(&folder).map_err(failed("create directory", &folder))?;
        let bases = segments(&*disk, dir)?;
        let end = LogEnd { last: None, at: first };
        let mut log = Self { disk, folder, segment_bytes, flush, end, active: None, is_failed: false };
        if let Some(last) = bases.last() {
            log.check_length(&bases)?;
            // It may have been made just before a death.
            log.segment(*last, OpenMode::ReadWrite)?;
            log.end = log.find_end(dir, &bases)?;
            log.cut(&bases)?;
        }
        Ok(log)
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(super) fn end(&self) -> LogEnd {
        self.end
    }

    /// Files of another length must not be made longer or shorter. The only one may have been made just before a death.
    fn check_length(&self, bases: &[u64]) -> Result<(), Error> {
        let found = match bases {
            [first, second, ..] => second - first,
            _ => {
                let path = self.path(bases[0]);
                let file = self.disk.open(&path, OpenMode::Read).map_err(failed("open", &path))?;
                file.len().map_err(failed("measure", &path))?
            }
        };
        match found == self.segment_bytes || found == 0 {
            true => Ok(()),
            false => Err(Error::Segments { theirs: self.segment_bytes, ours: found }),
        }
    }

    fn find_end(&self, dir: &Path, bases: &[u64]) -> Result<LogEnd, Error> {
        let from = bases.len().checked_sub(2).map_or(bases[0], |before_last| bases[before_last]);
        let mut end = LogEnd { last: None, at: PhysicalOffset(from) };
        let directory = Directory::open(&self.disk, dir, crate::check_snapshot)?;
        directory
            .records(PhysicalOffset(from)..PhysicalOffset(u64::MAX), &mut |_| {}, &mut |piece| {
                let Piece::Record(record) = piece else { return ControlFlow::Break(()) };
                let at = record.header.physical_offset;
                end = LogEnd { last: Some(at), at: at.plus(record.header.record_bytes.into()) };
                ControlFlow::Continue(())
            })
            .map_err(inspect::Error::from)?;
        Ok(end)
    }

    /// Makes zeros of what is behind the end.
    fn cut(&mut self, bases: &[u64]) -> Result<(), FileError> {
        let base = self.base_of(self.end.at.0);
        for behind in bases.iter().filter(|behind| **behind > base) {
            let path = self.path(*behind);
            self.disk.remove(&path).map_err(failed("remove", &path))?;
        }
        self.disk.sync_dir(&self.folder).map_err(failed("sync", &self.folder))?;
        self.active = None;
        if !bases.contains(&base) {
            return Ok(());
        }
        let path = self.path(base);
        let file = self.disk.open(&path, OpenMode::ReadWrite).map_err(failed("open", &path))?;
        file.set_len(self.end.at.0 - base).map_err(failed("cut", &path))?;
        file.set_len(self.segment_bytes).map_err(failed("extend", &path))?;
        file.sync_data().map_err(failed("sync", &path))
    }

    /// The bytes of the last record; none without any.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn last_record(&mut self) -> Result<Bytes, Error> {
        let Some(last) = self.end.last else { return Ok(Bytes::new()) };
        let base = self.base_of(last.0);
        let path = self.path(base);
        let file = self.disk.open(&path, OpenMode::Read).map_err(failed("open", &path))?;
        let mut record = vec![0; usize::try_from(self.end.at.0 - last.0).unwrap_or(usize::MAX)];
        let read = file.read_at(&mut record, last.0 - base).map_err(failed("read", &path))?;
        record.truncate(read);
        Ok(record.into())
    }

    /// Adds whole records of one segment, of the next one if it is their place; answers where the log ends. They are on the disk on
    /// return if that is the rule.
    ///
    /// # Errors
    /// [`Error`]. Of damaged records nothing was added.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<PhysicalOffset, Error> {
        if self.is_failed {
            return Err(Error::Failed);
        }
        let end = check(records)?;
        let added = self.add(records);
        self.is_failed = added.is_err();
        added?;
        self.end = end;
        Ok(end.at)
    }

    fn add(&mut self, records: &[u8]) -> Result<(), FileError> {
        let Ok(first) = record::header(records) else { return Ok(()) };
        let at = first.physical_offset.0;
        if at != self.end.at.0 {
            let left = at - self.end.at.0;
            self.write(self.end.at.0, &record::blank(u32::try_from(left).unwrap_or(u32::MAX)))?;
            self.sync()?;
        }
        self.write(at, records)?;
        match self.flush {
            Flush::Sync => self.sync(),
            Flush::Async => Ok(()),
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), FileError> {
        let base = self.base_of(at);
        let path = self.path(base);
        let file = match &self.active {
            Some((active, file)) if *active == base => file.clone(),
            _ => {
                let is_there = self.disk.list(&self.folder).map_err(failed("list", &self.folder))?;
                let mode = match is_there.contains(&name_of(base)) {
                    true => OpenMode::ReadWrite,
                    false => OpenMode::Create,
                };
                self.segment(base, mode)?
            }
        };
        file.write_all_at(&[IoSlice::new(bytes)], at - base).map_err(failed("write", &path))
    }

    /// Opens or makes a segment of the full length.
    fn segment(&mut self, base: u64, mode: OpenMode) -> Result<Arc<dyn File>, FileError> {
        let path = self.path(base);
        let file = self.disk.open(&path, mode).map_err(failed("open", &path))?;
        file.set_len(self.segment_bytes).map_err(failed("extend", &path))?;
        self.disk.sync_dir(&self.folder).map_err(failed("sync", &self.folder))?;
        self.active = Some((base, file.clone()));
        Ok(file)
    }

    /// All that was added is on the disk on return.
    ///
    /// # Errors
    /// The system's; then nothing is added any more.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        let Some((base, file)) = &self.active else { return Ok(()) };
        let synced = file.sync_data().map_err(failed("sync", &self.path(*base)));
        self.is_failed |= synced.is_err();
        synced
    }

    /// Removes the segments that lie before a position, the first one first; never that which is written to.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn expire(&mut self, before: PhysicalOffset) -> Result<(), FileError> {
        let names = self.disk.list(&self.folder).map_err(failed("list", &self.folder))?;
        let active = self.base_of(self.end.last.unwrap_or(self.end.at).0);
        for base in names.iter().filter_map(|name| name.parse::<u64>().ok()) {
            if base < active && base + self.segment_bytes <= before.0 {
                let path = self.path(base);
                self.disk.remove(&path).map_err(failed("remove", &path))?;
            }
        }
        self.disk.sync_dir(&self.folder).map_err(failed("sync", &self.folder))
    }

    fn base_of(&self, at: u64) -> u64 {
        at - at % self.segment_bytes
    }

    fn path(&self, base: u64) -> PathBuf {
        self.folder.join(name_of(base))
    }
}

pub(super) fn name_of(base: u64) -> String {
    format!("{base:020}")
}

/// What a file has there; less where it cannot be read.
pub(super) fn content(file: &dyn File, at: u64, bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    let read = file.read_at(&mut content, at).unwrap_or_default();
    content.truncate(read);
    content
}

/// Where whole records end that follow each other and say that they are where the first is.
fn check(mut records: &[u8]) -> Result<LogEnd, Error> {
    let mut end: Option<LogEnd> = None;
    while !records.is_empty() {
        let decoded = record::decode(records).and_then(|record| record.check().map(|()| record));
        let at = end.map_or(PhysicalOffset(0), |end| end.at);
        let record = decoded.map_err(|error| Error::Damaged { at, problem: error.to_string() })?;
        let (found, bytes) = (record.header.physical_offset, record.header.record_bytes);
        if let Some(end) = end.filter(|end| end.at != found) {
            return Err(Error::Damaged { at: end.at, problem: format!("it says that it is at {found}") });
        }
        end = Some(LogEnd { last: Some(found), at: found.plus(bytes.into()) });
        records = records.get(bytes as usize..).unwrap_or_default();
    }
    end.ok_or_else(|| Error::Damaged { at: PhysicalOffset(0), problem: "there is none".to_owned() })
}

#[cfg(test)]
mod tests;
