//! A bar for work that goes on for a while, on standard error and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how many of a known number are done; gone when dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// `what` is counted up to `total`.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        let form = "{msg} {wide_bar} {pos} of {len}, {eta} left";
        let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(total).with_style(style).with_message(what))
    }

    /// So many more are done.
    pub(super) fn add(&self, done: u64) {
        self.0.inc(done);
    }

    /// Prints while the bar steps aside.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
