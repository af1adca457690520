//! Loops that run beside the caller.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime;
use tokio::sync::oneshot;

use crate::clock::BoxFuture;

/// Starts background work.
pub trait Tasks: Send + Sync {
    /// Runs `work` on a thread of its own, named `name`; it may block in disk calls. In a simulation it is a
    /// task of the one thread there is. The returned future completes when `work` has ended.
    ///
    /// A panic of `work` ends the process, in a simulation the run: what waits for a dead loop must not hang.
    fn spawn_thread(&self, name: &'static str, work: BoxFuture<()>) -> BoxFuture<()>;

    /// Does what waits for the disk where the caller must not. The returned future completes when it is done; a panic goes on there, in a
    /// simulation as above. Needs a tokio runtime.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()>;
}

/// Threads of the operating system, each with a tokio runtime that knows time but no network.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsTasks;

impl Tasks for OsTasks {
    fn spawn_thread(&self, name: &'static str, work: BoxFuture<()>) -> BoxFuture<()> {
        let (ended, wait) = oneshot::channel();
        let body = move || {
            run_to_end(name, work);
            // Nobody may be waiting for the end, which is fine.
            let _ = ended.send(());
        };
        if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
            die(name, &error);
        }
        Box::pin(async move {
            // An error would mean a thread that ended without saying so: `run_to_end` ends the process before that.
            let _ = wait.await;
        })
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<()> {
        Box::pin(crate::blocking(work))
    }
}

/// Runs `work` on this thread; returns only if it ended by itself.
fn run_to_end(name: &'static str, work: impl Future<Output = ()>) {
    let mut builder = runtime::Builder::new_current_thread();
    // Others run first, and often leave work: then nobody has to wake this thread, which costs more than anything else it does.
    let built: io::Result<runtime::Runtime> = builder.enable_time().on_thread_park(std::thread::yield_now).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => die(name, &error),
    };
    // The panic hook has printed message and place when this returns.
    if catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))).is_err() {
        die(name, &"it panicked");
    }
}

/// Ends the process at once: without this thread requests would wait for ever.
fn die(name: &'static str, why: &dyn std::fmt::Display) -> ! {
    tracing::error!(thread = name, %why, "a thread that the broker cannot do without died; ending the process");
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn work_runs_on_a_named_thread_that_knows_time() {
        let (tell, told) = oneshot::channel();
        let work = async move {
            tokio::time::timeout(Duration::ZERO, std::future::pending::<()>()).await.expect_err("time passes");
            tell.send(std::thread::current().name().map(str::to_owned)).expect("the test waits");
        };
        OsTasks.spawn_thread("flusher", Box::pin(work)).await;
        assert_eq!(told.await.expect("it ended"), Some("flusher".to_owned()));
    }
}
