//! A bar for long work, on standard error and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use store::inspect::Progress;

/// Shows how far work is; gone when dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar that shows nothing yet.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::no_length();
        let form = "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left";
        Self(bar.with_style(ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// Takes what a watcher is told.
    pub(super) fn show(&self, progress: Progress) {
        self.0.set_length(progress.total_bytes);
        self.0.set_position(progress.done_bytes);
        if self.0.message() != progress.work {
            self.0.set_message(progress.work);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
