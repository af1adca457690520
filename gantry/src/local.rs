//! `gantry local`: all roles in this process, wired in one place, started and stopped in order.
//!
//! Start: ports are taken → broker (lock, recovery) → certificate → ports listen → ready.
//! Stop: not ready → gRPC drains → HTTP drains → broker flushes and writes its checkpoint → telemetry.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use broker::{LocalBroker, StartError, takeover};
use gateway_http::server::PROTOCOLS;
use gateway_http::webhooks::Front;
use gateway_http::{Gateway, Probes, Readiness, Version};
use proxy::options::{Advertise, ConnectionLimits};
use sd_notify::NotifyState;
use types::PhysicalOffset;

use crate::banner::Banner;
use crate::config::{Flush, Local, Storage};
use crate::doors::Doors;
use crate::port::Port;
use crate::signals::Signals;
use crate::telemetry::Telemetry;
use crate::{identity, metrics, open_files, time, webhooks};

/// Runs until a signal, or until it cannot start.
///
/// # Errors
/// Why it could not start; each says what to do.
pub(crate) async fn run(config: Local, warnings: &[String], accept_loss_at: Option<u64>) -> anyhow::Result<()> {
    Telemetry::around(&config.log, config.otlp_endpoint.as_deref(), warnings, async |telemetry| {
        serve(&config, telemetry, accept_loss_at.map(PhysicalOffset)).await
    })
    .await
}

async fn serve(config: &Local, telemetry: &Telemetry, accept_loss_at: Option<PhysicalOffset>) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals")?;
    let grpc = Port::bind(config.grpc, "grpc IP:PORT")?;
    let http = Port::bind(config.http, "http IP:PORT")?;
    open_files::raise(ConnectionLimits::default().connections_max + config.http_settings.connections_max());
    // Records name the host that stored them; "all addresses" is none.
    let grpc_address = grpc.address();
    let ip = if grpc_address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { grpc_address.ip() };
    let store_host = SocketAddr::new(ip, grpc_address.port());
    let options = broker::Options { accept_loss_at, ..broker_options(&config.storage, store_host) };
    let broker = tokio::select! {
        started = start_broker(options) => started?,
        // Nothing is served yet, so there is nothing to finish: a start that is cut short is made good by the next.
        (name, _) = signals.next() => bail!("stopped by {name} while starting"),
    };
    let labels = metrics::broker_labels("DefaultCluster", types::Broker::name(&broker));
    metrics::register(&telemetry.meter(), &labels, {
        let broker = broker.clone();
        move || broker.status()
    });
    let result = serve_clients(config, telemetry, &broker, grpc, http, signals).await;
    broker.stop().await;
    tracing::info!("stopped");
    result
}

/// Opens the data directory; recovery may read for a while.
pub(crate) async fn start_broker(options: broker::Options) -> anyhow::Result<LocalBroker> {
    let data = options.dir.clone();
    open_broker(options).await?.map_err(|error| cannot_open(error, &data))
}

/// The same; what keeps a broker from starting on the directory is told as it is.
pub(crate) async fn open_broker(options: broker::Options) -> anyhow::Result<Result<LocalBroker, StartError>> {
    let started = tokio::task::spawn_blocking(|| {
        refuse_apache(&options.dir)?;
        Ok(LocalBroker::start(env::Env::real(), options))
    });
    started.await.context("opening the data directory")?
}

/// What to do about it.
pub(crate) fn cannot_open(error: StartError, data: &Path) -> anyhow::Error {
    match error {
        StartError::Open(store::OpenError::Locked { dir }) => anyhow::anyhow!(
            "{} is in use by another gantry; stop that one, or choose another directory with --data DIR",
            dir.display(),
        ),
        StartError::Open(error @ store::OpenError::Damaged { at, .. }) => anyhow::anyhow!(
            "{error}; nothing was cut off. Restore a backup (gantry store restore), or see what is damaged (gantry store \
             verify {data}) and what lies behind (gantry store dump {data} --from {at}), keep a copy, and give it up with \
             gantry local --accept-loss {at}",
            data = data.display(),
        ),
        error => anyhow::Error::new(error).context(format!("cannot open {}", data.display())),
    }
}

/// A start would take Apache's log for one of ours, knows no topic of it, and could cut off what ours never writes.
fn refuse_apache(dir: &Path) -> anyhow::Result<()> {
    let form = takeover::Form::find(&*env::Env::real().disk, dir)?;
    if form.kind == takeover::Kind::Apache {
        bail!(
            "{} is of an Apache RocketMQ broker and is left as it is; look at it with gantry store check, take it over with \
             gantry store import, or choose another directory with --data DIR",
            dir.display(),
        );
    }
    Ok(())
}

/// The broker that these settings describe; records name `store_host` as the host that stored them.
pub(crate) fn broker_options(config: &Storage, store_host: SocketAddr) -> broker::Options {
    let flush = match config.flush {
        Flush::Async => broker::Flush::Async,
        Flush::Sync => broker::Flush::Sync,
    };
    broker::Options {
        flush,
        segment_bytes: config.segment_bytes,
        store_host,
        auto_create_topics: config.auto_create_topics,
        auto_create_groups: config.auto_create_groups,
        idle_max: config.idle_max,
        body_bytes_max: config.body_bytes_max,
        transaction: broker::transaction::Schedule {
            check_after: config.transaction.after,
            check_interval: config.transaction.interval,
            checks_max: config.transaction.count_max,
        },
        idempotency: broker::idempotency::Settings {
            window: config.idempotency.window,
            keys_max: config.idempotency.keys_max,
        },
        retention: broker::retention::Settings {
            delete_when: config.retention.delete_when,
            hour_of: time::local_hour,
            reserved: config.retention.reserved,
            disk_used_max: config.retention.disk_used_max,
            disk_clean_forcibly: config.retention.disk_clean_forcibly,
            disk_warning: config.retention.disk_warning,
            ..broker::retention::Settings::default()
        },
        ..broker::Options::local(config.data.clone())
    }
}

fn proxy_options(config: &Local) -> anyhow::Result<proxy::Options> {
    let names = identity::names(config.advertise.as_ref().map(|(host, _)| host.as_str()));
    Ok(proxy::Options {
        limits: proxy::Limits { body_bytes_max: config.storage.body_bytes_max, ..proxy::Limits::default() },
        connections: ConnectionLimits { drain_timeout: config.drain_timeout, ..ConnectionLimits::default() },
        advertise: config.advertise.clone().map(|(host, port)| Advertise { host, port }),
        tls: Some(identity::load(config.tls.as_ref(), &config.storage.data, names)?),
        web: config.grpc_web.clone(),
        balancers: config.balancers.clone(),
    })
}

/// Opens both ports, serves until a signal and drains.
async fn serve_clients(
    config: &Local,
    telemetry: &Telemetry,
    broker: &LocalBroker,
    grpc: Port,
    http: Port,
    signals: Signals,
) -> anyhow::Result<()> {
    let broker = Arc::new(broker.clone());
    let options = proxy_options(config)?;
    let readiness = Readiness::default();
    let limits = config.http_settings.limits(options.limits.clone());
    let tls = options.tls.as_ref().map(|identity| identity.server_config(PROTOCOLS)).transpose()?;
    let proxy = proxy::Server::new(broker.clone(), options)?;
    let (messaging, checks) = (proxy.messaging(), proxy.checks());
    let front = Front { messaging: messaging.clone(), checks: checks.clone() };
    let webhooks = webhooks::start(&config.webhooks, Some(&config.storage.data), front, &telemetry.registry)?;
    let gateway = Gateway {
        messaging,
        checks,
        limits,
        origins: config.http_settings.origins(),
        admin: Some(broker),
        webhooks,
        probes: probes(telemetry, &readiness),
    };
    let (grpc, http) = (grpc.listen()?, http.listen()?);
    let banner = Banner {
        grpc: grpc.local_addr()?,
        http: http.local_addr()?,
        data: absolute(&config.storage.data),
        is_sync: config.storage.flush == Flush::Sync,
    };
    let doors = Doors::open(proxy, gateway, tls, &config.http_settings, config.drain_timeout, (grpc, http))?;
    readiness.set_ready();
    announce(&banner);
    doors.serve(signals, &readiness).await
}

/// What every role shows on its HTTP port.
pub(crate) fn probes(telemetry: &Telemetry, readiness: &Readiness) -> Probes {
    Probes {
        readiness: readiness.clone(),
        metrics: telemetry.registry.clone(),
        version: Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
    }
}

fn announce(banner: &Banner) {
    // Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "{banner}");
    tracing::info!(grpc = %banner.grpc, http = %banner.http, data = %banner.data.display(), "ready");
    notify(NotifyState::Ready);
}

/// Tells systemd, where it started us.
pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd was not told");
    }
}

fn absolute(path: &Path) -> std::path::PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
