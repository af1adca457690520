//! Makes the next segment before it is needed, and keeps the log's reserve.

use std::sync::Arc;
use std::time::Duration;

use env::Clock;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Segment, Segments};
use crate::signal::Signal;

/// How often it is tried to have a reserve again.
const RESERVE_INTERVAL: Duration = Duration::from_secs(1);

/// Makes the next segment beside the engine.
pub(crate) struct Maker {
    segments: Arc<Segments>,
    /// Held for a move.
    next: Mutex<Next>,
    changed: Notify,
}

enum Next {
    Wanted { base: u64 },
    Making,
    Ready(Segment),
    Refused { base: u64, detail: String },
}

/// Why the next segment cannot be had now.
pub(crate) enum NotReady {
    Making,
    Refused { detail: String },
}

impl Maker {
    pub(crate) fn new(segments: Arc<Segments>, base: u64) -> Self {
        Self { segments, next: Mutex::new(Next::Wanted { base }), changed: Notify::new() }
    }

    /// Whether [`Maker::take`] would succeed. A refusal is told once; then it is tried again.
    pub(crate) fn check(&self) -> Result<(), NotReady> {
        let mut next = self.next.lock();
        match &*next {
            Next::Ready(_) => Ok(()),
            Next::Wanted { .. } | Next::Making => Err(NotReady::Making),
            Next::Refused { base, detail } => {
                let refused = NotReady::Refused { detail: detail.clone() };
                *next = Next::Wanted { base: *base };
                self.changed.notify_waiters();
                Err(refused)
            }
        }
    }

    /// The next segment; the one after it is made from now on. `None` when it is not ready.
    pub(crate) fn take(&self) -> Option<Segment> {
        let mut next = self.next.lock();
        let Next::Ready(segment) = &*next else { return None };
        let wanted = Next::Wanted { base: segment.base + self.segments.segment_bytes };
        let Next::Ready(segment) = std::mem::replace(&mut *next, wanted) else { return None };
        self.changed.notify_waiters();
        Some(segment)
    }

    /// Completes when the next segment is ready or was refused.
    pub(crate) async fn settled(&self) {
        self.until(|next| matches!(next, Next::Ready(_) | Next::Refused { .. })).await;
    }

    /// Makes segments as they are wanted, and a reserve as soon as there is room for one, until the store ends.
    pub(crate) async fn run(self: Arc<Self>, clock: Arc<dyn Clock>, signal: Arc<Signal>) {
        loop {
            self.segments.keep_reserve();
            let retry = async {
                if self.segments.reserve.is_wanted() {
                    clock.sleep(RESERVE_INTERVAL).await;
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                biased;
                () = signal.draining() => return,
                () = self.until(|next| matches!(next, Next::Wanted { .. })) => self.make(),
                () = retry => {}
            }
        }
    }

    fn make(&self) {
        let base = {
            let mut next = self.next.lock();
            let Next::Wanted { base } = *next else { return };
            *next = Next::Making;
            base
        };
        let made = self.segments.create(base);
        *self.next.lock() = match made {
            Ok(segment) => Next::Ready(segment),
            Err(error) => {
                tracing::warn!(%error, "the next log segment cannot be made");
                Next::Refused { base, detail: error.to_string() }
            }
        };
        self.changed.notify_waiters();
    }

    async fn until(&self, is_reached: impl Fn(&Next) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_reached(&self.next.lock()) {
                return;
            }
            changed.await;
        }
    }
}
