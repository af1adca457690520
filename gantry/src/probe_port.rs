//! The HTTP port of a role that shows nothing there but health, metrics and version, if it has one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use gateway_http::server::Door;
use gateway_http::{Hosts, Readiness};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::local::probes;
use crate::port::Port;
use crate::telemetry::Telemetry;

/// Those who look at health and metrics are few.
const CONNECTIONS_MAX: usize = 256;
/// How long an answer to one of them may take when the process ends.
const DRAIN: Duration = Duration::from_secs(5);

/// The port, being served.
pub(crate) struct ProbePort {
    readiness: Readiness,
    served: Option<(SocketAddr, JoinHandle<()>)>,
    stop: CancellationToken,
}

impl ProbePort {
    /// Serves from here on; nobody is ready yet.
    pub(crate) fn open(port: Option<Port>, telemetry: &Telemetry) -> anyhow::Result<Self> {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let Some(listener) = port.map(Port::listen).transpose()? else {
            return Ok(Self { readiness, served: None, stop });
        };
        let address = listener.local_addr()?;
        let routes = gateway_http::probe_router(probes(telemetry, &readiness));
        let door = Door { routes, tls: None, hosts: Hosts::Any, connections_max: CONNECTIONS_MAX, drain: DRAIN };
        let served = tokio::spawn(gateway_http::server::serve(listener, door, stop.clone()));
        Ok(Self { readiness, served: Some((address, served)), stop })
    }

    /// What is told of it at the start: a line, or nothing.
    pub(crate) fn line(&self) -> String {
        match &self.served {
            Some((address, _)) => format!("  HTTP      {address}  /livez /readyz /metrics /version\n"),
            None => String::new(),
        }
    }

    /// What it says of readiness.
    pub(crate) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Stops it, last of all: until then it can be watched how the others stop.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.stop.cancel();
        match self.served {
            Some((_, served)) => served.await.context("the HTTP port failed"),
            None => Ok(()),
        }
    }
}
