//! `gantry nameserver`: the route registry on its port, started and stopped in order.
//!
//! Start: the port is taken → data directory (lock, key-value configuration) → certificate → the port listens → ready.
//! Stop: what was asked is answered → telemetry.

use std::io::{ErrorKind, Write};
use std::path::Path;

use ::nameserver::NameServer;
use ::nameserver::server::Options;
use anyhow::{Context, bail};
use env::Env;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::config::nameserver::NameServer as Config;
use crate::local::notify;
use crate::port::Port;
use crate::signals::Signals;
use crate::telemetry::Telemetry;
use crate::{identity, open_files};

/// The key-value configuration below the data directory.
const KV_FILE: &str = "kvConfig.json";
/// What is locked there.
const LOCK_FILE: &str = "lock";

/// Runs until a signal, or until it cannot start.
///
/// # Errors
/// Why it could not start; each says what to do.
pub(crate) async fn run(config: Config, warnings: &[String]) -> anyhow::Result<()> {
    Telemetry::around(&config.log, None, warnings, async |_| serve(&config).await).await
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("signals")?;
    let port = Port::bind(config.listen, "listen")?;
    let options = remoting::Options::default();
    open_files::raise(options.connections_max);
    let _lock = lock(&config.data)?;
    let server = NameServer::open(
        Env::real(),
        Options {
            kv_file: config.kv_file.clone().unwrap_or_else(|| config.data.join(KV_FILE)),
            settings: config.settings.clone(),
            shown: vec![
                ("bindAddress", port.address().ip().to_string()),
                ("listenPort", port.address().port().to_string()),
            ],
        },
    )?;
    let tls = identity::load(config.tls.as_ref(), &config.data, identity::names(None))?.server_config(&[])?;
    let listener = port.listen()?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.serve(listener, options, Some(tls), stop.clone()));

    // Nobody may be reading.
    let version = env!("CARGO_PKG_VERSION");
    let _ =
        writeln!(std::io::stdout(), "gantry {version} nameserver is ready\n\n  Remoting  {address}  plaintext and TLS");
    tracing::info!(%address, data = %config.data.display(), "ready");
    notify(NotifyState::Ready);
    let (name, _) = signals.next().await;
    tracing::info!(signal = name, "stopping; a second signal stops at once");
    signals.exit_on_next();
    notify(NotifyState::Stopping);
    stop.cancel();
    served.await.context("the port failed")?;
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
