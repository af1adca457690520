//! Tells background work to end.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const ABANDONED: u8 = 2;

/// One-way: running, then draining (finish what was begun), then abandoned (stop where you are).
pub(crate) struct Signal {
    state: AtomicU8,
    changed: Notify,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(RUNNING), changed: Notify::new() }
    }

    pub(crate) fn drain(&self) {
        self.raise(DRAINING);
    }

    pub(crate) fn abandon(&self) {
        self.raise(ABANDONED);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state.load(Ordering::Acquire) >= DRAINING
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == ABANDONED
    }

    /// Completes once draining or abandoned.
    pub(crate) async fn draining(&self) {
        self.reached(DRAINING).await;
    }

    /// Completes once abandoned.
    pub(crate) async fn abandoned(&self) {
        self.reached(ABANDONED).await;
    }

    fn raise(&self, state: u8) {
        self.state.fetch_max(state, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    async fn reached(&self, state: u8) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.state.load(Ordering::Acquire) >= state {
                return;
            }
            changed.await;
        }
    }
}
