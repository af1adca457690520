//! The HTTP port: an accept loop with bounds that answers until it is told to stop, then finishes what it serves.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::messaging::Peer;
use crate::router::Answers;

mod greeting;
mod streams;

use greeting::Greeting;
use streams::Streams;

/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;
/// How long peers may keep the server waiting.
const PATIENCE: Patience = Patience { header: Duration::from_secs(30), write: Duration::from_secs(30) };
/// How often a silent HTTP/2 peer is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The wait after an accept that failed for want of a file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long a peer may keep the server waiting before it is cut off.
#[derive(Clone, Copy)]
struct Patience {
    /// For its first bytes, and then for a whole header: also the longest an idle HTTP/1.1 connection is kept.
    header: Duration,
    /// For taking anything of its answer. What was leased for it and not written is free again then.
    write: Duration,
}

/// Serves at most `connections_max` connections until `stop`, then answers what was begun for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    routes: impl Answers,
    connections_max: usize,
    stop: CancellationToken,
    drain: Duration,
) {
    serve_patiently(listener, routes, connections_max, stop, drain, PATIENCE).await;
}

async fn serve_patiently(
    listener: TcpListener,
    routes: impl Answers,
    connections_max: usize,
    stop: CancellationToken,
    drain: Duration,
    patience: Patience,
) {
    let connections = std::sync::Arc::new(Semaphore::new(connections_max));
    let graceful = GracefulShutdown::new();
    let accept_all = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    serve_connection(stream, Peer(peer), routes.clone(), &graceful, permit, patience);
                }
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

fn serve_connection(
    stream: TcpStream,
    peer: Peer,
    routes: impl Answers,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
    patience: Patience,
) {
    // A stream's event does not wait until the one before it is acknowledged.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "HTTP connection refused");
        return;
    }
    let mut builder = auto::Builder::new(Streams::new(patience.write));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.header);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX).keep_alive_interval(KEEP_ALIVE);
    let with_peer = move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.map(Body::new)
    };
    let service = TowerToHyperService::new(routes.map_request(with_peer).map_response(streams::watched));
    let mut stream = TimeoutWriter::new(Greeting::new(stream, patience.header));
    stream.set_timeout(Some(patience.write));
    let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service).into_owned();
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

/// A wait that is looked at beside something else.
type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

#[expect(clippy::disallowed_methods, reason = "front doors are not simulated")]
async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests;
