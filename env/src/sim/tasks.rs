//! Simulated threads: tasks of the one thread there is, which now and then come late.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::BoxFuture;
use crate::tasks::Tasks;

/// One in so many wake-ups comes late, as threads do on a busy machine or in a slow system call.
const LATE_ONE_IN: u32 = 8;
/// How late at most.
const LATE_MS_MAX: u64 = 20;

/// What a panic carried.
type Panic = Box<dyn Any + Send>;

/// The threads of the current process.
pub struct SimTasks {
    /// Held to start a task and to take them all.
    running: Mutex<JoinSet<()>>,
    /// Where their delays come from; held for one draw.
    rng: Mutex<fastrand::Rng>,
    /// Nothing runs before; held for a look or a change.
    stalled_until: Arc<Mutex<Instant>>,
    /// Takes the first panic; one is enough to end the run.
    panics: mpsc::Sender<Panic>,
}

impl SimTasks {
    /// No threads yet, and where their panics arrive.
    pub(super) fn new(seed: u64) -> (Self, mpsc::Receiver<Panic>) {
        let (panics, arrived) = mpsc::channel(1);
        let rng = Mutex::new(fastrand::Rng::with_seed(seed));
        let stalled_until = Arc::new(Mutex::new(Instant::now()));
        (Self { running: Mutex::new(JoinSet::new()), rng, stalled_until, panics }, arrived)
    }

    /// The threads of another machine, whose panics arrive at the same place.
    pub(super) fn another(&self, seed: u64) -> Self {
        let rng = Mutex::new(fastrand::Rng::with_seed(seed));
        let stalled_until = Arc::new(Mutex::new(Instant::now()));
        Self { running: Mutex::new(JoinSet::new()), rng, stalled_until, panics: self.panics.clone() }
    }

    /// Lets nothing run for so long.
    pub(super) fn stall(&self, duration: Duration) {
        let mut stalled_until = self.stalled_until.lock();
        *stalled_until = (*stalled_until).max(Instant::now() + duration);
    }

    /// Stops all threads where they are; the next process is not stalled.
    pub(super) async fn stop(&self) {
        *self.stalled_until.lock() = Instant::now();
        let mut running = std::mem::take(&mut *self.running.lock());
        running.shutdown().await;
    }
}

impl Tasks for SimTasks {
    fn spawn_thread(&self, _name: &'static str, work: BoxFuture<()>) -> BoxFuture<()> {
        let (ended, wait) = oneshot::channel();
        let panics = self.panics.clone();
        let stalled_until = Arc::clone(&self.stalled_until);
        let mut late = Late { work, rng: self.rng.lock().fork(), stalled_until, pause: None };
        self.running.lock().spawn(async move {
            let polled =
                poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut late).poll(context))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
                    Err(panic) => Poll::Ready(Err(panic)),
                });
            match polled.await {
                // Nobody may be waiting for the end, which is fine.
                Ok(()) => drop(ended.send(())),
                // Not having been first is fine. Those who wait for the end do so until the run is ended.
                Err(panic) => {
                    drop(panics.try_send(panic));
                    std::future::pending().await
                }
            }
        });
        Box::pin(async move {
            // An error means that the process was stopped: then its work has ended too.
            let _ = wait.await;
        })
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        self.spawn_thread("blocking", Box::pin(async move { work() }))
    }
}

/// Work that is polled late now and then.
struct Late {
    work: BoxFuture<()>,
    rng: fastrand::Rng,
    stalled_until: Arc<Mutex<Instant>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for Late {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() && self.rng.u32(..LATE_ONE_IN) == 0 {
            let late = Duration::from_millis(self.rng.u64(1..=LATE_MS_MAX));
            self.pause = Some(Box::pin(sleep_until(Instant::now() + late)));
        }
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            let stalled_until = *self.stalled_until.lock();
            if stalled_until <= Instant::now() {
                break;
            }
            self.pause = Some(Box::pin(sleep_until(stalled_until)));
        }
        self.work.as_mut().poll(context)
    }
}
