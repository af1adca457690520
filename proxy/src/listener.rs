//! Connections from their begin on: what the client speaks, and who serves it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use remoting::accept::{Beginning, accept, begin, no_certificate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::grpc::Service;
use crate::http2::{self, Dispatch, InboundBytes, OtherServices};
use crate::origins::Origins;
use crate::server::{Connection, Shared};
use crate::web;

/// What every connection is served with.
pub(crate) struct Front {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) others: OtherServices,
    pub(crate) inbound: Arc<InboundBytes>,
    /// Ends connections that drain for too long.
    pub(crate) abort: CancellationToken,
}

impl Front {
    /// Accepts connections until `shutdown`.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, shutdown: &CancellationToken) {
        let connections_max = self.shared.options.connections.connections_max;
        let serve = |stream, place| drop(self.shared.tasks.spawn(self.clone().serve(stream, place)));
        tokio::select! {
            () = accept(std::slice::from_ref(&listener), connections_max, clock::sleep, serve) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, _place: OwnedSemaphorePermit) {
        if let Err(error) = self.try_serve(stream).await {
            // Port scanners, half-open connections, clients with the wrong protocol: no news.
            tracing::debug!(%error, "connection refused");
        }
    }

    async fn try_serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let limit = self.shared.options.connections.handshake_timeout;
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(limit, Box::pin(self.greet(stream))) => greeted,
            // Nothing was begun on this connection: it does not hold up the end.
            () = self.shared.draining.cancelled() => return Ok(()),
        };
        let (remote, greeted) = greeted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let connection = Connection::new(remote, local);
        match greeted {
            Greeted::Plain(stream) => self.serve_http(stream, connection).await,
            Greeted::Tls(stream) => self.serve_http(stream, connection).await,
        }
        Ok(())
    }

    /// Finds out who the client is and what it speaks.
    async fn greet(&self, mut stream: TcpStream) -> io::Result<(SocketAddr, Greeted)> {
        let options = &self.shared.options;
        let is_web_served = options.web != Origins::None;
        let Beginning { remote, is_tls } = begin(&mut stream, &options.balancers, clock::sleep).await?;
        if !is_tls {
            return Ok((remote, Greeted::Plain(http2::read_preface(stream, is_web_served).await?)));
        }
        let tls = self.tls.as_ref().ok_or_else(no_certificate)?;
        let stream = Box::new(tls.accept(stream).await?);
        Ok((remote, Greeted::Tls(http2::read_preface(stream, is_web_served).await?)))
    }

    async fn serve_http<S>(&self, stream: http2::WithPreface<S>, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = self.shared.clone();
        let limits = shared.options.connections;
        let (tasks, draining) = (shared.tasks.clone(), shared.draining.clone());
        let service = Service { shared, connection: Arc::new(connection) };
        let options = &self.shared.options;
        let dispatch = Dispatch::new(service, self.others.clone(), self.inbound.clone(), options);
        if stream.is_http2() {
            http2::serve(stream, dispatch, limits, tasks, draining, self.abort.clone()).await;
        } else {
            web::serve_http1(stream, dispatch, limits, draining, self.abort.clone()).await;
        }
    }
}

/// What a client turned out to speak, below HTTP.
enum Greeted {
    Plain(http2::WithPreface<TcpStream>),
    Tls(http2::WithPreface<Box<tokio_rustls::server::TlsStream<TcpStream>>>),
}
