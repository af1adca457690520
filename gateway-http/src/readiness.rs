//! Whether new work may be sent here: told by the process that starts and drains, asked by `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that all its clones share; not ready at first.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Whether new work is welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Says that everything serves.
    pub fn set_ready(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Says that the process is stopping.
    pub fn set_draining(&self) {
        self.0.store(false, Ordering::Release);
    }
}
