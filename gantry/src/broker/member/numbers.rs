//! What metrics show of a broker that ends and starts anew: of the one that runs, and between two what was known last. Counts begin anew
//! with each role.

use std::sync::Arc;

use ::broker::{LocalBroker, Status};
use parking_lot::Mutex;
use remoting_proto::body::HaStatus;

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Numbers {
    /// Held for a look or a change.
    shown: Arc<Mutex<Shown>>,
}

#[derive(Default)]
struct Shown {
    running: Option<Running>,
    last: (Status, HaStatus),
}

struct Running {
    broker: LocalBroker,
    replication: Box<dyn Fn() -> HaStatus + Send>,
}

impl Numbers {
    /// This one runs from now on.
    pub(super) fn begin(&self, broker: LocalBroker, replication: impl Fn() -> HaStatus + Send + 'static) {
        self.shown.lock().running = Some(Running { broker, replication: Box::new(replication) });
    }

    /// It ends: nothing of it is held here any longer.
    pub(super) fn end(&self) {
        let mut shown = self.shown.lock();
        if let Some(Running { broker, replication }) = shown.running.take() {
            shown.last = (broker.status(), replication());
        }
    }

    /// Of the broker.
    pub(super) fn status(&self) -> Status {
        let Shown { running, last } = &*self.shown.lock();
        running.as_ref().map_or_else(|| last.0.clone(), |running| running.broker.status())
    }

    /// Of its slaves, or its master.
    pub(super) fn replication(&self) -> HaStatus {
        let Shown { running, last } = &*self.shown.lock();
        running.as_ref().map_or_else(|| last.1.clone(), |running| (running.replication)())
    }
}
