//! A directory of one run beside this program's build (so on the disk, not in memory), removed with its owner.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

/// See the module's head.
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A new one.
    pub(crate) fn fresh() -> Result<Self> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).context("the program is in no build directory")?;
        let run = format!("{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let directory = target.join("bench-data").join(run);
        std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self(directory))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What a server keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// What a server prints.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("server.log")
    }

    /// Fails when the disk has no room for this many bytes.
    pub(crate) fn ensure_free(&self, bytes: u64) -> Result<()> {
        let file_system = rustix::fs::statvfs(&self.0)?;
        let free = file_system.f_bavail * file_system.f_frsize;
        let gib = |bytes: u64| bytes >> 30;
        ensure!(free >= bytes, "{} GiB are free at {}, {} are needed", gib(free), self.0.display(), gib(bytes));
        Ok(())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}
