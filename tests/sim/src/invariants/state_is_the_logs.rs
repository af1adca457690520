//! A slave that has followed its master from the first record on has the state that a replay of its log gives.

use crate::report::Violation;

/// Compares the checkpoint of a slave with that of a start without any derived file.
///
/// # Errors
/// When they differ.
pub fn check(followed: &[u8], replayed: &[u8]) -> Result<(), Violation> {
    if followed == replayed {
        return Ok(());
    }
    let same = followed.iter().zip(replayed).take_while(|(one, other)| one == other).count();
    let detail = format!("{} and {} bytes, the first {same} are the same", followed.len(), replayed.len());
    Err(Violation::new("a slave's state is what its log says", detail))
}
