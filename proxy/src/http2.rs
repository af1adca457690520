//! One connection: its limits on HTTP/2, and which service answers.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use grpc::v2::messaging_service_server::{MessagingServiceServer, SERVICE_NAME};
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::calls::{Calls, Counted};
use crate::grpc::{Authority, Service, send};
use crate::options::{ConnectionLimits, Options};
use crate::web::Web;

/// What every HTTP/2 client sends first. Source: RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes a client may send ahead on one call and on all calls of a connection, before they are read.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of one answer that wait for its client to read them.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Bytes of one call's headers.
const HEADER_BYTES_MAX: u32 = 32 * 1024;
/// Calls that a client may cancel before they began: consumers cancel their long polls together when they stop.
const PENDING_RESETS_MAX: usize = 512;

/// Methods whose calls wait for something to come.
const WAITING_METHODS: [&str; 3] = ["ReceiveMessage", "PullMessage", "Telemetry"];

/// Everything but the messaging service: health, reflection, and the answer to unknown services.
pub(crate) type OtherServices = tonic::service::Routes;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Reads what may be the preface from the front of a stream.
///
/// # Errors
/// The stream's own, or [`io::ErrorKind::InvalidData`] for anything that is not HTTP/2, unless HTTP/1.1 is served too.
pub(crate) async fn read_preface<S: AsyncRead + Unpin>(
    mut stream: S,
    is_http1_served: bool,
) -> io::Result<WithPreface<S>> {
    let mut read = [0; PREFACE.len()];
    stream.read_exact(&mut read).await?;
    if is_http1_served || &read == PREFACE {
        Ok(WithPreface { read, again: 0, stream })
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"))
    }
}

/// Serves one connection until it ends. When `draining` is cancelled it takes no new calls and ends with the last open
/// one, when `abort` is it ends at once.
pub(crate) async fn serve<S>(
    stream: WithPreface<S>,
    dispatch: Dispatch,
    limits: ConnectionLimits,
    tasks: TaskTracker,
    draining: CancellationToken,
    abort: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let calls = dispatch.calls.clone();
    let connection = hyper::server::conn::http2::Builder::new(Tracked(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        // Finds peers that are gone without a word. Clients' own pings are always answered, however often they come.
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .serve_connection(TokioIo::new(stream), dispatch);
    run(Box::pin(connection), &calls, draining, abort).await;
}

/// Runs one connection as [`serve`] says. It comes in a box, because a future keeps room for what is moved into it and again for where it
/// is moved to.
pub(crate) async fn run<C>(
    mut connection: Pin<Box<C>>,
    calls: &Calls,
    draining: CancellationToken,
    abort: CancellationToken,
) where
    C: GracefulConnection<Error: std::fmt::Display>,
{
    let mut is_draining = false;
    loop {
        tokio::select! {
            ended = run_last(connection.as_mut(), calls) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = draining.cancelled(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = abort.cancelled() => return,
        }
    }
}

/// Runs a connection. While several calls are worked on it runs after all other tasks that are ready, so that what they
/// answer is written together and not with a system call each; to give way costs wake-ups that a single call does not
/// make good.
async fn run_last<F: Future>(mut connection: Pin<&mut F>, calls: &Calls) -> F::Output {
    loop {
        if calls.are_many() {
            tokio::task::yield_now().await;
        }
        let mut has_run = false;
        let ended = poll_fn(|cx| match std::mem::replace(&mut has_run, true) {
            false => connection.as_mut().poll(cx).map(Some),
            true => Poll::Ready(None),
        });
        if let Some(ended) = ended.await {
            return ended;
        }
    }
}

/// Runs a connection's calls as tasks that the server waits for.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// Finds the service for a call. Messaging is looked at first and without a router, because it is nearly all of them.
#[derive(Clone)]
pub(crate) struct Dispatch {
    service: Service,
    messaging: MessagingServiceServer<Service>,
    /// Bytes of one request's message.
    message_bytes_max: usize,
    others: OtherServices,
    inbound: Arc<InboundBytes>,
    pub(crate) calls: Calls,
    web: Option<Box<Web>>,
}

impl Dispatch {
    pub(crate) fn new(service: Service, others: OtherServices, inbound: Arc<InboundBytes>, options: &Options) -> Self {
        let message_bytes_max = options.connections.inbound_message_bytes_max;
        let messaging = MessagingServiceServer::new(service.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(usize::MAX);
        let web = Web::new(&options.web, options.connections, messaging.clone(), others.clone()).map(Box::new);
        Self { service, messaging, message_bytes_max, others, inbound, calls: Calls::default(), web }
    }
}

impl hyper::service::Service<Request<Incoming>> for Dispatch {
    type Response = Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Counted<BoxFuture<Result<Self::Response, Self::Error>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let method = messaging_method(request.uri().path());
        let (is_messaging, is_send) = (method.is_some(), method == Some("SendMessage"));
        let is_counted = method.is_some_and(|method| !WAITING_METHODS.contains(&method));
        let is_about_routes = matches!(method, Some("QueryRoute" | "QueryAssignment"));
        let mut request = request.map(|body| Metered { body, taken: 0, all: self.inbound.clone() });
        if is_about_routes && let Some(authority) = authority(&request) {
            request.extensions_mut().insert(Authority(authority));
        }
        if let Some(web) = self.web.as_ref().filter(|_| Web::is_for(&request)) {
            return Counted::uncounted(web.answer(request));
        }
        let answer: BoxFuture<_> = if is_send {
            let answer = send::serve(self.service.clone(), request, self.message_bytes_max);
            Box::pin(async move { Ok(answer.await) })
        } else if is_messaging {
            self.messaging.clone().call(request)
        } else {
            Box::pin(self.others.clone().call(request))
        };
        if is_counted { self.calls.count(answer) } else { Counted::uncounted(answer) }
    }
}

/// The host and port that the client dialled; HTTP/1.1 has them in a header.
fn authority<B>(request: &Request<B>) -> Option<http::uri::Authority> {
    let host = || request.headers().get(http::header::HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(host)
}

/// The method of the messaging service that a path names.
pub(crate) fn messaging_method(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.strip_prefix(SERVICE_NAME)?.strip_prefix('/')
}

/// Bytes of requests that have begun and not ended, of all connections together: what slow uploads cost.
#[derive(Debug)]
pub(crate) struct InboundBytes {
    taken: AtomicUsize,
    bytes_max: usize,
}

impl InboundBytes {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), bytes_max }
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.bytes_max
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A request's body, counted as it comes.
pub(crate) struct Metered {
    body: Incoming,
    taken: usize,
    all: Arc<InboundBytes>,
}

impl Body for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        self.taken += bytes;
        if bytes > 0 && !self.all.take(bytes) {
            let status = tonic::Status::resource_exhausted(format!(
                "requests under way hold more than {} bytes",
                self.all.bytes_max
            ));
            return Poll::Ready(Some(Err(status.into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.all.give_back(self.taken);
    }
}

/// A stream whose first bytes were read already and are read again.
pub(crate) struct WithPreface<S> {
    read: [u8; PREFACE.len()],
    /// How many of them were read again.
    again: usize,
    stream: S,
}

impl<S> WithPreface<S> {
    pub(crate) fn is_http2(&self) -> bool {
        &self.read == PREFACE
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithPreface<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = &self.read[self.again..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let bytes = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..bytes]);
        self.again += bytes;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithPreface<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_preface_is_read_again_in_pieces_of_any_size() {
        let input: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest";
        let mut stream = read_preface(input, false).await.expect("HTTP/2");
        assert!(stream.is_http2());
        let mut read = Vec::new();
        loop {
            let mut piece = [0; 7];
            match stream.read(&mut piece).await.expect("memory") {
                0 => break,
                bytes => read.extend_from_slice(&piece[..bytes]),
            }
        }
        assert_eq!(read, input);
    }

    #[tokio::test]
    async fn other_protocols_are_refused() {
        let http1: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert_eq!(read_preface(http1, false).await.err().map(|e| e.kind()), Some(io::ErrorKind::InvalidData));
        assert!(!read_preface(http1, true).await.expect("HTTP/1.1").is_http2());
        let short: &[u8] = b"PRI";
        assert_eq!(read_preface(short, true).await.err().map(|e| e.kind()), Some(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn only_messaging_calls_go_the_short_way() {
        assert_eq!(messaging_method("/apache.rocketmq.v2.MessagingService/SendMessage"), Some("SendMessage"));
        assert_eq!(messaging_method("/apache.rocketmq.v2.Admin/QueryMessage"), None);
        assert_eq!(messaging_method("/apache.rocketmq.v2.MessagingServiceX/QueryMessage"), None);
        assert_eq!(messaging_method(""), None);
    }

    #[test]
    fn inbound_bytes_are_bounded_and_given_back() {
        let all = InboundBytes::new(10);
        assert!(all.take(10));
        assert!(!all.take(1));
        all.give_back(11);
        assert!(all.take(10));
    }
}
