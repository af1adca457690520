//! A bar for long work, on standard error and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use store::inspect::Progress;

/// Shows how far work is; gone when dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar of bytes that shows nothing before [`Self::show`].
    pub(crate) fn of_bytes() -> Self {
        Self::with(ProgressBar::no_length(), "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left")
    }

    /// `what` is counted up to `total`.
    pub(crate) fn counting(what: &'static str, total: u64) -> Self {
        Self::with(ProgressBar::new(total).with_message(what), "{msg} {wide_bar} {pos} of {len}, {eta} left")
    }

    fn with(bar: ProgressBar, form: &str) -> Self {
        Self(bar.with_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// Takes what a watcher is told.
    pub(crate) fn show(&self, progress: Progress) {
        self.0.set_length(progress.total_bytes);
        self.0.set_position(progress.done_bytes);
        if self.0.message() != progress.work {
            self.0.set_message(progress.work);
        }
    }

    /// So many more are done.
    pub(crate) fn add(&self, done: u64) {
        self.0.inc(done);
    }

    /// Prints while the bar steps aside.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
