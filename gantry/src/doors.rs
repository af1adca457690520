//! The two ports that clients come to, gRPC and HTTP: opened together, closed in order.

use std::time::Duration;

use anyhow::Context;
use gateway_http::{Gateway, Readiness};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::local::notify;
use crate::signals::Signals;

/// Both ports, being served.
pub(crate) struct Doors {
    grpc: JoinHandle<()>,
    http: JoinHandle<()>,
    stop_grpc: CancellationToken,
    stop_http: CancellationToken,
}

impl Doors {
    /// Serves both from here on, HTTP with at most `http_connections_max` connections.
    pub(crate) fn open(
        proxy: proxy::Server,
        gateway: Gateway,
        (grpc, http): (TcpListener, TcpListener),
        http_connections_max: usize,
        drain_timeout: Duration,
    ) -> Self {
        let (stop_grpc, stop_http) = (CancellationToken::new(), CancellationToken::new());
        let router = gateway_http::router(gateway);
        let serve_http =
            gateway_http::server::serve(http, router, http_connections_max, stop_http.clone(), drain_timeout);
        Self {
            grpc: tokio::spawn(proxy.serve(grpc, stop_grpc.clone())),
            http: tokio::spawn(serve_http),
            stop_grpc,
            stop_http,
        }
    }

    /// Waits for a signal; then nobody is ready any more, gRPC drains, and after it HTTP.
    ///
    /// # Errors
    /// A port failed.
    pub(crate) async fn serve(self, mut signals: Signals, readiness: &Readiness) -> anyhow::Result<()> {
        let (name, _) = signals.next().await;
        tracing::info!(signal = name, "stopping: finishing what was begun; a second signal stops at once");
        signals.exit_on_next();
        notify(NotifyState::Stopping);
        readiness.set_draining();
        self.stop_grpc.cancel();
        let drained = self.grpc.await;
        // Until now probes and metrics could be asked, so that the drain can be watched.
        self.stop_http.cancel();
        self.http.await.context("the HTTP port failed")?;
        drained.context("the gRPC port failed")
    }
}
