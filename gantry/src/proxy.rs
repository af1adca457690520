//! `gantry proxy`: the gRPC API, HTTP and Remoting in front of the brokers that name servers know, started and stopped in order.
//!
//! Start: ports are taken → certificate → ports listen → ready; brokers are asked when clients ask.
//! Stop: not ready → gRPC and Remoting drain → HTTP drains → what came for nobody is given back → telemetry.

mod remoting_port;

use std::io::Write;
use std::sync::Arc;

use ::proxy::cluster::{self, Cluster};
use ::proxy::options::{Advertise, ConnectionLimits};
use anyhow::Context;
use env::Env;
use gateway_http::server::PROTOCOLS;
use gateway_http::webhooks::Front;
use gateway_http::{Gateway, Readiness};
use sd_notify::NotifyState;

use crate::config::proxy::Proxy as Config;
use crate::doors::Doors;
use crate::local::{notify, probes};
use crate::port::Port;
use crate::signals::Signals;
use crate::telemetry::Telemetry;
use crate::{identity, open_files, webhooks};
use remoting_port::RemotingPort;

/// Runs until a signal, or until it cannot start.
///
/// # Errors
/// Why it could not start; each says what to do.
pub(crate) async fn run(config: Config, warnings: &[String]) -> anyhow::Result<()> {
    Telemetry::around(&config.log, None, warnings, async |telemetry| serve(&config, telemetry).await).await
}

async fn serve(config: &Config, telemetry: &Telemetry) -> anyhow::Result<()> {
    let signals = Signals::new().context("signals")?;
    let grpc = Port::bind(config.grpc, "grpc IP:PORT")?;
    let http = Port::bind(config.http, "http IP:PORT")?;
    let remoting = RemotingPort::bind(config)?;
    let remoting_connections = remoting.as_ref().map_or(0, RemotingPort::connections_max);
    let connections_max = ConnectionLimits::default().connections_max + config.http_settings.connections_max();
    open_files::raise(connections_max + remoting_connections);
    let cluster = broker(config);
    let options = options(config)?;
    let limits = config.http_settings.limits(options.limits.clone());
    let remoting_tls = options.tls.as_ref().map(|identity| identity.server_config(&[])).transpose()?;
    let tls = options.tls.as_ref().map(|identity| identity.server_config(PROTOCOLS)).transpose()?;
    let proxy = ::proxy::Server::new(Arc::new(cluster.clone()), options)?;
    let readiness = Readiness::default();
    let (messaging, checks) = (proxy.messaging(), proxy.checks());
    let front = Front { messaging: messaging.clone(), checks: checks.clone() };
    let webhooks = webhooks::start(&config.webhooks, None, front, &telemetry.registry)?;
    let gateway = Gateway {
        messaging,
        checks,
        limits,
        origins: config.http_settings.origins(),
        admin: config.http_admin.then(|| Arc::new(cluster.clone()) as _),
        webhooks,
        probes: probes(telemetry, &readiness),
    };
    let (grpc, http) = (grpc.listen()?, http.listen()?);
    let (grpc_address, http_address) = (grpc.local_addr()?, http.local_addr()?);
    let remoting = remoting.map(RemotingPort::listen).transpose()?;
    let remoting_address = remoting.as_ref().map_or("off".to_owned(), |open| open.address.to_string());
    let mut doors = Doors::open(proxy, gateway, tls, &config.http_settings, config.drain_timeout, (grpc, http))?;
    if let Some(open) = remoting {
        doors = doors.with_remoting(|stop| open.serve(cluster.clone(), remoting_tls, stop));
    }
    readiness.set_ready();

    // Nobody may be reading.
    let (version, name_servers) = (env!("CARGO_PKG_VERSION"), config.name_servers.join(";"));
    let _ = writeln!(
        std::io::stdout(),
        "gantry {version} proxy is ready\n\n  gRPC  {grpc_address}  for RocketMQ 5 clients, plaintext and TLS\n  \
         HTTP  {http_address}  messages without an SDK, plaintext and TLS, /readyz /metrics /version\n  \
         Remoting  {remoting_address}  for RocketMQ 4.x clients, as their name server\n  name servers  {name_servers}",
    );
    tracing::info!(grpc = %grpc_address, http = %http_address, remoting = remoting_address, name_servers, "ready");
    notify(NotifyState::Ready);
    let served = doors.serve(signals, &readiness).await;
    if tokio::time::timeout(config.drain_timeout, cluster.finish()).await.is_err() {
        tracing::warn!(
            "messages that nobody waits for could not be given back in time, they are free when their leases end"
        );
    }
    served?;
    tracing::info!("stopped");
    Ok(())
}

fn broker(config: &Config) -> Cluster {
    Cluster::new(cluster::Options {
        name_servers: config.name_servers.clone(),
        name: config.cluster.clone(),
        shared_broker: config.webhook_broker.clone(),
        clock: Env::real().clock,
    })
}

fn options(config: &Config) -> anyhow::Result<::proxy::Options> {
    let names = identity::names(config.advertise.as_ref().map(|(host, _)| host.as_str()));
    Ok(::proxy::Options {
        connections: ConnectionLimits { drain_timeout: config.drain_timeout, ..ConnectionLimits::default() },
        advertise: config.advertise.clone().map(|(host, port)| Advertise { host, port }),
        tls: Some(identity::load(config.tls.as_ref(), &config.data, names)?),
        web: config.grpc_web.clone(),
        balancers: config.balancers.clone(),
        ..::proxy::Options::default()
    })
}
