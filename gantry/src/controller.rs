//! `gantry controller`: a controller on its port, started and stopped in order. `gantry nameserver --controller` has one beside it.
//!
//! Start: the ports are taken → data directory (lock, what the controllers agreed on) → certificate → the port listens → ready.
//! Stop: not ready → what was asked is answered → HTTP → telemetry.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ::controller::Controller;
use ::controller::server::{Failed, Options};
use anyhow::{Context, bail};
use env::Env;
use rustls::ServerConfig;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::controller::{Controller as Config, Group};
use crate::local::notify;
use crate::port::Port;
use crate::probe_port::ProbePort;
use crate::signals::Signals;
use crate::telemetry::Telemetry;
use crate::{data_directory, identity, metrics, open_files};

/// Runs until a signal, or until it cannot start or go on.
///
/// # Errors
/// Why; each says what to do.
pub(crate) async fn run(config: Config, warnings: &[String]) -> anyhow::Result<()> {
    Telemetry::around(&config.log, None, warnings, async |telemetry| serve(&config, telemetry).await).await
}

async fn serve(config: &Config, telemetry: &Telemetry) -> anyhow::Result<()> {
    let signals = Signals::new().context("signals")?;
    let port = Port::bind(config.group.listen, "listen IP:PORT")?;
    let http = config.http.map(|address| Port::bind(address, "http IP:PORT")).transpose()?;
    let options = remoting::Options { balancers: config.balancers.clone(), ..remoting::Options::default() };
    open_files::raise(options.connections_max);
    let _lock = data_directory::lock(&config.data, "--data")?;
    let tls = identity::load(config.tls.as_ref(), &config.data, identity::names(None))?.server_config(&[])?;
    let mut running = Running::start(&config.group, config.data.clone(), port, options, tls, telemetry).await?;
    let probes = ProbePort::open(http, telemetry)?;
    probes.readiness().set_ready();

    // Nobody may be reading.
    let version = env!("CARGO_PKG_VERSION");
    let (http_line, line) = (probes.line(), running.line());
    let _ = writeln!(std::io::stdout(), "gantry {version} controller is ready\n\n{http_line}{line}");
    tracing::info!(data = %config.data.display(), "ready");
    notify(NotifyState::Ready);
    let failed = signal_or_failure(signals, &mut running).await;
    probes.readiness().set_draining();
    let ended = running.stop().await;
    probes.close().await?;
    failed.and(ended)?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for a signal, or until a controller ends by itself: a process that is ready and deaf helps nobody, whoever watches it starts
/// another.
///
/// # Errors
/// It has ended.
pub(crate) async fn signal_or_failure(mut signals: Signals, running: &mut Running) -> anyhow::Result<()> {
    let ended = tokio::select! {
        (name, _) = signals.next() => {
            tracing::info!(signal = name, "stopping; a second signal stops at once");
            Ok(())
        }
        failed = running.failed() => Err(failed),
    };
    signals.exit_on_next();
    notify(NotifyState::Stopping);
    ended
}

/// A controller, being served, or none.
pub(crate) struct Running(Option<Served>);

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    /// Until it has ended.
    task: Option<JoinHandle<Result<(), Failed>>>,
}

impl Running {
    /// None.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Reads what was agreed on, and serves from here on.
    ///
    /// # Errors
    /// What was agreed on cannot be read, or the port cannot be had.
    pub(crate) async fn start(
        group: &Group,
        folder: PathBuf,
        port: Port,
        limits: remoting::Options,
        tls: Arc<ServerConfig>,
        telemetry: &Telemetry,
    ) -> anyhow::Result<Self> {
        let Group { peers, settings, .. } = group;
        let shown = vec![
            ("controllerDLegerGroup", peers.group().to_owned()),
            ("controllerDLegerPeers", peers.iter().map(|(_, peer)| format!("{}-{};", peer.id, peer.address)).collect()),
            ("controllerDLegerSelfId", peers.get(peers.own()).map(|peer| peer.id.clone()).unwrap_or_default()),
            ("controllerStorePath", folder.display().to_string()),
        ];
        let options = Options { folder, peers: peers.clone(), settings: settings.clone(), shown };
        let controller = Controller::open(Env::real(), options).await?;
        metrics::register_controller(&telemetry.meter(), controller.counts());
        let listener = port.listen()?;
        let (address, stop) = (listener.local_addr()?, CancellationToken::new());
        let task = tokio::spawn(controller.serve(listener, limits, Some(tls), stop.clone()));
        Ok(Self(Some(Served { address, stop, task: Some(task) })))
    }

    /// What is told of it at the start: a line, or nothing.
    pub(crate) fn line(&self) -> String {
        match &self.0 {
            Some(served) => format!("  Controller  {}  plaintext and TLS\n", served.address),
            None => String::new(),
        }
    }

    /// Waits until it has ended by itself; for ever if there is none.
    async fn failed(&mut self) -> anyhow::Error {
        let Some(Served { task: Some(running), .. }) = &mut self.0 else { return std::future::pending().await };
        let ended = running.await;
        if let Some(served) = &mut self.0 {
            served.task = None;
        }
        match ended {
            Ok(Ok(())) => anyhow::anyhow!("the controller's port has ended by itself"),
            Ok(Err(failed)) => failed.into(),
            Err(panicked) => anyhow::Error::from(panicked).context("the controller's port failed"),
        }
    }

    /// Stops it.
    ///
    /// # Errors
    /// It did not end in order.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Some(Served { stop, task: Some(task), .. }) = self.0 else { return Ok(()) };
        stop.cancel();
        match task.await {
            Ok(ended) => Ok(ended?),
            Err(panicked) => bail!("the controller's port failed: {panicked}"),
        }
    }
}
