//! What the store is compared with: files with room on the disk, written and synced by plain system calls.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use env::disk::OpenMode;
use env::disk::os::OsDisk;
use env::{Disk, File};
use store::SEGMENT_BYTES_LOCAL;

/// How often written bytes are synced, as the store does with async flush.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// Files as long as a log segment, made before the run.
pub(super) struct Files {
    files: Arc<[Arc<dyn File>]>,
    /// The file that is being written.
    current: Arc<AtomicUsize>,
    /// The next byte in it.
    at: u64,
}

impl Files {
    /// Room for `bytes`.
    pub(super) fn preallocate(directory: &Path, bytes: u64) -> Result<Self> {
        // One more, because each file's end may stay empty.
        let count = bytes.div_ceil(SEGMENT_BYTES_LOCAL) + 1;
        let make = |number| -> Result<Arc<dyn File>> {
            let path = directory.join(format!("{number:06}"));
            let file = OsDisk.open(&path, OpenMode::Create).with_context(|| path.display().to_string())?;
            file.allocate(SEGMENT_BYTES_LOCAL)?;
            Ok(file)
        };
        let files = (0..count).map(make).collect::<Result<Vec<_>>>()?;
        OsDisk.sync_dir(directory)?;
        Ok(Self { files: files.into(), current: Arc::default(), at: 0 })
    }

    /// Writes all slices by one `pwritev`, in the next file when this one has no room for them.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<()> {
        let bytes = slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        if self.at + bytes > SEGMENT_BYTES_LOCAL {
            let next = self.current.fetch_add(1, Ordering::AcqRel) + 1;
            ensure!(next < self.files.len(), "the {} files of the run are full", self.files.len());
            self.at = 0;
        }
        self.file().write_all_at(slices, self.at)?;
        self.at += bytes;
        Ok(())
    }

    /// Makes the file that is being written durable.
    pub(super) fn sync(&self) -> Result<()> {
        Ok(self.file().sync_data()?)
    }

    fn file(&self) -> &Arc<dyn File> {
        &self.files[self.current.load(Ordering::Acquire)]
    }

    /// Syncs twice a second beside the writer, until it is dropped.
    pub(super) fn sync_beside(&self) -> Syncer {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (files, current, stop) = (Arc::clone(&self.files), Arc::clone(&self.current), Arc::clone(&is_stopping));
        let thread = std::thread::spawn(move || {
            let mut from = 0;
            while !stop.load(Ordering::Acquire) {
                std::thread::park_timeout(SYNC_EVERY);
                let to = current.load(Ordering::Acquire);
                for file in &files[from..=to] {
                    // The run is about speed; a disk that fails is told by the next write.
                    drop(file.sync_data());
                }
                from = to;
            }
        });
        Syncer { is_stopping, thread: Some(thread) }
    }
}

/// The thread of [`Files::sync_beside`].
pub(super) struct Syncer {
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A run that has its figures does not fail for the end of this thread.
            drop(thread.join());
        }
    }
}
