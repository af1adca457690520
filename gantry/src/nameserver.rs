//! `gantry nameserver`: the route registry on its port, started and stopped in order.
//!
//! Start: the ports are taken → data directory (lock, what operators have set) → certificate → the ports listen → ready.
//! Stop: not ready → what was asked is answered → HTTP → telemetry.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use ::nameserver::NameServer;
use ::nameserver::server::Options;
use anyhow::{Context, bail};
use env::Env;
use gateway_http::server::Door;
use gateway_http::{Hosts, Readiness};
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::config::nameserver::NameServer as Config;
use crate::local::{notify, probes};
use crate::port::Port;
use crate::signals::Signals;
use crate::telemetry::Telemetry;
use crate::{identity, metrics, open_files};

/// The key-value configuration below the data directory.
const KV_FILE: &str = "kvConfig.json";
/// The settings that were changed while it ran, below the data directory.
const SETTINGS_FILE: &str = "namesrv.properties";
/// Those who look at health and metrics are few.
const HTTP_CONNECTIONS_MAX: usize = 256;
/// How long an answer to one of them may take when the process ends.
const HTTP_DRAIN: Duration = Duration::from_secs(5);
/// What is locked there.
const LOCK_FILE: &str = "lock";

/// Runs until a signal, or until it cannot start.
///
/// # Errors
/// Why it could not start; each says what to do.
pub(crate) async fn run(config: Config, warnings: &[String]) -> anyhow::Result<()> {
    Telemetry::around(&config.log, None, warnings, async |telemetry| serve(&config, telemetry).await).await
}

async fn serve(config: &Config, telemetry: &Telemetry) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals")?;
    let port = Port::bind(config.listen, "listen IP:PORT")?;
    let http = config.http.map(|address| Port::bind(address, "http IP:PORT")).transpose()?;
    let options = remoting::Options { balancers: config.balancers.clone(), ..remoting::Options::default() };
    open_files::raise(options.connections_max);
    let _lock = lock(&config.data)?;
    let server = NameServer::open(
        Env::real(),
        Options {
            kv_file: config.kv_file.clone().unwrap_or_else(|| config.data.join(KV_FILE)),
            settings_file: config.data.join(SETTINGS_FILE),
            settings: config.settings.clone(),
            shown: vec![
                ("bindAddress", port.address().ip().to_string()),
                ("listenPort", port.address().port().to_string()),
            ],
        },
    )?;
    let tls = identity::load(config.tls.as_ref(), &config.data, identity::names(None))?.server_config(&[])?;
    metrics::register_name_server(&telemetry.meter(), server.counts());
    let (listener, http) = (port.listen()?, http.map(Port::listen).transpose()?);
    let address = listener.local_addr()?;
    let (stop, stop_http) = (CancellationToken::new(), CancellationToken::new());
    let readiness = Readiness::default();
    let served = tokio::spawn(server.serve(listener, options, Some(tls), stop.clone()));
    let http_line = match &http {
        Some(listener) => format!("  HTTP      {}  /livez /readyz /metrics /version\n", listener.local_addr()?),
        None => String::new(),
    };
    let http = http.map(|listener| {
        let routes = gateway_http::probe_router(probes(telemetry, &readiness));
        let door =
            Door { routes, tls: None, hosts: Hosts::Any, connections_max: HTTP_CONNECTIONS_MAX, drain: HTTP_DRAIN };
        tokio::spawn(gateway_http::server::serve(listener, door, stop_http.clone()))
    });
    readiness.set_ready();

    // Nobody may be reading.
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        std::io::stdout(),
        "gantry {version} nameserver is ready\n\n{http_line}  Remoting  {address}  plaintext and TLS"
    );
    tracing::info!(%address, data = %config.data.display(), "ready");
    notify(NotifyState::Ready);
    let (name, _) = signals.next().await;
    tracing::info!(signal = name, "stopping; a second signal stops at once");
    signals.exit_on_next();
    notify(NotifyState::Stopping);
    readiness.set_draining();
    stop.cancel();
    let ended = served.await;
    // Until now it could be watched how it stops.
    stop_http.cancel();
    if let Some(http) = http {
        http.await.context("the HTTP port failed")?;
    }
    ended.context("the port failed")?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes the data directory if it is missing, and keeps others out of it until the process ends.
fn lock(data: &Path) -> anyhow::Result<Box<dyn Send + Sync>> {
    let disk = Env::real().disk;
    disk.create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    match disk.lock(&data.join(LOCK_FILE)) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => bail!(
            "{} is in use by another gantry; stop that one, or choose another directory with --data DIR",
            data.display(),
        ),
        locked => locked.with_context(|| format!("cannot lock {}", data.display())),
    }
}
