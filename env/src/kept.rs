//! Files that are kept whole: read at the start, written anew at each change.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Env;
use crate::disk::OpenMode;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too long or not what is expected.
    #[error("{} is no {what}: {detail}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What was expected.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// It cannot be written; what was asked for holds until the process ends.
    #[error("cannot write {}: {source}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A file; copies are the same.
#[derive(Clone)]
pub struct Kept {
    env: Env,
    /// What is in it, for people.
    what: &'static str,
    /// Held while it is written, so that an older state never follows a newer one.
    file: Arc<Mutex<PathBuf>>,
}

impl Kept {
    /// The file at this path; it need not be there.
    #[must_use]
    pub fn new(env: Env, what: &'static str, file: PathBuf) -> Self {
        Self { env, what, file: Arc::new(Mutex::new(file)) }
    }

    /// What `parse` makes of it, or nothing when it is not there. Blocks.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Unusable`].
    pub fn read<T, E: std::fmt::Display>(
        &self,
        bytes_max: u64,
        parse: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, Error> {
        let file = self.file.lock();
        let unusable = |detail| Error::Unusable { file: file.clone(), what: self.what, detail };
        match bytes_of(&self.env, &file, bytes_max) {
            Ok(None) => Ok(None),
            Ok(Some(Ok(text))) => parse(&text).map(Some).map_err(|error| unusable(error.to_string())),
            Ok(Some(Err(TooLong(bytes)))) => Err(unusable(format!("it has {bytes} bytes, limit is {bytes_max}"))),
            Err(source) => Err(Error::Read { file: file.clone(), source }),
        }
    }

    /// Gives it another name, with `.damaged` behind it, so that the next write does not lose it. Blocks.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn set_aside(&self) -> Result<PathBuf, Error> {
        let file = self.file.lock();
        let aside = file.with_added_extension("damaged");
        self.env.disk.rename(&file, &aside).map_err(|source| Error::Write { file: file.clone(), source })?;
        Ok(aside)
    }

    /// Writes what `text` makes then; on the disk on return. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub async fn write(&self, text: impl FnOnce() -> Vec<u8> + Send + 'static) -> Result<(), Error> {
        let (kept, (done, written)) = (self.clone(), oneshot::channel());
        let write = move || {
            let file = kept.file.lock();
            let written = replace(&kept.env, &file, &text());
            drop(done.send(written.map_err(|source| Error::Write { file: file.clone(), source })));
        };
        self.env.tasks.spawn_blocking(Box::new(write)).await;
        match written.await {
            Ok(written) => written,
            // The simulated process has ended before it was done.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Longer than it may be: its bytes.
struct TooLong(u64);

fn bytes_of(env: &Env, file: &Path, bytes_max: u64) -> io::Result<Option<Result<Vec<u8>, TooLong>>> {
    let opened = match env.disk.open(file, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let bytes = opened.len()?;
    if bytes > bytes_max {
        return Ok(Some(Err(TooLong(bytes))));
    }
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    // Fewer only if somebody has cut the file meanwhile.
    if opened.read_at(&mut text, 0)? < text.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(Ok(text)))
}

/// Beside the file first, so that it is the old or the new one whenever the power fails.
fn replace(env: &Env, file: &Path, text: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    env.disk.create_dir_all(folder)?;
    let new = file.with_added_extension("new");
    let opened = env.disk.open(&new, OpenMode::Create)?;
    opened.write_all_at(&[IoSlice::new(text)], 0)?;
    opened.sync_data()?;
    env.disk.rename(&new, file)?;
    env.disk.sync_dir(folder)
}
