//! The shell: connections come and go, time passes, masters are elected when one is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use env::Env;
use env::clock::Moment;
use openraft::error::Fatal;
use parking_lot::{Mutex, RwLock};
use remoting::{Connection, ConnectionId, Notice, Notices, Role, Server};
use remoting_proto::body::SyncStateSet;
use remoting_proto::requests::NotifyBrokerRoleChanged;
use remoting_proto::{Command, Dialect, RequestCode};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::events;
use crate::liveness::Liveness;
use crate::peers::Peers;
use crate::raft::{self, Agreement};
use crate::requests;
use crate::settings::Settings;
use crate::state::{self, Answer, BrokerSet, Facts, Refusal};

pub use crate::raft::OpenError;

/// Requests that wait for an agreement; a further one is answered that the controller is busy.
const AGREEMENTS_MAX: usize = 1024;
/// How long a broker may take to be told of a master. Source: Apache 5.5 `ControllerManager#doNotifyBrokerRoleChanged`.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// What is to be known at the start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where what was agreed on is kept; made with its folder. No other process uses it.
    pub folder: PathBuf,
    /// Which controllers there are.
    pub peers: Peers,
    /// What may be changed later.
    pub settings: Settings,
    /// What else is shown of the configuration, under Apache's names.
    pub shown: Vec<(&'static str, String)>,
}

/// A controller that does not listen yet. It takes part in the agreement as soon as others reach it.
pub struct Controller {
    core: Arc<Core>,
    notices: Notices,
}

/// What its connections get.
struct Serving(Arc<Core>);

/// What all requests share. Locks are held for one look or one change, never while something is waited for.
pub(crate) struct Core {
    pub(crate) agreement: Agreement,
    pub(crate) liveness: Mutex<Liveness>,
    pub(crate) settings: RwLock<Settings>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) shown: Vec<(&'static str, String)>,
    /// One for each request that waits for an agreement.
    places: Semaphore,
    notices: mpsc::Sender<Notice>,
    connections: Mutex<BTreeMap<ConnectionId, Arc<Connection>>>,
    /// Told when a broker is gone.
    gone: Notify,
    env: Env,
}

/// A controller that cannot go on: its disk failed, or it found something impossible.
#[derive(Debug, thiserror::Error)]
#[error("the controller has failed: {0}")]
pub struct Failed(Fatal<u64>);

impl Controller {
    /// Reads what it knew. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(env: Env, options: Options) -> Result<Self, OpenError> {
        let Options { folder, peers, settings, shown } = options;
        let peers = Arc::new(peers);
        let agreement = Agreement::open(env.clone(), &folder, peers.clone()).await?;
        let (tell, notices) = Notices::new();
        let core = Arc::new(Core {
            agreement,
            liveness: Mutex::new(Liveness::new(env.clock.moment())),
            settings: RwLock::new(settings),
            peers,
            shown,
            places: Semaphore::new(AGREEMENTS_MAX),
            notices: tell,
            connections: Mutex::default(),
            gone: Notify::new(),
            env,
        });
        Ok(Self { core, notices })
    }

    /// How many brokers and broker names it knows, and whether it leads, whenever it is asked.
    pub fn counts(&self) -> impl Fn() -> (usize, usize, bool) + Send + Sync + 'static + use<> {
        let core = self.core.clone();
        move || {
            let (brokers, names) = core.agreement.glance(state::State::counts);
            (brokers, names, core.agreement.is_leader())
        }
    }

    /// Serves until `shutdown`, as [`Server::serve`] does.
    ///
    /// # Errors
    /// [`Failed`]; it answers nobody then.
    pub async fn serve(
        self,
        listener: TcpListener,
        options: remoting::Options,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: CancellationToken,
    ) -> Result<(), Failed> {
        let Self { core, notices } = self;
        let clock = core.env.clock.clone();
        let server = Server::new(Arc::new(Serving(core.clone())), options, tls, clock.clone());
        let ended = tokio::select! {
            () = server.serve(listener, shutdown) => Ok(()),
            () = core.elect_masters() => Ok(()),
            () = notices.send(clock) => Ok(()),
            failed = core.agreement.watch() => Err(Failed(failed)),
        };
        // An error means that it has ended by itself.
        drop(core.agreement.raft.shutdown().await);
        ended
    }
}

impl Core {
    pub(crate) fn moment(&self) -> Moment {
        self.env.clock.moment()
    }

    /// Has a command decided with what is known now, and tells brokers of a new master.
    pub(crate) async fn propose(&self, command: state::Command) -> Result<Result<Answer, Refusal>, Unanswered> {
        let _place = self.places.try_acquire().map_err(|_| Unanswered::Busy)?;
        let facts = self.facts(command.name());
        let before = self.agreement.glance(|state| state.get(command.name()).cloned());
        let outcome = self.agreement.propose(command.clone(), facts).await?;
        let lead = |of: &BTreeSet<_>, over| self.liveness.lock().lead(command.name(), of, over);
        events::tell(&command, before.as_ref(), &outcome, lead);
        if let Ok(Answer::Elected(set)) = &outcome {
            self.announce(command.name(), set);
        }
        Ok(outcome)
    }

    /// Looks at what was agreed on.
    pub(crate) async fn look<T>(&self, look: impl FnOnce(&state::State) -> T) -> Result<T, Unanswered> {
        let _place = self.places.try_acquire().map_err(|_| Unanswered::Busy)?;
        Ok(self.agreement.look(look).await?)
    }

    fn facts(&self, name: &str) -> Facts {
        let is_unclean_allowed = self.settings.read().elect_unclean;
        let (liveness, now) = (self.liveness.lock(), self.moment());
        Facts { live: liveness.live(name, now), is_settled: liveness.is_settled(now), is_unclean_allowed }
    }

    /// Tells the brokers of a name that live who their master is. Who is not told finds out by asking.
    fn announce(&self, name: &str, set: &BrokerSet) {
        let Some((id, master)) = set.master.and_then(|id| Some((id, set.members.get(&id)?))) else { return };
        if !self.settings.read().notify_brokers {
            return;
        }
        let header = NotifyBrokerRoleChanged {
            master_address: master.address.clone(),
            master_epoch: set.master_epoch.0.into(),
            sync_state_set_epoch: set.in_sync_epoch.0.into(),
            master_broker_id: id.0,
        };
        let body = remoting_proto::to_vec(&sync_state_set(set), Dialect::Standard);
        let request = Command::request(RequestCode::NotifyBrokerRoleChanged, header.to_fields(), Bytes::from(body));
        let live = self.liveness.lock().live(name, self.moment());
        let to = live.keys().filter_map(|id| Some(set.members.get(id)?.address.clone())).collect();
        if let Err(error) = self.notices.try_send(Notice { to, request, within: TOLD_WITHIN }) {
            tracing::warn!(%error, "brokers are not told that they have another master");
        }
    }

    /// Elects another master wherever one is gone, again and again while this controller leads.
    async fn elect_masters(&self) {
        loop {
            // One that falls silent is found when its time is over, and what could not be done then is tried again.
            let next = self.liveness.lock().next_expiry(self.moment()).unwrap_or(Duration::MAX);
            let wait = next.min(self.settings.read().scan_interval);
            tokio::select! {
                () = self.env.clock.sleep(wait) => {}
                () = self.gone.notified() => {}
            }
            self.expire_brokers();
            if !self.agreement.is_leader() || !self.liveness.lock().is_settled(self.moment()) {
                continue;
            }
            for name in self.without_master() {
                let elect = state::Command::Elect { name: name.clone(), by: None, is_designated: false };
                match self.propose(elect).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(refusal)) => tracing::warn!(%name, %refusal, "no master elected"),
                    Err(error) => tracing::warn!(%name, %error, "no master elected yet"),
                }
            }
        }
    }

    fn expire_brokers(&self) {
        let gone = self.liveness.lock().expire(self.moment());
        let connections = self.connections.lock();
        gone.iter().filter_map(|id| connections.get(id)).for_each(|connection| connection.close());
    }

    fn without_master(&self) -> Vec<String> {
        let now = self.moment();
        let is_alive = |name: &str, id| self.liveness.lock().is_alive(name, id, now);
        self.agreement.glance(|state| state.without_master(is_alive))
    }
}

/// The brokers in sync, as Apache's are told.
pub(crate) fn sync_state_set(set: &BrokerSet) -> SyncStateSet {
    SyncStateSet {
        sync_state_set: set.in_sync.iter().map(|id| id.0).collect(),
        sync_state_set_epoch: set.in_sync_epoch.0,
    }
}

/// Why a request is not answered with what was agreed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Too many wait.
    #[error("{AGREEMENTS_MAX} requests wait for the controllers to agree, which is the limit")]
    Busy,
    /// The controllers do not agree.
    #[error(transparent)]
    Agreement(#[from] raft::Error),
}

impl Role for Serving {
    fn connect(&self, connection: &Arc<Connection>) {
        self.0.connections.lock().insert(connection.id(), connection.clone());
    }

    fn only_reads(&self, _request: &Command) -> bool {
        false
    }

    async fn serve(&self, connection: &Connection, request: Command) -> Command {
        requests::serve(&self.0, connection, &request).await
    }

    fn disconnect(&self, connection: &Connection) {
        self.0.connections.lock().remove(&connection.id());
        if self.0.liveness.lock().disconnect(connection.id()) {
            self.0.gone.notify_one();
        }
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
