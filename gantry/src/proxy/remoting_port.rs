//! The Remoting port of `gantry proxy`, and the ports of brokers beside it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ::proxy::cluster::Cluster;
use ::proxy::remoting::{Listeners, serve};
use env::Env;
use rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::config::proxy::{Proxy as Config, Remoting};
use crate::port::{Error, Port};

/// The ports, taken, and how they are to be served.
pub(super) struct RemotingPort {
    all: Port,
    brokers: Vec<(String, Port)>,
    host: Option<String>,
    limits: remoting::Options,
}

/// The same, listening.
pub(super) struct Open {
    /// Where it is.
    pub(super) address: SocketAddr,
    listeners: Listeners,
    host: Option<String>,
    limits: remoting::Options,
}

impl RemotingPort {
    /// Takes them, if there are to be any.
    ///
    /// # Errors
    /// [`Error`], which says what to do.
    pub(super) fn bind(config: &Config) -> Result<Option<Self>, Error> {
        let Some(Remoting { listen, brokers, host }) = &config.remoting else { return Ok(None) };
        let all = Port::bind(*listen, "remoting IP:PORT or --remoting off")?;
        let own = |(name, port): &(String, u16)| {
            let address = SocketAddr::new(listen.ip(), *port);
            Ok((name.clone(), Port::bind(address, "remoting-brokers NAME=PORT")?))
        };
        let brokers = brokers.iter().map(own).collect::<Result<_, _>>()?;
        let limits = remoting::Options {
            balancers: config.balancers.clone(),
            drain: config.drain_timeout,
            ..remoting::Options::default()
        };
        Ok(Some(Self { all, brokers, host: host.clone(), limits }))
    }

    /// Connections at a time, with one to a broker for each client's.
    pub(super) fn connections_max(&self) -> usize {
        2 * self.limits.connections_max
    }

    /// Accepts connections from now on.
    ///
    /// # Errors
    /// Another process may have taken an address in the meantime.
    pub(super) fn listen(self) -> anyhow::Result<Open> {
        let own = |(name, port): (String, Port)| Ok((name, port.listen()?));
        let brokers = self.brokers.into_iter().map(own).collect::<Result<_, Error>>()?;
        let all = self.all.listen()?;
        let address = all.local_addr()?;
        Ok(Open { address, listeners: Listeners { all, brokers }, host: self.host, limits: self.limits })
    }
}

impl Open {
    /// Serves until it is told to stop, and drains.
    pub(super) async fn serve(
        self,
        cluster: Cluster,
        tls: Option<Arc<ServerConfig>>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let Self { listeners, host, limits, .. } = self;
        serve(cluster, host, listeners, limits, tls, Env::real().clock, stop).await
    }
}
