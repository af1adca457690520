//! The HTTP port: an accept loop with bounds that answers until it is told to stop, then finishes what it serves.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections at a time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 512;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;
/// A peer that has not sent a whole header by then is cut off: also the longest an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent HTTP/2 peer is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The wait after an accept that failed for want of a file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves until `stop`, then answers what was begun for at most `drain`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, drain: Duration) {
    let connections = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let accept_all = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => serve_connection(stream, router.clone(), &graceful, permit),
                Err(error) => back_off(&error).await,
            }
        }
    };
    tokio::select! {
        () = accept_all => {}
        () = stop.cancelled() => {}
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(?drain, "HTTP requests were cut off: they did not end in time");
    }
}

fn serve_connection(stream: TcpStream, router: Router, graceful: &GracefulShutdown, permit: OwnedSemaphorePermit) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX).keep_alive_interval(KEEP_ALIVE);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // Clients that just go away are normal.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "HTTP connection ended");
        }
        drop(permit);
    });
}

/// A peer that left before it was accepted costs nothing; any other error is likely to come again at once.
async fn back_off(error: &io::Error) {
    let is_peers = matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if !is_peers {
        tracing::warn!(%error, "HTTP connection not accepted");
        wait(ACCEPT_BACKOFF).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "front doors are not simulated")]
async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}
