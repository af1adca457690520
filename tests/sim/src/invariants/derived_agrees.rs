//! What is derived from the log says what the log says: checkpoints, index runs and timer runs, as `gantry store verify` compares them.

use std::path::Path;

use env::Env;
use store::inspect::{Directory, Error, Finding, Meaning};

use crate::report::Violation;

/// Checks a directory that no process uses. Damage that a checksum shows is no violation: it is noticed and made good.
///
/// # Errors
/// When a file is whole and differs from the log, or nothing can be said.
pub fn check(env: &Env, dir: &Path) -> Result<(), Violation> {
    let promise = "what is derived from the log says what the log says";
    let report = match Directory::verify(&env.disk, dir, broker::check_snapshot, &mut |_| ()) {
        Ok(report) => report,
        // The first process died before it made one.
        Err(Error::NoStore { .. }) => return Ok(()),
        Err(error) => return Err(Violation::new(promise, error.to_string())),
    };
    match report.findings.iter().find(|finding| finding.meaning == Meaning::Altered) {
        None => Ok(()),
        Some(Finding { file, position, problem, .. }) => {
            Err(Violation::new(promise, format!("{}, position {position:?}: {problem}", file.display())))
        }
    }
}
