//! The HTTP port: an accept loop with bounds that answers until it is told to stop, then finishes what it serves.

use std::io;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::messaging::Peer;

/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;
/// A peer that has not sent a whole header by then is cut off: also the longest an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that takes nothing of its answer for so long is cut off: what was leased for it and not written is free again then.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent HTTP/2 peer is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The wait after an accept that failed for want of a file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves at most `connections_max` connections until `stop`, then answers what was begun for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    stop: CancellationToken,
    drain: Duration,
) {
    serve_patiently(listener, router, connections_max, stop, drain, WRITE_TIMEOUT).await;
}

async fn serve_patiently(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    stop: CancellationToken,
    drain: Duration,
    write_timeout: Duration,
) {
    let connections = std::sync::Arc::new(Semaphore::new(connections_max));
    let graceful = GracefulShutdown::new();
    let accept_all = async {
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let mut stream = TimeoutWriter::new(stream);
                    stream.set_timeout(Some(write_timeout));
                    serve_connection(stream, Peer(peer), router.clone(), &graceful, permit);
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
    stream: TimeoutWriter<TcpStream>,
    peer: Peer,
    router: Router,
    graceful: &GracefulShutdown,
    permit: OwnedSemaphorePermit,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX).keep_alive_interval(KEEP_ALIVE);
    let service = TowerToHyperService::new(router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request
    }));
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

#[expect(clippy::disallowed_methods, reason = "front doors are not simulated")]
async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn start(router: Router) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        (address, stop.clone(), tokio::spawn(serve(listener, router, 16, stop, LONG)))
    }

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("open");
        stream
    }

    #[tokio::test]
    async fn a_stop_waits_for_requests_that_were_begun() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, released) = (entered.clone(), release.clone());
        let slow = async move || {
            enter.notify_one();
            released.notified().await;
            "done"
        };
        let (address, stop, server) = start(Router::new().route("/slow", get(slow))).await;
        let mut stream = ask(address, "/slow").await;
        entered.notified().await;
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.is_finished());
        release.notify_one();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered, then closed");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        server.await.expect("no panic");
    }

    #[tokio::test]
    async fn idle_connections_do_not_hold_up_a_stop() {
        let (address, stop, server) = start(Router::new().route("/", get(async || "hi"))).await;
        let silent = TcpStream::connect(address).await.expect("listening");
        let mut kept = ask(address, "/").await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"hi") {
            kept.read_buf(&mut answer).await.expect("answered");
        }
        stop.cancel();
        server.await.expect("no panic");
        drop((silent, kept));
    }

    #[tokio::test]
    async fn too_many_or_too_long_headers_are_refused() {
        let (address, stop, server) = start(Router::new().route("/", get(async || "hi"))).await;
        let many: String = (0..101).map(|n| format!("h{n}: x\r\n")).collect();
        let long = format!("h: {}\r\n", "x".repeat(512 * 1024));
        for headers in [many, long] {
            let mut stream = TcpStream::connect(address).await.expect("listening");
            let request = format!("GET / HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
            // The server may have closed the connection before it has read all.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = vec![0; 12];
            stream.read_exact(&mut answer).await.expect("answered");
            assert_eq!(str::from_utf8(&answer), Ok("HTTP/1.1 431"));
        }
        stop.cancel();
        server.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_its_answer_is_cut_off() {
        struct Gone(Arc<Notify>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let gone = Arc::new(Notify::new());
        let held = gone.clone();
        let endless = async move || {
            let held = Gone(held.clone());
            let piece = move || {
                let _ = &held;
                Ok::<_, std::convert::Infallible>(vec![0_u8; 64 * 1024])
            };
            axum::body::Body::from_stream(tokio_stream::iter(std::iter::repeat_with(piece)))
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, router) = (CancellationToken::new(), Router::new().route("/", get(endless)));
        let soon = Duration::from_millis(50);
        let server = tokio::spawn(serve_patiently(listener, router, 16, stop.clone(), LONG, soon));
        let unread = ask(address, "/").await;
        tokio::time::timeout(LONG, gone.notified()).await.expect("its answer is dropped");
        drop(unread);
        stop.cancel();
        server.await.expect("no panic");
    }
}
