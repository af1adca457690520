//! What is fed by the log's records.

use env::Disk;
use record::Record;
use std::path::Path;
use std::sync::Arc;
use types::PhysicalOffset;

/// A machine over the log, or a set of machines behind one front: a plain value without I/O whose state changes by
/// records alone, so that replaying the log from any snapshot gives the same state.
pub trait Machine {
    /// Takes the next record of the log. Called for every record in the log's order: by the store at start-up, by
    /// the engine for what it has just appended.
    fn apply(&mut self, record: &Record<'_>);

    /// Writes the state to the end of `out`, in a form of the machine's own that carries its version. Equal
    /// states give equal bytes.
    fn snapshot(&self, out: &mut Vec<u8>);

    /// Replaces the state by that of a snapshot. After an error the state is unspecified; the store then calls
    /// this with an older snapshot or [`Machine::reset`], but opens nothing after [`RestoreError::Newer`].
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are not a snapshot that this version understands.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// Goes back to the state before the first record.
    fn reset(&mut self);

    /// Writes the state for the log itself: whole without any file, but for what [`Machine::apply_early`] finds in the records
    /// that the log still has.
    fn state(&self, out: &mut Vec<u8>) {
        self.snapshot(out);
    }

    /// As [`Machine::restore`], from what [`Machine::state`] wrote.
    ///
    /// # Errors
    /// [`RestoreError`].
    fn restore_state(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.restore(state)
    }

    /// Takes a record that lies before the state in the log from which this was restored, for what such a state leaves to
    /// the records. Called for all of them that the log still has, in order, after [`Machine::restore_state`].
    fn apply_early(&mut self, _: &Record<'_>) {}

    /// The files that a snapshot taken now refers to.
    fn files(&self) -> Vec<MachineFile> {
        Vec::new()
    }

    /// All files of [`Machine::files`] as they were at `at` are on the disk.
    fn filed(&mut self, _at: PhysicalOffset) {}

    /// In a long replay: moves what need not be in memory to files. The log is durable up to `at`, where the replay is.
    fn spill(&mut self, _at: PhysicalOffset) {}
}

/// A file of a machine's own in the folder `timers`: derived from the log, and of use only to the checkpoint that refers to it.
#[derive(Clone)]
pub struct MachineFile {
    /// Its name, which no file of another content ever has in the same log.
    pub name: String,
    /// Makes what it holds; `None` when it is on the disk already.
    pub content: Option<FileContent>,
}

/// Makes a file's content on the thread that writes it; is given the folder, for what it is made of. The text says why it
/// cannot: then there is no such file, and the machine makes it good.
pub type FileContent = Arc<dyn Fn(&dyn Disk, &Path) -> Result<Vec<u8>, String> + Send + Sync>;

/// Why a snapshot is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is no snapshot.
    #[error("snapshot of {part}: {problem}")]
    Malformed {
        /// The machine.
        part: &'static str,
        /// What is wrong with its bytes.
        problem: &'static str,
    },
    /// A newer program wrote it.
    #[error("snapshot of version {found}, this version knows up to {known}: use the newer version")]
    Newer {
        /// Its version.
        found: u32,
        /// The newest known.
        known: u32,
    },
}
