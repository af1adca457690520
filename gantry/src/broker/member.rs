//! `gantry broker` under controllers: what it is, a slave or the master of an epoch, it is from a start of its directory on, and each time
//! that they say another thing it stops in order and starts anew, in the same process. So does a slave whose log is to be cut.

mod numbers;

use std::net::SocketAddr;
use std::sync::Arc;

use ::broker::membership::{self, Duty, Membership, View};
use ::broker::replication::epochs::Epoch;
use ::broker::replication::{damage, join};
use ::broker::server::{Options, SlaveOptions};
use ::broker::{BrokerServer, Copies, LocalBroker, Role};
use anyhow::{Context, bail};
use env::Env;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use types::PhysicalOffset;

use self::numbers::Numbers;
use super::opened::open_slave;
use super::{ended_by_itself, say_ready, say_stopping, slaves_port, vip_port, without_vip};
use crate::config::broker::{Broker as Config, Replication};
use crate::local::{broker_options, cannot_open, open_broker};
use crate::metrics;
use crate::port::Port;
use crate::probe_port::ProbePort;
use crate::signals::Signals;
use crate::telemetry::Telemetry;

/// Where and how it is served.
pub(super) struct Door {
    pub(super) port: Port,
    pub(super) limits: remoting::Options,
    pub(super) tls: Arc<rustls::ServerConfig>,
    pub(super) probes: ProbePort,
}

/// Runs until a signal, or until it cannot start in a role.
///
/// # Errors
/// Why.
pub(super) async fn serve(
    config: &Config,
    telemetry: &Telemetry,
    door: Door,
    options: Options,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let Replication::Member { controllers, priority, copies, .. } = &config.replication else {
        bail!("no controllers are named");
    };
    let said = membership::Options {
        cluster: config.cluster.clone(),
        name: config.name.clone(),
        advertised: options.advertised,
        controllers: controllers.clone(),
        priority: *priority,
        data: config.storage.data.clone(),
    };
    let membership = tokio::select! {
        joined = membership::join(Env::real(), said) => joined?,
        (name, _) = signals.next() => bail!("stopped by {name} while the controllers were asked for an id"),
    };
    let mut broker = Member {
        config,
        options,
        copies: *copies,
        address: door.port.address(),
        port: Some(door.port),
        limits: door.limits,
        tls: door.tls,
        probes: door.probes,
        membership: Arc::clone(&membership),
        numbers: Numbers::default(),
    };
    register(telemetry, config, &membership, &broker.numbers);
    // Ends with this: who is about to be in another role lives.
    let mut living = JoinSet::new();
    living.spawn(async move { membership.run().await });
    broker.run(signals).await?;
    broker.probes.close().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Registers what metrics show.
fn register(telemetry: &Telemetry, config: &Config, membership: &Arc<Membership>, numbers: &Numbers) {
    let (meter, labels) = (telemetry.meter(), metrics::broker_labels(&config.cluster, &config.name));
    let (of_broker, of_replication, membership) = (numbers.clone(), numbers.clone(), Arc::clone(membership));
    metrics::register(&meter, &labels, move || of_broker.status());
    metrics::register_replication(&meter, &labels, move || of_replication.replication());
    metrics::register_membership(&meter, &labels, move || (membership.view(), !membership.lease().is_over()));
}

struct Member<'a> {
    config: &'a Config,
    options: Options,
    /// As a master.
    copies: Copies,
    address: SocketAddr,
    /// Until it is used first.
    port: Option<Port>,
    limits: remoting::Options,
    tls: Arc<rustls::ServerConfig>,
    probes: ProbePort,
    membership: Arc<Membership>,
    numbers: Numbers,
}

/// A broker in a role.
struct Running {
    broker: LocalBroker,
    /// As a master.
    epoch: Option<Epoch>,
    stop: CancellationToken,
    served: JoinHandle<()>,
    /// Cancelled when its log is to be given up.
    behind: CancellationToken,
    /// Cancelled when a part of its log is to be got again.
    damaged: CancellationToken,
}

impl Member<'_> {
    /// Runs in one role after another, until a signal.
    async fn run(&mut self, mut signals: Signals) -> anyhow::Result<()> {
        let (mut duty, mut cut, mut is_ready) = (self.membership.duty(), self.membership.cut(), false);
        let mut reason = "the process has started";
        loop {
            let leads = epoch_of(&duty.borrow_and_update()).and_then(|epoch| self.view_of(epoch));
            // A master keeps all of its log: what it would be cut by was another master's.
            let end_at = cut.borrow_and_update().filter(|_| leads.is_none());
            self.membership.set_cut(None);
            let mut running = tokio::select! {
                running = self.start(leads, end_at) => running?,
                (name, _) = signals.next() => bail!("stopped by {name} while starting"),
            };
            self.membership.tell_role(if running.epoch.is_some() { "master" } else { "slave" }, running.epoch, reason);
            if !std::mem::replace(&mut is_ready, true) {
                say_ready(self.config, self.options.advertised, &self.probes);
            }
            let signal = tokio::select! {
                (name, _) = signals.next() => Some(name),
                why = changes(&mut duty, &mut cut, running.epoch) => {
                    reason = why;
                    None
                }
                () = running.behind.cancelled() => {
                    reason = "the log ends before the master's begins and is got anew";
                    None
                }
                () = running.damaged.cancelled() => {
                    reason = "the log is damaged and is got again";
                    None
                }
                ended = &mut running.served => {
                    running.broker.stop().await;
                    return Err(ended_by_itself(ended));
                }
            };
            if let Some(name) = signal {
                say_stopping(name, signals, &self.probes);
                return self.end(running).await;
            }
            let behind = running.behind.clone();
            self.end(running).await?;
            if behind.is_cancelled() && epoch_of(&duty.borrow()).is_none() {
                join::give_up(&*Env::real().disk, &self.config.storage.data)?;
            }
        }
    }

    /// What the controllers have said of an epoch, if it is what they have said last.
    fn view_of(&self, epoch: Epoch) -> Option<View> {
        self.membership.view().filter(|view| view.epoch == epoch)
    }

    /// Starts the broker as the master of the epoch of a view, or as a slave, once that has what a start needs.
    async fn start(&mut self, leads: Option<View>, end_at: Option<PhysicalOffset>) -> anyhow::Result<Running> {
        let (broker, leads) = self.open(leads, end_at).await?;
        let epoch = leads.as_ref().map(|view| view.epoch);
        if let Some(view) = &leads {
            self.membership.begin(view.epoch, &broker).await.context("the epoch cannot be begun")?;
        }
        self.membership.runs(Some(broker.clone()));
        let slaves = match &leads {
            Some(_) => slaves_port(&self.config.replication, self.address)?.map(Port::listen).transpose()?,
            None => None,
        };
        let slave = leads.is_none().then(|| SlaveOptions { id: self.membership.id().0.unsigned_abs(), master: None });
        let options = Options { slave, ..self.options.clone() };
        let mut server =
            BrokerServer::of_member(Env::real(), broker.clone(), options, slaves, self.membership.clone(), leads);
        self.numbers.begin(broker.clone(), server.replication());
        let (behind, damaged) = (server.behind(), server.damaged());
        let port = match self.port.take() {
            Some(port) => port,
            None => Port::bind(self.address, "listen IP:PORT")?,
        };
        if let Some(listener) = vip_port(self.address).and_then(|port| port.listen().map_err(without_vip).ok()) {
            server = server.also_on(listener);
        }
        let stop = CancellationToken::new();
        let serving = server.serve(port.listen()?, self.limits.clone(), Some(self.tls.clone()), stop.clone());
        Ok(Running { broker, epoch, stop, served: tokio::spawn(serving), behind, damaged })
    }

    /// Opens the directory for the master of the epoch of a view, or for a slave. Who is to lead with a log that is damaged stands back, and
    /// gets that again as a slave.
    async fn open(
        &self,
        leads: Option<View>,
        end_at: Option<PhysicalOffset>,
    ) -> anyhow::Result<(LocalBroker, Option<View>)> {
        let (env, data) = (Env::real(), &self.config.storage.data);
        let stored = ::broker::Options {
            name: self.config.name.clone(),
            default_queues: self.config.default_queues,
            role: Role::Slave,
            lease: Some(self.membership.lease().clone()),
            end_at,
            ..broker_options(&self.config.storage, self.options.advertised)
        };
        if let Some(view) = leads
            && !damage::is_noted(&*env.disk, data)?
        {
            let of_master = ::broker::Options { role: Role::Master, copies: self.copies, ..stored.clone() };
            match open_broker(of_master).await? {
                Ok(broker) => return Ok((broker, Some(view))),
                Err(error) if damage::note_refused(&*env.disk, data, &error)?.is_some() => {}
                Err(error) => return Err(cannot_open(error, data)),
            }
        }
        let prepare = async || Ok(join::prepare_member(&env, data, &self.membership).await?);
        Ok((open_slave(&stored, prepare).await?, None))
    }

    /// Ends it in order.
    async fn end(&self, Running { broker, stop, served, .. }: Running) -> anyhow::Result<()> {
        stop.cancel();
        let ended = served.await;
        self.membership.runs(None);
        self.numbers.end();
        broker.stop().await;
        ended.context("the port failed")
    }
}

/// Completes when a broker that leads this epoch, or none, is to be another, or to have its log cut; answers why.
async fn changes(
    duty: &mut tokio::sync::watch::Receiver<Duty>,
    cut: &mut tokio::sync::watch::Receiver<Option<PhysicalOffset>>,
    epoch: Option<Epoch>,
) -> &'static str {
    // Who tells of them lives as long as this.
    tokio::select! {
        other = duty.wait_for(|duty| epoch_of(duty) != epoch) => {
            drop(other);
            "the controllers say so"
        }
        at = cut.wait_for(Option::is_some), if epoch.is_none() => {
            drop(at);
            "the log has parted and is cut"
        }
    }
}

fn epoch_of(duty: &Duty) -> Option<Epoch> {
    match duty {
        Duty::Lead(epoch) => Some(*epoch),
        Duty::Wait | Duty::Follow(..) => None,
    }
}
