//! gRPC-web: the same services for web pages, over HTTP/1.1 and HTTP/2, on the port of gRPC. Off until origins are named. A page cannot
//! send as it goes on: of a telemetry stream it has the answers to what it said at the begin.
//!
//! Source: gRPC's `PROTOCOL-WEB.md`; `tonic-web` translates.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use grpc::v2::messaging_service_server::MessagingServiceServer;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, Service as _};
use tower_http::cors::Cors;
use tower_http::timeout::TimeoutBody;

use crate::grpc::Service;
use crate::http2::{self, Dispatch, Metered, OtherServices, messaging_method};
use crate::options::ConnectionLimits;
use crate::origins::Origins;

/// Bytes of a connection that are read ahead on HTTP/1.1; a call's headers have no more.
const READ_BYTES_MAX: usize = 32 * 1024;

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The services, for pages of some origins.
#[derive(Clone)]
pub(crate) struct Web {
    origins: Origins,
    /// How long each part of a call may take to come.
    part_timeout: Duration,
    services: Cors<GrpcWebService<Services>>,
}

impl Web {
    /// `None` if no page may call.
    pub(crate) fn new(
        origins: &Origins,
        limits: ConnectionLimits,
        messaging: MessagingServiceServer<Service>,
        others: OtherServices,
    ) -> Option<Self> {
        let cors = origins.layer()?;
        let services = cors.layer(GrpcWebLayer::new().layer(Services { messaging, others }));
        Some(Self { origins: origins.clone(), part_timeout: limits.keepalive_timeout, services })
    }

    /// Whether a request is not gRPC's own, which comes over HTTP/2 only.
    pub(crate) fn is_for<B>(request: &Request<B>) -> bool {
        let media_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let is_web = media_type.starts_with(b"application/grpc-web") || request.method() == Method::OPTIONS;
        is_web || request.version() != Version::HTTP_2
    }

    pub(crate) fn answer(&self, request: Request<Metered>) -> Answer {
        // A browser asks before it lets a page of another site call, but not if a name of that site leads here all at once.
        let is_page = request.headers().contains_key(ORIGIN) && request.method() != Method::OPTIONS;
        if is_page && !self.origins.allow(request.headers()) {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::FORBIDDEN;
            return Box::pin(ready(Ok(refused)));
        }
        // HTTP/1.1 has no pings that would find a client gone in the middle of its call.
        let request = request.map(|body| TimeoutBody::new(self.part_timeout, body));
        Box::pin(self.services.clone().call(request))
    }
}

/// What gRPC-web is translated to.
#[derive(Clone)]
struct Services {
    messaging: MessagingServiceServer<Service>,
    others: OtherServices,
}

impl tower::Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        match messaging_method(request.uri().path()) {
            Some(_) => self.messaging.call(request),
            None => Box::pin(self.others.call(request)),
        }
    }
}

/// Serves one HTTP/1.1 connection until it ends. When `draining` is cancelled it ends after the call that is open, when `abort` is at once.
pub(crate) async fn serve_http1<S>(
    stream: S,
    dispatch: Dispatch,
    limits: ConnectionLimits,
    draining: CancellationToken,
    abort: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // A client is gone if it sends no further call for so long, or takes nothing of its answer.
    let mut stream = TimeoutWriter::new(stream);
    stream.set_timeout(Some(limits.keepalive_timeout));
    let calls = dispatch.calls.clone();
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.keepalive_interval)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(stream)), dispatch);
    http2::run(Box::pin(connection), &calls, draining, abort).await;
}
