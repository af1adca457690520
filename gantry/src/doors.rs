//! The ports that clients come to, gRPC and HTTP, and a proxy's Remoting port: opened together, closed in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use gateway_http::server::Door;
use gateway_http::webhooks::Webhooks;
use gateway_http::{Gateway, Readiness};
use rustls::ServerConfig;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::http::Http;
use crate::local::notify;
use crate::signals::Signals;

/// The ports, being served.
pub(crate) struct Doors {
    grpc: JoinHandle<()>,
    remoting: Option<JoinHandle<io::Result<()>>>,
    http: JoinHandle<()>,
    stop_grpc: CancellationToken,
    stop_http: CancellationToken,
    webhooks: Option<Webhooks>,
    drain_timeout: Duration,
}

impl Doors {
    /// Serves both from here on; the gateway's webhooks end with them.
    ///
    /// # Errors
    /// The HTTP listener has no address.
    pub(crate) fn open(
        proxy: proxy::Server,
        gateway: Gateway,
        tls: Option<Arc<ServerConfig>>,
        settings: &Http,
        drain_timeout: Duration,
        (grpc, http): (TcpListener, TcpListener),
    ) -> io::Result<Self> {
        let (stop_grpc, stop_http) = (CancellationToken::new(), CancellationToken::new());
        let webhooks = gateway.webhooks.clone();
        let door = Door {
            routes: gateway_http::router(gateway),
            tls,
            hosts: settings.hosts(http.local_addr()?),
            connections_max: settings.connections_max(),
            drain: drain_timeout,
        };
        Ok(Self {
            grpc: tokio::spawn(proxy.serve(grpc, stop_grpc.clone())),
            remoting: None,
            http: tokio::spawn(gateway_http::server::serve(http, door, stop_http.clone())),
            stop_grpc,
            stop_http,
            webhooks,
            drain_timeout,
        })
    }

    /// Serves a Remoting port too, which `serve` does until it is told to stop; it drains beside gRPC.
    pub(crate) fn with_remoting<S>(self, serve: impl FnOnce(CancellationToken) -> S) -> Self
    where
        S: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self { remoting: Some(tokio::spawn(serve(self.stop_grpc.clone()))), ..self }
    }

    /// Waits for a signal; then nobody is ready any more, gRPC, Remoting and webhooks drain, and after them HTTP.
    ///
    /// # Errors
    /// A port failed.
    pub(crate) async fn serve(self, mut signals: Signals, readiness: &Readiness) -> anyhow::Result<()> {
        let Self { grpc, remoting, http, stop_grpc, stop_http, webhooks, drain_timeout } = self;
        let (name, _) = signals.next().await;
        tracing::info!(signal = name, "stopping: finishing what was begun; a second signal stops at once");
        signals.exit_on_next();
        notify(NotifyState::Stopping);
        readiness.set_draining();
        stop_grpc.cancel();
        let stop_webhooks = async {
            if let Some(webhooks) = webhooks {
                webhooks.stop(drain_timeout).await;
            }
        };
        let drain_remoting = async {
            match remoting {
                Some(remoting) => {
                    remoting.await.context("the Remoting port failed")?.context("the Remoting port failed")
                }
                None => Ok(()),
            }
        };
        let (drained, remoting, ()) = tokio::join!(grpc, drain_remoting, stop_webhooks);
        // Until now probes and metrics could be asked, so that the drain can be watched.
        stop_http.cancel();
        http.await.context("the HTTP port failed")?;
        remoting?;
        drained.context("the gRPC port failed")
    }
}
