//! A record that is read is the one that was appended, from memory and from the disk alike.

use store::Reader;

use crate::log::Entry;
use crate::report::Violation;

const PROMISE: &str = "a record is read as it was appended";

/// Reads a record and compares it.
///
/// # Errors
/// When it cannot be read or differs.
pub async fn check(reader: &Reader, entry: &Entry) -> Result<(), Violation> {
    let violation = |detail: String| Violation::new(PROMISE, format!("{entry:?}: {detail}"));
    let read = reader.read(entry.physical_offset, entry.record_bytes).await;
    let bytes = read.map_err(|error| violation(error.to_string()))?;
    let record = record::decode(&bytes).map_err(|error| violation(error.to_string()))?;
    if entry.is(&record) { Ok(()) } else { Err(violation(format!("found {:?}", record.header))) }
}
