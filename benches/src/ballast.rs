//! Memory that the host backs already, held until a run takes it.
//!
//! A virtual machine gives free memory back to its host (`page_reporting`, balloon), and the first use of a page that was
//! given back is a fault in the host: here a kilobyte of page cache then costs 2 µs instead of 0.2 µs
//! (docs/performance.md). The no-op server stores nothing and pays nothing, so the ratio would measure the
//! host. Pages that a file in memory held a moment ago are not given back yet: each step of a run frees as many as it
//! may use.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// A file system in memory on every Linux.
const DIRECTORY: &str = "/dev/shm";
const CHUNK_BYTES: usize = 1024 * 1024;
/// Pause between two steps: well below the two seconds after which the kernel begins to give free pages back.
/// Source: Linux `mm/page_reporting.c`, `PAGE_REPORTING_DELAY`.
const STEP: Duration = Duration::from_millis(250);

/// Pages of a file in memory that has no name any more; free when it is dropped.
pub(crate) struct Ballast {
    file: File,
    bytes: u64,
}

impl Ballast {
    /// Takes this much memory, in bytes, and uses every page of it.
    pub(crate) fn fill(bytes: u64) -> Result<Self> {
        let path = Path::new(DIRECTORY).join(format!("gantry-bench-{}", std::process::id()));
        let context = || format!("{} for {bytes} bytes of ballast", path.display());
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).with_context(context)?;
        std::fs::remove_file(&path).with_context(context)?;
        let chunk = vec![1; CHUNK_BYTES];
        for at in (0..bytes).step_by(CHUNK_BYTES) {
            file.write_all_at(&chunk, at).with_context(context)?;
        }
        Ok(Self { file, bytes })
    }

    /// Frees all but this much.
    pub(crate) fn keep(&self, bytes: u64) -> Result<()> {
        Ok(self.file.set_len(bytes.min(self.bytes))?)
    }

    /// Frees all of it in equal steps within this time.
    pub(crate) async fn release_within(self, time: Duration) -> Result<()> {
        let steps = if self.bytes == 0 { 0 } else { (time.as_millis() / STEP.as_millis()).max(1) as u64 };
        for step in 1..=steps {
            self.keep(self.bytes - self.bytes * step / steps)?;
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ballast_is_taken_and_freed() {
        let ballast = Ballast::fill(3 * CHUNK_BYTES as u64).expect("room in memory");
        let file = ballast.file.try_clone().expect("a second handle");
        let allocated = || std::os::unix::fs::MetadataExt::blocks(&file.metadata().expect("its state")) * 512;
        assert_eq!(allocated(), 3 * CHUNK_BYTES as u64);
        ballast.release_within(Duration::from_secs(1)).await.expect("freed");
        assert_eq!(allocated(), 0);
    }
}
