//! The trace: a file of all events, and the checker that hears them as they are written.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::checker::Checker;
use crate::event::{Event, What};

/// Where all clients write what they see.
pub(crate) struct Trace {
    /// Held for one line.
    inner: Mutex<Inner>,
    kills: AtomicU32,
}

struct Inner {
    file: BufWriter<File>,
    failed: Option<std::io::Error>,
    checker: Checker,
}

impl Trace {
    /// A new trace in a new file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let inner = Inner { file: BufWriter::new(file), failed: None, checker: Checker::default() };
        Ok(Self { inner: Mutex::new(inner), kills: AtomicU32::new(0) })
    }

    /// Writes down what was seen just now.
    pub(crate) fn record(&self, what: What) {
        // The time is taken before the lock, so that waiting for it hides no delivery that was early.
        let event = Event { at_ms: now_ms(), what };
        let line = serde_json::to_string(&event).expect("events are plain data");
        let mut inner = self.lock();
        if let Err(error) = writeln!(inner.file, "{line}") {
            inner.failed.get_or_insert(error);
        }
        inner.checker.apply(&event);
        if let What::Killed { kills } = event.what {
            self.kills.store(kills + 1, Ordering::SeqCst);
        }
    }

    /// Kills so far.
    pub(crate) fn kills(&self) -> u32 {
        self.kills.load(Ordering::SeqCst)
    }

    /// Asks the checker.
    pub(crate) fn with_checker<T>(&self, ask: impl FnOnce(&mut Checker) -> T) -> T {
        ask(&mut self.lock().checker)
    }

    /// Brings all lines to the file.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut inner = self.lock();
        if let Some(error) = inner.failed.take() {
            return Err(error).context("writing the trace");
        }
        inner.file.flush().context("writing the trace")
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A checker that panicked has said why; what the others saw is still worth writing down.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a kept trace again.
pub(crate) fn check(path: &Path) -> Result<Checker> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut checker = Checker::default();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let event =
            serde_json::from_str(&line?).with_context(|| format!("line {} of {}", index + 1, path.display()))?;
        checker.apply(&event);
    }
    checker.finish();
    Ok(checker)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    #[test]
    fn a_trace_reads_back_as_it_was_checked() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("trace.jsonl");
        let trace = Trace::create(&path).expect("a file");
        trace.record(What::Began { seed: 7, groups: vec!["g".into()] });
        trace.record(What::Sending { key: "k".into(), kind: Kind::Delay { deliver_at_ms: i64::MAX } });
        trace.record(What::Sent { key: "k".into() });
        trace.record(What::Killed { kills: 0 });
        trace.flush().expect("written");
        assert_eq!(trace.kills(), 1);
        trace.with_checker(Checker::finish);
        let live = trace.with_checker(|checker| checker.violations().to_vec());
        assert_eq!(check(&path).expect("valid").violations(), live);
        assert_eq!(live.len(), 1);
    }
}
