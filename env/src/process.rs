//! The process itself.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Begins this program anew in the place of this process, with the same arguments and variables: whoever watches it sees one process. Nothing
/// of it may still be at work. Returns only if that fails.
#[must_use]
pub fn again() -> io::Error {
    match env::current_exe() {
        Ok(program) => Command::new(program).args(env::args_os().skip(1)).exec(),
        Err(error) => error,
    }
}
