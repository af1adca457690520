//! What is fed by the log's records.

use record::Record;

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
    /// this with an older snapshot or [`Machine::reset`].
    ///
    /// # Errors
    /// [`RestoreError`] when the bytes are not a snapshot that this version understands.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), RestoreError>;

    /// Goes back to the state before the first record.
    fn reset(&mut self);
}

/// Why a snapshot is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("snapshot of {part}: {problem}")]
pub struct RestoreError {
    /// The machine.
    pub part: &'static str,
    /// What is wrong with its bytes.
    pub problem: &'static str,
}
