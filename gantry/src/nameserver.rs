//! `gantry nameserver`: the route registry on its port, and with `--controller` a controller on another; started and stopped in order.
//!
//! Start: the ports are taken → data directory (lock, what operators have set, what the controllers agreed on) → certificate → the ports
//! listen → ready.
//! Stop: not ready → what was asked is answered → HTTP → telemetry.

use std::io::Write;

use ::nameserver::NameServer;
use ::nameserver::server::Options;
use anyhow::Context;
use env::Env;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::config::nameserver::NameServer as Config;
use crate::controller::{self, Running};
use crate::local::notify;
use crate::port::Port;
use crate::probe_port::ProbePort;
use crate::signals::Signals;
use crate::telemetry::Telemetry;
use crate::{data_directory, identity, metrics, open_files};

/// The key-value configuration below the data directory.
const KV_FILE: &str = "kvConfig.json";
/// The settings that were changed while it ran, below the data directory.
const SETTINGS_FILE: &str = "namesrv.properties";
/// What the controllers agreed on, below the data directory.
const CONTROLLER_FOLDER: &str = "controller";

/// Runs until a signal, or until it cannot start.
///
/// # Errors
/// Why it could not start; each says what to do.
pub(crate) async fn run(config: Config, warnings: &[String]) -> anyhow::Result<()> {
    Telemetry::around(&config.log, None, warnings, async |telemetry| serve(&config, telemetry).await).await
}

async fn serve(config: &Config, telemetry: &Telemetry) -> anyhow::Result<()> {
    let signals = Signals::new().context("signals")?;
    let port = Port::bind(config.listen, "listen IP:PORT")?;
    let of_controller = config.controller.as_ref().map(|group| Port::bind(group.listen, "peers LIST")).transpose()?;
    let http = config.http.map(|address| Port::bind(address, "http IP:PORT")).transpose()?;
    let options = remoting::Options { balancers: config.balancers.clone(), ..remoting::Options::default() };
    open_files::raise(options.connections_max);
    let _lock = data_directory::lock(&config.data, "--data")?;
    let elsewhere = config.controller_folder.as_ref().filter(|folder| **folder != config.data);
    let elsewhere = elsewhere.filter(|_| config.controller.is_some());
    let _lock_elsewhere =
        elsewhere.map(|folder| data_directory::lock(folder, "--controller-store-path")).transpose()?;
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
    let mut controller = match config.controller.as_ref().zip(of_controller) {
        Some((group, port)) => {
            let folder = config.controller_folder.clone().unwrap_or_else(|| config.data.join(CONTROLLER_FOLDER));
            Running::start(group, folder, port, options.clone(), tls.clone(), telemetry).await?
        }
        None => Running::none(),
    };
    let listener = port.listen()?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.serve(listener, options, Some(tls), stop.clone()));
    let probes = ProbePort::open(http, telemetry)?;
    probes.readiness().set_ready();

    // Nobody may be reading.
    let version = env!("CARGO_PKG_VERSION");
    let (http_line, controller_line) = (probes.line(), controller.line());
    let _ = writeln!(
        std::io::stdout(),
        "gantry {version} nameserver is ready\n\n{http_line}{controller_line}  Remoting  {address}  plaintext and TLS"
    );
    tracing::info!(%address, data = %config.data.display(), "ready");
    notify(NotifyState::Ready);
    let failed = controller::signal_or_failure(signals, &mut controller).await;
    probes.readiness().set_draining();
    stop.cancel();
    let ended = served.await;
    let controller_ended = controller.stop().await;
    probes.close().await?;
    ended.context("the port failed")?;
    failed.and(controller_ended)?;
    tracing::info!("stopped");
    Ok(())
}
