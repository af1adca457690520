//! The process's bound on open files: every connection and every log segment is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: segments, index runs, checkpoints, the log.
const OTHERS: u64 = 1024;

/// Raises the bound as far as an ordinary user may, and says so when not all allowed connections fit below it: further
/// ones then wait until others end.
pub(crate) fn raise(connections_max: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let bound = if raised.is_ok() { maximum } else { current };
    let wanted = connections_max as u64 + OTHERS;
    if let Some(bound) = bound.filter(|bound| *bound < wanted) {
        tracing::info!(bound, wanted, "not all connections will fit in the open files that are allowed (ulimit -n)");
    }
}
