//! Reads that wait for a reader thread.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{ReadError, Request};

/// Most reads that wait for a thread; each is of the cold records of one receive.
pub(super) const WAITING_MAX: usize = 1024;

/// Served in the order in which they came. One that comes wakes one thread: with a channel that the threads share behind a
/// lock it would also wake the one that takes the lock next.
pub(super) struct Waiting {
    /// Held for a move.
    queue: Mutex<Queue>,
    /// A permit for each request in the queue.
    arrived: Semaphore,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    is_closed: bool,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { queue: Mutex::default(), arrived: Semaphore::new(0) }
    }
}

impl Waiting {
    /// Lets a request wait.
    ///
    /// # Errors
    /// [`ReadError::Busy`] at the bound, [`ReadError::Closed`].
    pub(super) fn push(&self, request: Request) -> Result<(), ReadError> {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(ReadError::Closed);
        }
        if queue.requests.len() >= WAITING_MAX {
            return Err(ReadError::Busy { waiting_max: WAITING_MAX });
        }
        queue.requests.push_back(request);
        drop(queue);
        self.arrived.add_permits(1);
        Ok(())
    }

    /// The request that came first.
    pub(super) async fn next(&self) -> Request {
        loop {
            // The semaphore itself is never closed.
            if let Ok(permit) = self.arrived.acquire().await {
                permit.forget();
            }
            if let Some(request) = self.queue.lock().requests.pop_front() {
                return request;
            }
        }
    }

    /// Nobody serves requests any more: those that wait get no answer, and no others are taken.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let left = std::mem::take(&mut queue.requests);
        drop(queue);
        // Their callers are told by this, outside of the lock.
        drop(left);
    }
}
