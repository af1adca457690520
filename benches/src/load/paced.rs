//! Sends in an open loop: at a fixed rate, whatever the replies do.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::caller::{Caller, message};
use super::gauge::{Gauge, Window, Workers, measure};
use super::send::{MessageIds, body};
use super::{CONNECTIONS, remoting};
use crate::measurement::Measurement;
use crate::server::Server;

/// Time between two sends: 2,000 a second. Source: issue 3.
const SEND_EVERY: Duration = Duration::from_micros(500);
/// Sends without reply, a second's worth, at which the rate is given up.
const IN_FLIGHT_MAX: u32 = 2_000;

/// The server does not hold the rate.
#[derive(Debug)]
pub(crate) struct NotHeld;

impl std::fmt::Display for NotHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server does not hold 2,000 messages a second")
    }
}

impl std::error::Error for NotHeld {}

/// Sends one message every [`SEND_EVERY`] for the window, and fails with [`NotHeld`] when the server cannot hold that rate; nothing is
/// under way on return.
///
/// A latency runs from the request's own start to its reply. A late release by the pacing thread is the load
/// generator's and would only make two servers look more alike than they are.
pub(crate) async fn paced(server: &Server, window: Window) -> Result<Measurement> {
    let mut callers = Vec::new();
    for _ in 0..CONNECTIONS {
        callers.push(Caller::connect(server.address()).await?);
    }
    pace(server, callers, window).await
}

/// The same over Remoting.
pub(crate) async fn paced_by_remoting(server: &Server, window: Window) -> Result<Measurement> {
    let callers = (0..CONNECTIONS).map(|_| remoting::client(server.address())).collect();
    pace(server, callers, window).await
}

/// Sends single messages; clones share a connection.
trait SendOne: Clone + Send + 'static {
    /// One message, whose number is told too.
    fn send_one(&mut self, number: u64, id: String, body: Bytes) -> impl Future<Output = Result<()>> + Send;
}

impl SendOne for Caller {
    async fn send_one(&mut self, _number: u64, id: String, body: Bytes) -> Result<()> {
        self.send(vec![message(id, body)]).await
    }
}

impl SendOne for ::remoting::Client {
    async fn send_one(&mut self, number: u64, id: String, body: Bytes) -> Result<()> {
        remoting::send_one(self, &id, number.cast_signed(), body).await
    }
}

async fn pace(server: &Server, callers: Vec<impl SendOne>, window: Window) -> Result<Measurement> {
    let gauge = Arc::new(Gauge::default());
    let pacer = Pacer {
        callers,
        gauge: Arc::clone(&gauge),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize)),
        finished: Arc::default(),
        runtime: Handle::current(),
    };
    let mut workers = Workers::new();
    // A thread of its own, because the runtime's timers are a millisecond apart.
    workers.spawn_blocking(move || pacer.run());
    measure(server, &gauge, workers, window, u64::MAX).await
}

struct Pacer<C> {
    callers: Vec<C>,
    gauge: Arc<Gauge>,
    in_flight: Arc<Semaphore>,
    finished: Arc<Mutex<Finished>>,
    runtime: Handle,
}

#[derive(Default)]
struct Finished {
    latencies: Vec<Duration>,
    failed: Option<anyhow::Error>,
}

impl<C: SendOne> Pacer<C> {
    fn run(self) -> Result<Vec<Duration>> {
        let body = body();
        let mut ids = MessageIds::of_worker(0);
        let mut due = Instant::now();
        let mut released = Ok(());
        for (number, caller) in (0..).zip(self.callers.iter().cycle()) {
            if self.gauge.is_stopping() || released.is_err() {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due += SEND_EVERY;
            released = self.release(caller.clone(), number, ids.next(), body.clone());
        }
        // Every request has a deadline, so this ends.
        drop(self.runtime.block_on(self.in_flight.acquire_many(IN_FLIGHT_MAX))?);
        released?;
        let mut finished = self.lock()?;
        match finished.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut finished.latencies)),
        }
    }

    fn release(&self, mut caller: C, number: u64, id: String, body: Bytes) -> Result<()> {
        if let Some(error) = self.lock()?.failed.take() {
            return Err(error);
        }
        let permit = Arc::clone(&self.in_flight).try_acquire_owned();
        let permit = permit.map_err(|_| NotHeld)?;
        let (gauge, finished) = (Arc::clone(&self.gauge), Arc::clone(&self.finished));
        self.runtime.spawn(async move {
            let (is_measured, started) = (gauge.is_measuring(), Instant::now());
            let sent = caller.send_one(number, id, body).await;
            let latency = started.elapsed();
            gauge.add(1);
            if let Ok(mut finished) = finished.lock() {
                match sent {
                    Ok(()) if is_measured => finished.latencies.push(latency),
                    Ok(()) => {}
                    Err(error) => finished.failed = Some(error),
                }
            }
            drop(permit);
        });
        Ok(())
    }

    fn lock(&self) -> Result<std::sync::MutexGuard<'_, Finished>> {
        self.finished.lock().map_err(|_| anyhow!("a request panicked"))
    }
}
