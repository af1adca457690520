//! `gantry broker`: a broker on its Remoting port, started and stopped in order.
//!
//! Start: the port is taken → broker (lock, recovery) → certificate → the port listens → ready → registered with the name servers.
//! Stop: not ready → the name servers are told → who waits is answered → what was asked is answered → broker flushes and writes its
//! checkpoint → HTTP → telemetry.

mod member;
mod opened;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use ::broker::options::OUTCOMES_AFTER_MAX;
use ::broker::replication::join;
use ::broker::replication::mirror::{self, Mirror};
use ::broker::server::{Options, SlaveOptions};
use ::broker::takeover::Imported;
use ::broker::{BrokerServer, Copies, Role};
use anyhow::{Context, bail};
use env::{Env, ROLES};
use sd_notify::NotifyState;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::config::broker::{Broker as Config, Replication, SlavesAt};
use crate::local::{broker_options, notify, start_broker};
use crate::port::{self, Port};
use crate::probe_port::ProbePort;
use crate::signals::Signals;
use crate::telemetry::Telemetry;
use crate::{identity, metrics, open_files};

/// Runs until a signal, or until it cannot start. `shown` is the configuration as clients may ask for it.
///
/// # Errors
/// Why it could not start; each says what to do.
pub(crate) async fn run(config: Config, warnings: &[String], shown: Vec<(String, String)>) -> anyhow::Result<()> {
    let serve = async |telemetry: &Telemetry| serve(&config, telemetry, shown).await;
    match Telemetry::around(&config.log, None, warnings, serve).await? {
        Then::Ends => Ok(()),
        Then::BeginsAnew => Err(env::again()).context("beginning anew"),
    }
}

/// What comes after a broker has stopped in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Ends,
    /// Its log was given up, or is damaged: another start gets all of the master's, or what is damaged.
    BeginsAnew,
}

async fn serve(config: &Config, telemetry: &Telemetry, shown: Vec<(String, String)>) -> anyhow::Result<Then> {
    let mut signals = Signals::new().context("signals")?;
    let port = Port::bind(config.listen, "listen IP:PORT")?;
    let vip_port = vip_port(port.address());
    let http = config.http.map(|address| Port::bind(address, "http IP:PORT")).transpose()?;
    let slaves = slaves_port(&config.replication, port.address())?;
    let advertised = advertised(config, port.address())?;
    let limits = remoting::Options { balancers: config.balancers.clone(), ..remoting::Options::default() };
    open_files::raise(limits.connections_max);
    let options = options(config, advertised, shown);
    if let Replication::Member { .. } = config.replication {
        // Each role takes them anew.
        drop((vip_port, slaves));
        let probes = ProbePort::open(http, telemetry)?;
        member::serve(
            config,
            telemetry,
            member::Door { port, limits, tls: tls(config, advertised)?, probes },
            options,
            signals,
        )
        .await?;
        return Ok(Then::Ends);
    }
    let labels = metrics::broker_labels(&config.cluster, &config.name);
    let is_mirror = tokio::select! {
        is_mirror = prepare(config, &options) => is_mirror?,
        (name, _) = signals.next() => bail!("stopped by {name} while starting"),
    };
    if is_mirror {
        let flush = broker_options(&config.storage, advertised).flush;
        // It serves nobody, so it stands in for nobody.
        let options = Options { acting_master: false, ..options };
        let mirror = Mirror::open(Env::real(), config.name.clone(), options, flush)?;
        metrics::register_replication(&telemetry.meter(), &labels, mirror.replication());
        let tls = tls(config, advertised)?;
        let (listener, stop) = (port.listen()?, CancellationToken::new());
        let served = tokio::spawn(mirror.serve(listener, limits, Some(tls), stop.clone()));
        let (behind, damaged) = (CancellationToken::new(), CancellationToken::new());
        let running = Running { stop, served, behind, damaged, probes: ProbePort::open(http, telemetry)? };
        return running.until_signal(config, advertised, signals, async || {}).await;
    }
    let (role, copies) = match &config.replication {
        Replication::Master { copies, .. } => (Role::Master, *copies),
        Replication::Slave { .. } => (Role::Slave, Copies::ONE),
        Replication::Member { .. } => bail!("a broker under controllers has no role of its own"),
    };
    let stored = ::broker::Options {
        name: config.name.clone(),
        default_queues: config.default_queues,
        role,
        copies,
        // Its slaves may have delivered what is due.
        outcomes_after: if config.acting_master { OUTCOMES_AFTER_MAX } else { Duration::ZERO },
        ..broker_options(&config.storage, advertised)
    };
    let open = async {
        match role {
            Role::Master => start_broker(stored).await,
            Role::Slave => {
                opened::open_slave(&stored, async || Ok(join::prepare(&Env::real(), &config.name, &options).await?))
                    .await
            }
        }
    };
    let broker = tokio::select! {
        started = open => started?,
        // Nothing is served yet, so there is nothing to finish: a start that is cut short is made good by the next.
        (name, _) = signals.next() => bail!("stopped by {name} while starting"),
    };
    let slaves = slaves.map(Port::listen).transpose()?;
    let mut server = BrokerServer::new(Env::real(), broker.clone(), options, slaves);
    let (behind, damaged) = (server.behind(), server.damaged());
    metrics::register_replication(&telemetry.meter(), &labels, server.replication());
    metrics::register(&telemetry.meter(), &labels, {
        let broker = broker.clone();
        move || broker.status()
    });
    let tls = tls(config, advertised)?;
    let listener = port.listen()?;
    if let Some(listener) = vip_port.and_then(|port| port.listen().map_err(without_vip).ok()) {
        server = server.also_on(listener);
    }
    let stop = CancellationToken::new();
    let served = tokio::spawn(server.serve(listener, limits, Some(tls), stop.clone()));
    let probes = ProbePort::open(http, telemetry)?;
    let running = Running { stop, served, behind: behind.clone(), damaged, probes };
    let then = running.until_signal(config, advertised, signals, async || broker.stop().await).await?;
    if then == Then::BeginsAnew && behind.is_cancelled() {
        join::give_up(&*Env::real().disk, &config.storage.data)?;
    }
    Ok(then)
}

/// A broker, being served.
struct Running {
    stop: CancellationToken,
    served: JoinHandle<()>,
    /// Cancelled when its log is to be given up.
    behind: CancellationToken,
    /// Cancelled when a part of its log is to be got again.
    damaged: CancellationToken,
    probes: ProbePort,
}

impl Running {
    /// Says that the broker is ready, and ends it in order at a signal, or when its log is to be got anew; `end` comes last but for the probes.
    async fn until_signal(
        mut self,
        config: &Config,
        advertised: SocketAddr,
        mut signals: Signals,
        end: impl AsyncFnOnce(),
    ) -> anyhow::Result<Then> {
        say_ready(config, advertised, &self.probes);
        let then = tokio::select! {
            (name, _) = signals.next() => {
                say_stopping(name, signals, &self.probes);
                Then::Ends
            }
            () = async { tokio::select! { () = self.behind.cancelled() => {}, () = self.damaged.cancelled() => {} } } => {
                signals.exit_on_next();
                self.probes.readiness().set_draining();
                Then::BeginsAnew
            }
            // A process that is ready and deaf helps nobody: whoever watches it starts another.
            ended = &mut self.served => {
                end().await;
                return Err(ended_by_itself(ended));
            }
        };
        self.stop.cancel();
        let ended = self.served.await;
        end().await;
        self.probes.close().await?;
        tracing::info!("stopped");
        ended.context("the port failed")?;
        Ok(then)
    }
}

/// Says that the broker is ready.
fn say_ready(config: &Config, advertised: SocketAddr, probes: &ProbePort) {
    probes.readiness().set_ready();
    // Nobody may be reading.
    let (version, http_line) = (env!("CARGO_PKG_VERSION"), probes.line());
    let _ = writeln!(
        std::io::stdout(),
        "gantry {version} broker {} is ready\n\n{http_line}  Remoting  {advertised}  plaintext and TLS",
        config.name
    );
    let role = config.replication.role();
    if let Replication::Master { .. } | Replication::Slave { .. } = config.replication {
        let (name, reason) = (&config.name, "the process has started");
        let (role, id) = match config.replication {
            Replication::Slave { id, .. } => ("slave", id),
            _ => ("master", 0),
        };
        tracing::info!(target: ROLES, event = "role", broker = name, id, role, epoch = 0, reason, "this broker has a role");
    }
    tracing::info!(%advertised, listen = %config.listen, role, data = %config.storage.data.display(), "ready");
    notify(NotifyState::Ready);
}

/// A signal is followed.
fn say_stopping(name: &str, signals: Signals, probes: &ProbePort) {
    tracing::info!(signal = name, "stopping; a second signal stops at once");
    signals.exit_on_next();
    notify(NotifyState::Stopping);
    probes.readiness().set_draining();
}

fn ended_by_itself(ended: Result<(), JoinError>) -> anyhow::Error {
    let why = ended.err().map_or("without an error".to_owned(), |error| error.to_string());
    anyhow::anyhow!("the port has ended by itself: {why}")
}

/// The machine's memory.
fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(info.mem_unit.into())
}

/// What the port is told.
fn options(config: &Config, advertised: SocketAddr, shown: Vec<(String, String)>) -> Options {
    Options {
        cluster: config.cluster.clone(),
        advertised,
        name_servers: config.name_servers.clone(),
        auto_create_topics: config.storage.auto_create_topics,
        default_queues: config.default_queues,
        shown,
        data: config.storage.data.clone(),
        slow_reader_bytes: config.slow_reader_percent.map(|percent| memory_bytes() / 100 * percent),
        slave: slave_options(&config.replication),
        acting_master: config.acting_master,
        remote_escape: config.remote_escape,
    }
}

/// What it shows to who speaks TLS; made on the first start if no files are named.
fn tls(config: &Config, advertised: SocketAddr) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), advertised.ip().to_string()];
    Ok(identity::load(config.tls.as_ref(), &config.storage.data, names)?.server_config(&[])?)
}

fn slave_options(replication: &Replication) -> Option<SlaveOptions> {
    match replication {
        Replication::Master { .. } | Replication::Member { .. } => None,
        Replication::Slave { id, master } => Some(SlaveOptions { id: *id, master: master.clone() }),
    }
}

/// Whether this broker is a slave of an Apache master. A directory of such a one is taken over where it is to be the master.
async fn prepare(config: &Config, options: &Options) -> anyhow::Result<bool> {
    let (env, data) = (Env::real(), &config.storage.data);
    if options.slave.is_some() {
        return Ok(mirror::follows_apache(&env, &config.name, options).await?);
    }
    let promoted = mirror::promote(&env, data, &mut |_| {}).await;
    let promoted = promoted.with_context(|| format!("{} is a slave's of an Apache master", data.display()))?;
    if let Some(Imported { records, topics, groups, offsets, pending, .. }) = promoted {
        tracing::info!(records, topics, groups, offsets, ?pending, "the Apache master's directory was taken over");
    }
    Ok(false)
}

/// Where a master's slaves connect, if they do.
fn slaves_port(replication: &Replication, listen: SocketAddr) -> Result<Option<Port>, port::Error> {
    let slaves_at = match replication {
        Replication::Slave { .. } => SlavesAt::Nowhere,
        Replication::Master { slaves_at, .. } | Replication::Member { slaves_at, .. } => *slaves_at,
    };
    let port = match slaves_at {
        SlavesAt::Nowhere => return Ok(None),
        SlavesAt::Next => listen.port().checked_add(1).unwrap_or(0),
        SlavesAt::Port(port) => port,
    };
    Port::bind(SocketAddr::new(listen.ip(), port), "ha-listen-port PORT").map(Some)
}

/// The port two below, to which clients of 4.x send with their `sendMessageWithVIPChannel`. A broker without it serves all others.
///
/// Source: Apache 5.5 `BrokerController`, `MixAll.brokerVIPChannel`.
fn vip_port(address: SocketAddr) -> Option<Port> {
    let port = address.port().checked_sub(2).filter(|port| *port > 0)?;
    Port::bind(SocketAddr::new(address.ip(), port), "listen IP:PORT").map_err(without_vip).ok()
}

/// Another process has that port, or took it between its binding and its listening.
fn without_vip(error: port::Error) {
    tracing::warn!(%error, "clients that send by the VIP channel, two ports below, are not served");
}

/// Where clients reach the broker: never a loopback address, unless all name servers are on one too.
fn advertised(config: &Config, listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    let is_specific = !listen.ip().is_unspecified() && !listen.ip().is_loopback();
    let ip = match (config.advertised_ip, config.name_servers.as_slice()) {
        (Some(ip), _) => ip,
        // Nothing but this address is listened on.
        (None, _) if is_specific => listen.ip(),
        (None, []) if listen.ip().is_unspecified() => {
            bail!("{listen} is no address that clients can use; set --nameserver HOST:PORT or --broker-ip1 IP",)
        }
        (None, []) => listen.ip(),
        (None, name_servers) => route_to_any(name_servers)?,
    };
    if listen.ip().is_loopback() && !ip.is_loopback() {
        tracing::warn!(%listen, %ip, "clients are told an address that is not listened on; set --listen 0.0.0.0:{}", listen.port());
    }
    Ok(SocketAddr::new(ip, listen.port()))
}

/// This machine's address on the way to the first name server that is not on this machine, else to the first.
fn route_to_any(name_servers: &[String]) -> anyhow::Result<IpAddr> {
    let mut routes: Vec<_> = name_servers.iter().map(|name_server| route_to(name_server)).collect();
    let elsewhere = routes.iter().position(|route| route.as_ref().is_ok_and(|ip| !ip.is_loopback()));
    routes.swap_remove(elsewhere.unwrap_or(0))
}

/// This machine's address on the way to a name server; nothing is sent.
fn route_to(name_server: &str) -> anyhow::Result<IpAddr> {
    let any = |family: &str| UdpSocket::bind((family, 0));
    let found = ["0.0.0.0", "::"].into_iter().find_map(|family| {
        let socket = any(family).ok()?;
        socket.connect(name_server).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    found.with_context(|| {
        format!("there is no route to name server {name_server}; tell clients an address with --broker-ip1 IP")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_beside_the_broker_hides_none_elsewhere() {
        let (here, documentation) = ("127.0.0.1:9876".to_owned(), "192.0.2.1:9876".to_owned());
        // Without a route off this machine there is nothing to tell apart.
        if let Ok(ip) = route_to(&documentation) {
            assert_eq!(route_to_any(&[here.clone(), documentation]).expect("there is one"), ip);
        }
        assert!(route_to_any(&[here]).expect("there is one").is_loopback());
    }

    #[test]
    fn the_route_to_a_local_name_server_is_loopback() {
        assert_eq!(route_to("127.0.0.1:9876").expect("there is one"), IpAddr::from([127, 0, 0, 1]));
        let error = route_to("no.such.host.invalid:1").expect_err("none").to_string();
        assert!(error.contains("no.such.host.invalid:1") && error.contains("--broker-ip1"), "{error}");
    }
}
