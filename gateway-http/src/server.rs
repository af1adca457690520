//! The HTTP port: an accept loop with bounds that answers until it is told to stop, then finishes what it serves. Plaintext and TLS on the
//! same port, as the gRPC port has them.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::IntoResponse;
use http::header::UPGRADE;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use remoting::accept::{begins_with_tls, no_certificate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::Hosts;
use crate::messaging::Peer;
use crate::router::Answers;

mod greeting;
mod streams;

use greeting::Greeting;
use streams::Streams;

/// What clients that speak TLS may agree on (ALPN).
pub const PROTOCOLS: &[&[u8]] = &[b"h2", b"http/1.1"];
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
    /// For its first byte with the TLS handshake if there is one, then for what tells the version of HTTP, and then for a whole header:
    /// also the longest an idle HTTP/1.1 connection is kept.
    header: Duration,
    /// For taking anything of its answer. What was leased for it and not written is free again then.
    write: Duration,
}

/// What is served on a port, and its bounds.
pub struct Door<R> {
    /// What answers.
    pub routes: R,
    /// What clients that speak TLS are shown; without it they are refused.
    pub tls: Option<Arc<ServerConfig>>,
    /// Under which names it may be asked.
    pub hosts: Hosts,
    /// Connections at a time; more wait to be accepted.
    pub connections_max: usize,
    /// How long what was begun may go on after a stop.
    pub drain: Duration,
}

/// The place of a connection among those that the port takes, put beside requests to upgrade it. Who goes on with the connection when HTTP has ended on
/// it, as a WebSocket does, keeps it: the place stays taken, and a stop waits.
#[derive(Clone, Debug)]
pub(crate) struct Place(
    #[expect(dead_code, reason = "it is kept, not read")] Arc<(OwnedSemaphorePermit, TaskTrackerToken)>,
);

/// Serves until `stop`, then answers what was begun.
pub async fn serve(listener: TcpListener, door: Door<impl Answers>, stop: CancellationToken) {
    serve_patiently(listener, door, stop, PATIENCE).await;
}

async fn serve_patiently(listener: TcpListener, door: Door<impl Answers>, stop: CancellationToken, patience: Patience) {
    let Door { routes, tls, hosts, connections_max, drain } = door;
    let connections = Arc::new(Semaphore::new(connections_max));
    let (graceful, places) = (GracefulShutdown::new(), TaskTracker::new());
    let front = Arc::new(Front { tls: tls.map(TlsAcceptor::from), hosts, patience, stop: stop.clone() });
    let accept_all = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = (stream, Peer(peer), Place(Arc::new((permit, places.token()))));
                    tokio::spawn(front.clone().serve(connection, routes.clone(), graceful.watcher()));
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
    places.close();
    let ended = async {
        graceful.shutdown().await;
        places.wait().await;
    };
    if tokio::time::timeout(drain, ended).await.is_err() {
        tracing::warn!(?drain, "HTTP requests were cut off: they did not end in time");
    }
}

/// What every connection is served with.
struct Front {
    tls: Option<TlsAcceptor>,
    hosts: Hosts,
    patience: Patience,
    stop: CancellationToken,
}

/// What a client turned out to speak, below HTTP.
enum Greeted {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Front {
    async fn serve(
        self: Arc<Self>,
        (stream, peer, place): (TcpStream, Peer, Place),
        routes: impl Answers,
        watcher: Watcher,
    ) {
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(self.patience.header, self.greet(stream)) => greeted,
            // Nothing was begun on this connection: it does not hold up the end.
            () = self.stop.cancelled() => return,
        };
        match greeted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten() {
            Ok(Greeted::Plain(stream)) => self.serve_http(stream, (peer, place), routes, watcher).await,
            Ok(Greeted::Tls(stream)) => self.serve_http(*stream, (peer, place), routes, watcher).await,
            // Port scanners, half-open connections, clients that do not believe the certificate: no news.
            Err(error) => tracing::debug!(%error, "HTTP connection refused"),
        }
    }

    async fn greet(&self, stream: TcpStream) -> io::Result<Greeted> {
        // A stream's event does not wait until the one before it is acknowledged.
        stream.set_nodelay(true)?;
        if !begins_with_tls(&stream).await? {
            return Ok(Greeted::Plain(stream));
        }
        let tls = self.tls.as_ref().ok_or_else(no_certificate)?;
        Ok(Greeted::Tls(Box::new(tls.accept(stream).await?)))
    }

    async fn serve_http<S>(self: Arc<Self>, stream: S, beside: (Peer, Place), routes: impl Answers, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, place) = beside;
        let Patience { header, write } = self.patience;
        let mut builder = auto::Builder::new(Streams::new(write));
        builder.http1().timer(TokioTimer::new()).header_read_timeout(header);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX).keep_alive_interval(KEEP_ALIVE);
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if request.headers().contains_key(UPGRADE) {
                request.extensions_mut().insert(place.clone());
            }
            let answered = self.hosts.check(&request).map(|()| routes.clone().call(request.map(Body::new)));
            async move {
                let response = match answered {
                    Ok(answered) => answered.await?,
                    Err(problem) => problem.into_response(),
                };
                Ok::<_, Infallible>(streams::watched(response))
            }
        });
        let mut stream = TimeoutWriter::new(Greeting::new(stream, header));
        stream.set_timeout(Some(write));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(Box::pin(stream)), service);
        // Clients that just go away are normal.
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%error, "HTTP connection ended");
        }
    }
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
pub(crate) async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests;
